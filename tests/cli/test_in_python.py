"""What `open_project` takes and answers, in a script or a notebook."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_project import csv

from headrace import UsageError, open_project


def test_one_file_may_be_given_as_a_text_or_a_path(project: Path) -> None:
    a = csv(project / "a.csv", "s1,2025-05-01T00:00:00,1", "s2,2025-05-01T00:00:00,x")
    with open_project(project) as opened:
        assert opened.run("readings", str(a)).totals["loaded"] == 1
        assert opened.run("readings", a).totals["loads"] == 0
        assert [x.state for x in opened.replay("readings", files="raw/readings/a.csv")] == ["standing"]
        assert list(opened.plan("readings", str(a))) == ["raw/readings/a.csv"]


def test_times_may_be_given_as_on_the_command_line(project: Path) -> None:
    a = csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    with open_project(project) as opened:
        opened.run("readings", a)
        assert len(opened.history(since="2 hours")) == len(opened.history(file="raw/readings/a.csv")) == 1
        assert len(opened.history(since="2999-01-01")) == 0
        assert len(opened.replayable("readings", since="1 day")) == 1
        with pytest.raises(UsageError, match="HR100 since: 'soon' is no time"):
            opened.history(since="soon")


def test_what_is_listed_is_a_table_too_and_prints_as_one(project: Path) -> None:
    csv(project / "in/a.csv", "s1,2025-05-01T00:00:00,1", "s2,2025-05-01T00:00:00,x")
    csv(project / "in/b.csv", "x", header="Nothing")
    with open_project(project) as opened:
        opened.run("readings", project / "in")
        rejected, dead = opened.quarantine("readings"), opened.dlq()
        assert rejected.arrow().num_rows == dead.arrow().num_rows == 1
        assert "s2,2025-05-01T00:00:00,x" in repr(rejected) and "raw/readings/b.csv" in repr(dead)
        assert repr(opened.quarantine("readings", rule="none")) == "nothing"
        assert "cannot load" in str(opened.status()) and "<table>" in opened.status()._repr_html_()
        assert opened.compact() == 0
