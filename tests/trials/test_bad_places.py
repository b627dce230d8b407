"""Trouble that is no file's fault: a file that moves while it is read, a folder or a disk that is not as it should be.

| trouble | outcome |
|---|---|
| a file still being written, or overwritten while read | read again until it stands still; its last bytes stand |
| a file that cannot be read | set aside with HR303, exit 4; the others load; once readable, it loads by itself |
| the landing folder unmounted, or an empty folder in its place | exit 3 with HR301; nothing is retracted |
| no space left on the disk | exit 3, said clearly; with space again everything loads, once |
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace import open_project
from headrace.cli import main

DEFINITION = """
from headrace import Pipeline, Record, files, keyed, lake

class Row(Record, key="id"):
    id: int
    text: str | None = None

rows = Pipeline("rows", source=files("in/", suffix=".csv", on_delete="retract"), record=Row,
                sinks=[lake("rows"), keyed("by_id")])
"""
TOML = """
[project]
module = "pipelines"
[targets.local]
kind = "local"
backoff = 0.05
"""


def begin(folder: Path) -> Path:
    (folder / "headrace.toml").write_text(TOML)
    (folder / "pipelines.py").write_text(DEFINITION)
    return folder


def csv(path: Path, start: int, rows: int, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("id,text\n" + "".join(f"{start + n},{text}\n" for n in range(rows)))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return begin(tmp_path)


def meanwhile(seconds: float, act: Callable[[int], None]) -> threading.Thread:
    """Do something again and again in a thread of its own."""

    def body() -> None:
        until, n = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            act(n)
            n += 1

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def test_a_file_still_being_written_ends_as_it_ended(folder: Path) -> None:
    with open_project(folder) as project:
        growing = project.root / "landing" / "in" / "growing.csv"
        csv(project.root / "landing" / "in" / "done.csv", 0, 100)
        csv(growing, 1_000_000, 200_000)
        written = 200_000

        def append(n: int) -> None:
            nonlocal written
            with growing.open("a") as file:
                file.write(f"{1_000_000 + written},later\n")
            written += 1

        writer = meanwhile(1.5, append)
        assert project.run("rows").exit_code == 0
        writer.join()
        project.run("rows")
        assert project.sql("SELECT count(*) AS n, count(DISTINCT id) AS d FROM rows").rows() == [
            {"n": written + 100, "d": written + 100}
        ]
        *earlier, last = project.history("rows", file="in/growing.csv")
        assert (str(last.state), last.counts.loaded) == ("standing", written)
        assert {str(load.state) for load in earlier} <= {"retired", "abandoned"}
        assert project.get("by_id", 1_000_000 + written - 1)[0]["text"] == "later"


def test_a_file_overwritten_while_it_is_read_is_never_a_mixture(folder: Path) -> None:
    with open_project(folder) as project:
        path = csv(project.root / "landing" / "in" / "a.csv", 0, 20_000, "v0000")
        versions = ["v0000"]

        def overwrite(n: int) -> None:
            versions.append(f"v{n + 1:04d}")
            if n % 2:
                csv(path, 0, 20_000, versions[-1])
            else:
                csv(path.with_name(".next"), 0, 20_000, versions[-1]).rename(path)
            time.sleep(0.03)

        writer = meanwhile(1.5, overwrite)
        while writer.is_alive():
            project.run("rows")
            found = project.sql("SELECT text, count(*) AS n FROM rows GROUP BY text").rows()
            assert len(found) <= 1 and all(row["n"] <= 20_000 for row in found)
        project.run("rows")
        assert project.sql("SELECT text, count(*) AS n FROM rows GROUP BY text").rows() == [
            {"text": versions[-1], "n": 20_000}
        ]


def run_with_permissions(folder: Path) -> tuple[int, str]:
    """`headrace run rows` in a process for which permissions mean something: exit code and stderr."""
    program = "import sys; from headrace.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "run", "rows", "--project", str(folder)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return found.returncode, found.stderr


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root reads all, and setpriv is missing")
def test_a_file_that_cannot_be_read_is_set_aside_and_loads_once_it_can(folder: Path) -> None:
    assert run_with_permissions(folder)[0] == 0
    landing = folder / ".headrace" / "landing"
    csv(landing / "in" / "good.csv", 0, 10)
    secret = csv(landing / "in" / "secret.csv", 10, 10)
    secret.chmod(0)
    code, said = run_with_permissions(folder)
    assert code == 4, said
    with open_project(folder) as project:
        (dead,) = project.dlq("rows")
        assert (dead.key, dead.cause[:5]) == ("in/secret.csv", "HR303")
        assert project.sql("SELECT count(*) AS n FROM rows").rows() == [{"n": 10}]
    secret.chmod(0o644)
    code, said = run_with_permissions(folder)
    assert code == 0, said
    with open_project(folder) as project:
        assert project.dlq("rows") == []
        assert project.sql("SELECT count(*) AS n FROM rows").rows() == [{"n": 20}]


def test_an_unmounted_landing_folder_is_no_deletion(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["--project", str(folder), "run", "rows"]
    files = [str(csv(folder / f"{n}.csv", n * 10, 10)) for n in range(3)]
    assert main([*run, *files]) == 0
    landing = folder / ".headrace" / "landing"
    away = landing.rename(folder / "away")
    assert main(run) == 3
    assert "HR301" in capsys.readouterr().err
    landing.mkdir()  # the bare mount point
    assert main(run) == 3
    assert "HR301" in capsys.readouterr().err
    assert main(["status", "--project", str(folder)]) == 3
    with open_project(folder) as project:
        assert project.sql("SELECT count(*) AS n FROM rows").rows() == [{"n": 30}]
        assert {str(x.state) for x in project.history("rows")} == {"standing"}
    landing.rmdir()
    away.rename(landing)
    assert main(run) == 0
    (landing / "in" / "0.csv").unlink()
    assert main(run) == 0
    with open_project(folder) as project:
        assert project.sql("SELECT count(*) AS n FROM rows").rows() == [{"n": 20}]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A project on a disk of 24 MB."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("only root on Linux can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip(f"no small disk: {mount.stderr.decode().strip()}")
    try:
        yield begin(disk)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def noise(path: Path, start: int, rows: int) -> Path:
    rng = random.Random(start)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("id,text\n" + "".join(f"{start + n},{rng.randbytes(40).hex()}\n" for n in range(rows)))
    return path


@pytest.mark.parametrize("left", [3_000_000, 600_000, 60_000])
def test_a_full_disk_stops_the_run_and_loses_nothing(
    small_disk: Path, left: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["--project", str(small_disk), "run", "rows"]
    assert main([*run, str(csv(small_disk / "first.csv", 0, 10))]) == 0
    landing = small_disk / ".headrace" / "landing"
    for n in range(4):
        noise(landing / "in" / f"{n}.csv", (n + 1) * 100_000, 15_000)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        usage = shutil.disk_usage(small_disk)
        file.write(bytes(max(usage.free - left, 0)))
    capsys.readouterr()
    assert main(run) == 3
    said = capsys.readouterr().err
    assert "HR" in said and "space" in said, said
    ballast.unlink()
    assert main([*run, "--json"]) == 0
    json.loads(capsys.readouterr().out)
    with open_project(small_disk) as project:
        assert project.sql("SELECT count(*) AS n, count(DISTINCT id) AS d FROM rows").rows() == [
            {"n": 60_010, "d": 60_010}
        ]
        assert len(project.get("by_id", 100_007)) == len(project.get("by_id", 7)) == 1
        assert project.dlq("rows") == []
        states = [str(x.state) for x in project.history("rows")]
        assert sorted(set(states)) in (["standing"], ["abandoned", "standing"])
        assert states.count("standing") == 5
