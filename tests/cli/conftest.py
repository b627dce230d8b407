"""A small project, and the command line called as a person would."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_project import DEFINITION, Command, Said

from headrace.cli import main


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run one command in the temporary project's folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Said:
        capsys.readouterr()
        try:
            code = main(list(words))
        except SystemExit as exc:
            code = int(exc.code or 0)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one pipeline `readings`; its files are made with `csv`."""
    (tmp_path / "headrace.toml").write_text('[project]\nmodule = "pipelines"\n')
    (tmp_path / "pipelines.py").write_text(DEFINITION.replace("{more}", ""))
    return tmp_path
