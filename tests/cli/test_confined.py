"""What the child that parses files can write to: staged rows and copies, nothing else below the root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_project import csv

from headrace import open_project
from headrace.engine.confine import LINUX


def touch(payload: dict[str, Any]) -> dict[str, Any]:
    """In the child: for each path whether it could be written."""
    found = {}
    for name in payload["paths"]:
        try:
            with open(name, "ab"):
                found[name] = True
        except PermissionError:
            found[name] = False
    return found


@pytest.mark.skipif(not LINUX, reason="only Linux walls off folders")
def test_the_child_writes_staged_rows_and_copies_and_nothing_else(project: Path) -> None:
    file = csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    with open_project(project) as opened:
        assert opened.run("readings", [file]).exit_code == 0
        root = opened.root
        allowed = [root / "spool/x", root / "lake/readings/data/x"]
        walled = [root / name for name in ("ledger.db", "catalog.db", "keyed/by_sensor.db", "logs/x", "landing/x", "x")]
        with opened._side.children() as child:
            said = child.call("test_confined:touch", {"paths": [str(p) for p in (*allowed, *walled, file)]}, 30)
            if not child.granted["writes"]:
                pytest.skip("this kernel has no Landlock")
    assert [name for name, written in said.items() if written] == [str(p) for p in allowed]
