"""`run` and what people ask right after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_project import Command, csv

from headrace.model.errors import UsageError
from headrace.model.pipeline import files
from headrace.project.arriving import keys_for


def test_a_run_loads_files_and_accounts_for_every_row(command: Command, project: Path) -> None:
    csv(project / "in/a.csv", "s1,2025-05-01T00:00:00,1.5", "s1,2025-05-01T00:10:00,2.5")
    csv(project / "in/b.csv", "s2,2025-05-01T00:00:00,3")
    said = command("run", "readings", "in/a.csv", "in/b.csv")
    assert said.code == 0
    assert "read 3 = loaded 3 + rejected 0 + duplicate 0 + filtered 0" in said.out
    assert "next: headrace sql" in said.err


def test_json_has_the_promised_shape_and_a_second_run_is_unchanged(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1.5")
    first = command("run", "readings", "a.csv", "--json").json
    (load,) = first["loads"]
    assert list(load) == [
        "pipeline", "object", "version", "state", "read", "loaded", "rejected", "duplicate", "filtered", "seconds",
        "replaced", "passed_over",
    ]  # fmt: skip
    assert (load["object"], load["state"], load["read"], load["loaded"]) == ("raw/readings/a.csv", "standing", 1, 1)
    assert first["totals"] == {"loads": 1, "read": 1, "loaded": 1, "rejected": 0, "duplicate": 0, "filtered": 0}
    second = command("--json", "run", "readings", "a.csv").json
    assert [x["state"] for x in second["loads"]] == ["unchanged"]
    assert second["totals"]["read"] == second["totals"]["loads"] == 0


def test_a_corrected_file_replaces_its_rows_and_restoring_it_brings_them_back(command: Command, project: Path) -> None:
    def values() -> list[object]:
        rows = command("sql", "SELECT value FROM readings ORDER BY time", "--json").json
        keyed = command("get", "by_sensor", "s1", "--json").json
        assert [r["value"] for r in keyed] == [r["value"] for r in rows]
        return [r["value"] for r in rows]

    first = ("s1,2025-05-01T00:00:00,1", "s1,2025-05-01T00:10:00,2")
    csv(project / "a.csv", *first)
    command("run", "readings", "a.csv")
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,9")
    command("run", "readings", "a.csv")
    assert values() == [9.0]
    csv(project / "a.csv", *first)
    command("run", "readings", "a.csv")
    assert values() == [1.0, 2.0]
    states = [x["state"] for x in command("history", "--json").json]
    assert states == ["retired", "retired", "standing"]


def test_an_object_that_cannot_load_ends_in_exit_4_and_in_the_dlq(command: Command, project: Path) -> None:
    csv(project / "good.csv", "s1,2025-05-01T00:00:00,1")
    csv(project / "bad.csv", "x", header="Nothing")
    said = command("run", "readings", "good.csv", "bad.csv")
    assert said.code == 4
    assert "HR451" in said.err and "dlq ls" in said.err
    (dead,) = command("dlq", "ls", "--json").json
    assert dead["object"] == "raw/readings/bad.csv"
    assert command("status").code == 1
    assert "HR451" in command("dlq", "show", "readings", dead["object"]).out
    assert command("dlq", "export", "readings", "--out", "dead").code == 0
    assert (project / "dead/raw/readings/bad.csv").read_text() == "Nothing\nx\n"
    assert command("dlq", "redrive", "readings").code == 4
    csv(project / ".headrace/landing/raw/readings/bad.csv", "s9,2025-05-01T00:00:00,1")
    assert command("dlq", "redrive", "readings").code == 0
    assert command("status").code == 0


def test_more_rejects_than_tolerated_end_in_exit_1(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,x", "s1,2025-05-01T00:10:00,y", "s2,2025-05-01T00:00:00,1")
    said = command("run", "readings", "a.csv")
    assert said.code == 1
    assert "read 3 = loaded 1 + rejected 2" in said.out
    assert "quarantine ls" in said.err


def test_without_files_what_lies_in_the_landing_folder_is_taken(command: Command, project: Path) -> None:
    csv(project / "first.csv", "s1,2025-05-01T00:00:00,1")
    command("run", "readings", "first.csv")
    csv(project / ".headrace/landing/raw/readings/x/second.csv", "s2,2025-05-01T00:00:00,1")
    said = command("run", "readings", "--json").json
    assert [x["object"] for x in said["loads"]] == ["raw/readings/x/second.csv"]


def test_what_a_killed_process_left_lying_is_cleared_by_the_next_scan(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    strays = [project / ".headrace/lake/readings/data/stray.parquet", project / ".headrace/spool/copy"]
    for stray in strays:
        stray.write_bytes(b"cut off")
    assert command("run", "readings").code == 0
    assert not any(stray.exists() for stray in strays)
    assert command("sql", "SELECT count(*) n FROM readings", "--json").json == [{"n": 1}]


def test_a_dry_run_tells_the_keys_and_puts_nothing(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    assert command("run", "readings", "a.csv", "--dry-run", "--json").json[0]["object"] == "raw/readings/a.csv"
    assert not (project / ".headrace").exists()


def test_a_path_keeps_what_follows_the_prefix(tmp_path: Path) -> None:
    source = files("raw/lv/", suffix=".csv")
    a, b = csv(tmp_path / "x/raw/lv/y=2025/a.csv"), csv(tmp_path / "other/b.csv")
    assert list(keys_for(source, [a])) == ["raw/lv/y=2025/a.csv"]
    assert list(keys_for(source, [tmp_path])) == ["raw/lv/other/b.csv", "raw/lv/y=2025/a.csv"]
    assert list(keys_for(source, [b])) == ["raw/lv/b.csv"]


def test_two_files_for_one_key_are_an_error(tmp_path: Path) -> None:
    a, b = csv(tmp_path / "1/raw/lv/a.csv"), csv(tmp_path / "2/raw/lv/a.csv")
    with pytest.raises(UsageError, match="HR123"):
        keys_for(files("raw/lv/", suffix=".csv"), [a, b])


@pytest.mark.parametrize(("name", "code"), [("missing.csv", "HR121"), ("wrong.txt", "HR122"), ("empty", "HR124")])
def test_files_that_cannot_be_meant_are_refused(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "wrong.txt").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=code):
        keys_for(files("raw/lv/", suffix=".csv"), [tmp_path / name])


def test_packed_files_are_taken_by_the_plain_suffix(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.zst", "c.zip", "d.tsv", ".hidden.csv"):
        (tmp_path / name).write_text("")
    assert [Path(k).name for k in keys_for(files("raw/", suffix=".csv"), [tmp_path])] == [
        "a.csv.gz",
        "b.csv.zst",
        "c.zip",
    ]


def left_lying(project: Path) -> tuple[Path, Path]:
    """A file of a staging attempt and a copy, as a process that was killed leaves them."""
    stray = project / ".headrace/lake/readings/data/stray.parquet"
    copy = project / ".headrace/spool/copy-of-a.csv"
    for path in (stray, copy):
        path.write_text("half")
    return stray, copy


def test_a_run_of_files_empties_the_spool_and_sweeps_after_a_crash(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1.5")
    assert command("run", "readings", "a.csv").code == 0
    stray, copy = left_lying(project)
    assert command("run", "readings", "a.csv").code == 0
    assert (stray.exists(), copy.exists()) == (True, False)  # the last run ended well: the base is not searched
    (project / ".headrace/locks/work.lock").write_text("12345")  # what a killed holder leaves in it
    assert command("run", "readings", "a.csv").code == 0
    assert not stray.exists()


def test_a_renamed_pipeline_is_told_so_and_loses_no_file(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1.5")
    command("run", "readings", "a.csv")
    definition = (project / "pipelines.py").read_text()
    (project / "pipelines.py").write_text(definition.replace('Pipeline("readings"', 'Pipeline("measured"'))
    said = command("run", "measured")
    assert (said.code, "HR241" in said.err) == (2, True)
    (project / "pipelines.py").write_text(definition)
    assert command("run", "readings").code == 0
    assert command("sql", "SELECT count(*) AS n FROM readings", "--json").json == [{"n": 1}]


def test_a_run_says_which_earlier_version_it_replaced(command: Command, project: Path) -> None:
    csv(project / "jan" / "data.csv", "s1,2025-01-01T00:00:00,1", "s2,2025-01-01T00:00:00,2")
    csv(project / "feb" / "data.csv", "s1,2025-02-01T00:00:00,3")
    assert "replaces" not in command("run", "readings", "jan/data.csv").err
    said = command("run", "readings", "feb/data.csv")
    assert "replaces an earlier version of raw/readings/data.csv: 2 rows retired" in said.err
    csv(project / "feb" / "data.csv", "s1,2025-02-01T00:00:00,4")
    assert command("run", "readings", "feb/data.csv", "--json").json["loads"][0]["replaced"] == 1


def test_rows_that_lose_their_key_are_told_by_check_replay_and_status(command: Command, project: Path) -> None:
    csv(project / "a.csv", *[f"s1,2025-01-01T00:00:00,{i}" for i in range(10)])
    said = command("check", "readings", "--against", "a.csv")
    assert said.code == 1 and "identifies only 1 of 10 rows" in said.out
    command("run", "readings", "a.csv")
    said = command("replay", "readings", "--all", "--yes")
    assert "read 10 = loaded 1 + rejected 0 + duplicate 9 + filtered 0" in said.out
    assert "9 rows share a key" in said.err and "readings__losers" in said.err
    assert command("replay", "readings", "--all", "--yes", "--json").json[0]["duplicate"] == 9
    assert command("status", "--json").json["pipelines"][0]["conflicts"] == 9
