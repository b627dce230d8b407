"""Objects that are gone while their rows stand: they keep no definition from coming into force for ever."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from cli_project import DEFINITION, Command, csv
from test_waiting import HEADRACE, until

from headrace import open_project

LANDED = Path(".headrace/landing/raw/readings")
KEYED_BY_SENSOR = DEFINITION.replace('key=("sensor", "time")', 'key=("sensor",)')


def with_one_gone(command: Command, project: Path, more: str = "") -> None:
    """a.csv and b.csv stand, b.csv is gone; then the key changes."""
    (project / "pipelines.py").write_text(DEFINITION.replace("{more}", more))
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    csv(project / "b.csv", "s2,2025-05-01T00:00:00,2")
    command("run", "readings", "a.csv", "b.csv")
    (project / LANDED / "b.csv").unlink(missing_ok=True)
    (project / "pipelines.py").write_text(KEYED_BY_SENSOR.replace("{more}", more))


def sensors(command: Command) -> list[str]:
    return [row["sensor"] for row in command("sql", "SELECT sensor FROM readings ORDER BY ALL", "--json").json]


def test_a_replay_that_cannot_bring_everything_over_says_what_is_gone_and_the_way_out(
    command: Command, project: Path
) -> None:
    with_one_gone(command, project)
    said = command("replay", "readings", "--all", "--yes")
    assert said.code == 2 and "HR240" in said.err
    assert "1 object (raw/readings/b.csv) cannot be read again" in said.err
    assert "headrace retract readings --gone" in said.err
    assert command("retract", "readings", "--gone", "--dry-run", "--json").json == [{"object": "raw/readings/b.csv"}]
    assert "HR133" in command("retract", "readings", "--gone").err
    assert sensors(command) == ["s1", "s2"]
    said = command("retract", "readings", "--gone", "--yes")
    assert said.code == 0 and "1 object retracted" in said.err
    assert sensors(command) == ["s1"]
    assert [x["_source_file"] for x in command("get", "by_sensor", "s1", "--json").json] == ["raw/readings/a.csv"]
    assert command("get", "by_sensor", "s2", "--json").json == []
    assert command("status").code == 0
    assert [x["state"] for x in command("history", "--file", "raw/readings/b.csv", "--json").json] == ["retired"]


def test_what_is_let_go_first_leaves_with_the_replay_in_one_revision(command: Command, project: Path) -> None:
    with_one_gone(command, project)
    said = command("retract", "readings", "--file", "raw/readings/b.csv", "--yes")
    assert said.code == 0 and "1 object will go when the others are brought over" in said.err
    assert sensors(command) == ["s1", "s2"]
    before = command("status", "--json").json["pipelines"][0]["revision"]
    assert command("replay", "readings", "--all", "--yes").code == 0
    assert sensors(command) == ["s1"]
    assert command("status", "--json").json["pipelines"][0]["revision"] == before + 1


def test_objects_that_cannot_load_under_the_new_definition_are_told_apart(command: Command, project: Path) -> None:
    with_one_gone(command, project)
    csv(project / LANDED / "a.csv", "s1", header="Sensor")
    said = command("replay", "readings", "--all", "--yes")
    assert "1 object (raw/readings/b.csv) cannot be read again" in said.err
    assert "1 object (raw/readings/a.csv) cannot load under the new one" in said.err
    assert "headrace dlq ls readings" in said.err


def test_where_everything_is_gone_the_replay_says_so_and_letting_go_ends_it(command: Command, project: Path) -> None:
    with_one_gone(command, project)
    (project / LANDED / "a.csv").unlink()
    said = command("replay", "readings", "--all", "--yes")
    assert said.code == 2 and "2 objects (raw/readings/a.csv, raw/readings/b.csv) cannot be read again" in said.err
    assert command("retract", "readings", "--gone", "--yes").code == 0
    assert (sensors(command), command("status").code) == ([], 0)
    csv(project / "c.csv", "s1,2025-05-01T00:00:00,1", "s1,2025-05-02T00:00:00,3")
    assert command("run", "readings", "c.csv").code == 0
    assert sensors(command) == ["s1"]


def test_one_object_is_let_go_although_deletions_are_kept(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    csv(project / "b.csv", "s2,2025-05-01T00:00:00,2")
    command("run", "readings", "a.csv", "b.csv")
    (project / LANDED / "b.csv").unlink()
    command("run", "readings")
    assert sensors(command) == ["s1", "s2"]
    assert "HR141" in command("retract", "readings", "--file", "raw/readings/a.csv", "--yes").err
    assert "HR129" in command("retract", "readings", "--file", "raw/readings/c.csv", "--yes").err
    assert command("retract", "readings", "--file", "raw/readings/b.csv", "--yes").code == 0
    assert sensors(command) == ["s1"]
    assert "no object is gone" in command("retract", "readings", "--gone").err
    assert command("run", "readings").code == 0
    assert sensors(command) == ["s1"]


def test_an_object_that_is_back_in_time_stays(command: Command, project: Path) -> None:
    with_one_gone(command, project)
    command("retract", "readings", "--gone", "--yes")
    csv(project / LANDED / "b.csv", "s2,2025-05-01T00:00:00,2")
    assert command("replay", "readings", "--all", "--yes").code == 0
    assert sensors(command) == ["s1", "s2"]


def test_what_is_archived_is_not_gone_unless_its_copy_is(command: Command, project: Path) -> None:
    archived = ', after="archive"'
    with_one_gone(command, project, archived)
    assert "no object is gone" in command("retract", "readings", "--gone", "--yes").err
    (copy,) = (project / ".headrace/archive").rglob("b.csv")
    copy.unlink()
    assert "cannot be read again" in command("replay", "readings", "--all", "--yes").err
    assert command("retract", "readings", "--gone", "--yes").code == 0
    assert sensors(command) == ["s1"]


def damaged_archive(command: Command, project: Path) -> None:
    """a to e stand and were archived: b's copy is gone, c's is a folder, d's is altered, e's cut; each has a reject."""
    (project / "pipelines.py").write_text(DEFINITION.replace("{more}", ', after="archive"'))
    for i, name in enumerate("abcde"):
        csv(project / f"in/{name}.csv", f"{name},2025-05-01T00:00:00,{i}", f"{name},2025-05-02T00:00:00,x")
    command("run", "readings", "in")
    copies = {copy.name: copy for copy in (project / ".headrace/archive").rglob("*.csv")}
    copies["b.csv"].unlink()
    copies["c.csv"].unlink()
    copies["c.csv"].mkdir()
    copies["d.csv"].write_text("Sensor,Time,Value\nd,2025-05-01T00:00:00,7\n")
    copies["e.csv"].write_text("")


def test_what_cannot_be_read_again_is_what_is_let_go_although_a_copy_is_there(command: Command, project: Path) -> None:
    damaged_archive(command, project)
    (project / "pipelines.py").write_text(KEYED_BY_SENSOR.replace("{more}", ', after="archive"'))
    dry = command("replay", "readings", "--all", "--dry-run")
    assert dry.out.split() == ["object", "raw/readings/a.csv"] and "4 objects cannot be read again" in dry.err
    for _ in range(2):  # what was staged by the first is not called lost by the second
        said = command("replay", "readings", "--all", "--yes")
        assert said.code == 2 and "2 objects (raw/readings/b.csv, raw/readings/c.csv) cannot be read again" in said.err
        assert "gone from the landing folder and the archive" in said.err
        assert "2 objects (raw/readings/d.csv, raw/readings/e.csv) cannot be read again, being damaged" in said.err
    going = command("retract", "readings", "--gone", "--yes", "--json").json
    assert [x["object"][-5] for x in going] == ["b", "c", "d", "e"]
    assert command("replay", "readings", "--all", "--yes").code == 0
    assert (sensors(command), command("status").code) == (["a"], 0)


def test_a_damaged_copy_is_called_that(command: Command, project: Path) -> None:
    damaged_archive(command, project)
    for name, word in (("a", "archived"), ("b", "not there any more"), ("d", "archived, but damaged")):
        assert f"store     {word}" in command("explain", f"raw/readings/{name}.csv").out
    assert command("explain", "raw/readings/d.csv", "--json").json["facts"]["kept"] == "damaged"
    said = command("replay", "readings", "--all", "--yes")
    assert "2 objects are gone and stay as they were loaded" in said.err
    assert "2 objects are damaged in the archive and stay as they were loaded" in said.err


def test_corrections_of_what_cannot_be_read_again_are_left_aside(command: Command, project: Path) -> None:
    damaged_archive(command, project)
    command("quarantine", "export", "readings", "--out", "all.csv")
    head, *lines = (project / "all.csv").read_text().splitlines()
    edited = [line.split(",")[:3] + ["", line[14], "2025-05-02T00:00:00", "1", ""] for line in lines]
    rows = {parts[4]: ",".join(parts) for parts in ([*e[:4], e[0][-5], *e[5:]] for e in edited)}
    (project / "lost.csv").write_text("\n".join([head, *(rows[name] for name in "bcde")]) + "\n")
    for dry in ((), ("--dry-run",)):
        said = command("quarantine", "correct", "readings", "lost.csv", *dry, "--json")
        assert (said.code, said.json["corrected"], said.json["left_aside"]) == (1, 0, 4)
    assert command("quarantine", "corrections", "readings", "--json").json == []
    said = command("quarantine", "correct", "readings", "lost.csv")
    assert "nothing was corrected" in said.err and "4 rows left aside" in said.err
    (project / "one.csv").write_text("\n".join([head, rows["a"], rows["d"]]) + "\n")
    said = command("quarantine", "correct", "readings", "one.csv", "--json")
    assert (said.code, said.json["corrected"], said.json["outcome"]["loaded"]) == (0, 1, 1)


def test_only_what_was_named_of_the_held_retractions_goes(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text(DEFINITION.replace("{more}", ', on_delete="retract"'))
    for i in range(30):
        csv(project / "in" / f"{i:02}.csv", f"s{i},2025-05-01T00:00:00,{i}")
    command("run", "readings", "in")
    for i in range(20):
        (project / LANDED / f"{i:02}.csv").unlink()
    command("run", "readings")
    assert command("retract", "readings", "--file", "raw/readings/03.csv", "--yes").code == 0
    assert len(sensors(command)) == 29
    assert len(command("retract", "readings", "--json").json) == 19


def test_letting_go_while_up_holds_the_root_does_not_wait_for_the_replay(command: Command, project: Path) -> None:
    with_one_gone(command, project)
    up = subprocess.Popen([*HEADRACE, "up"], cwd=project, stderr=subprocess.DEVNULL, env={**os.environ})
    try:

        def running() -> bool:
            with open_project(project) as opened:
                return opened.status().running is not None

        until(running)
        said = command("retract", "readings", "--gone", "--yes")
        assert said.code == 0 and "will go when the others are brought over" in said.err
        assert command("replay", "readings", "--all", "--yes").code == 0
        assert sensors(command) == ["s1"]
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(30)


def test_what_the_source_takes_in_no_more_can_be_let_go_although_it_lies_there(command: Command, project: Path) -> None:
    both = ('suffix=".csv"', 'suffix=(".csv", ".tsv")')
    (project / "pipelines.py").write_text(DEFINITION.replace("{more}", "").replace(*both))
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    csv(project / "b.tsv", "s2,2025-05-01T00:00:00,2")
    assert command("run", "readings", "a.csv", "b.tsv").code == 0
    (project / "pipelines.py").write_text(KEYED_BY_SENSOR.replace("{more}", ""))
    said = command("replay", "readings", "--all", "--yes")
    assert "1 object (raw/readings/b.tsv) cannot be read again, being no longer objects of its source" in said.err
    assert "take them into the source again, or let it go with `headrace retract readings --gone`" in said.err
    said = command("retract", "readings", "--gone", "--yes")
    assert said.code == 0 and "1 object retracted" in said.err
    assert sensors(command) == ["s1"]
    assert command("status").code == 0
