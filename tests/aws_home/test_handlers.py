"""What a function does around the engine. The way of a datum through it is in the scenarios."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from headrace.aws.handlers import FOLDER, own_folder


def test_a_function_clears_away_what_an_earlier_process_left_on_its_disk(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    of_the_dead = tmp_path / f"{FOLDER}-{dead.stdout.strip()}-x"
    of_the_same_number = tmp_path / f"{FOLDER}-{os.getpid()}-y"
    of_the_living = tmp_path / f"{FOLDER}-{os.getppid()}-z"
    of_others = tmp_path / "somebody-1-else"
    for folder in (of_the_dead, of_the_same_number, of_the_living, of_others):
        folder.mkdir()
        (folder / "copy").write_text("x")
    mine = own_folder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([of_the_living, of_others, mine])
    assert not list(mine.iterdir())
