"""What is logged and told, as files that people and machines read."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.engine import log
from headrace.engine.settings import Settings
from headrace.local.clock import ManualClock
from headrace.local.notify import FileNotifier
from headrace.model.errors import InfrastructureError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    handler = log.configure(tmp_path / "logs", Settings(log_bytes=10_000, keep_logs=3))
    yield tmp_path / "logs"
    log.stop(handler)


def test_an_event_is_one_line_of_json_with_its_fields(folder: Path) -> None:
    log.event("staged", load="lv.1", rows=3, path=Path("a/b"))
    with pytest.raises(ZeroDivisionError), log.timed("publish", pipeline="lv") as fields:
        fields["revision"] = 7
        _ = 1 / 0
    first, second = log.read(folder)
    assert {k: first[k] for k in ("level", "event", "load", "rows", "path")} == {
        "level": "info",
        "event": "staged",
        "load": "lv.1",
        "rows": 3,
        "path": "a/b",
    }
    assert first["at"].endswith("Z")
    assert (second["level"], second["revision"], second["error"]) == ("error", 7, "division by zero")


def test_nothing_is_written_unless_it_was_asked_for(tmp_path: Path) -> None:
    log.event("unheard")
    handler = log.configure(tmp_path, Settings())
    log.stop(handler)
    log.event("unheard")
    assert list(tmp_path.iterdir()) == []


def test_a_log_is_rotated_by_size_and_the_oldest_go(folder: Path) -> None:
    for n in range(1000):
        log.event("tick", n=n, filler="x" * 50)
    names = {path.name for path in folder.iterdir()}
    assert {f"{log.NAME}.{n}" for n in (1, 2, 3)} <= names <= {log.NAME, *(f"{log.NAME}.{n}" for n in (1, 2, 3))}
    numbers = [entry["n"] for entry in log.read(folder)]
    assert numbers == list(range(numbers[0], 1000)) and len(numbers) < 1000


WRITE = """
import sys
from pathlib import Path
from headrace.engine import log
from headrace.engine.settings import Settings
handler = log.configure(Path(sys.argv[1]), Settings(log_bytes=10_000, keep_logs=1000))
for n in range(500):
    log.event("tick", who=sys.argv[2], n=n, filler="x" * 100)
log.stop(handler)
"""


def test_two_processes_lose_no_line_and_tear_none_while_the_log_is_rotated(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path), who]) for who in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    lines = [text for path in tmp_path.iterdir() for text in path.read_text().splitlines()]
    found = {(entry["who"], entry["n"]) for entry in map(json.loads, lines)}
    assert len(lines) == 1000 and found == {(who, n) for who in "ab" for n in range(500)}


def test_an_application_sees_the_records_through_logging(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "headrace"):
        log.event("staged", rows=3)
    assert [record.getMessage() for record in caplog.records] == ["staged"]


def test_a_notification_is_stored_shown_and_logged(folder: Path) -> None:
    stream = io.StringIO()
    notifier = FileNotifier(folder / "notifications.jsonl", ManualClock(), stream)
    notifier.send("late", "nothing since noon", {"pipeline": "lv"})
    notifier.send("again", "", {})
    entries = [json.loads(text) for text in notifier.path.read_text().splitlines()]
    assert entries[0] == {
        "at": "2024-01-01T00:00:00.000Z",
        "subject": "late",
        "body": "nothing since noon",
        "attributes": {"pipeline": "lv"},
    }
    assert stream.getvalue() == "! late: nothing since noon\n! again\n"
    assert [(e["event"], e["subject"]) for e in log.read(folder)] == [("notified", "late"), ("notified", "again")]


def test_notifications_of_many_threads_stay_whole(tmp_path: Path) -> None:
    notifier = FileNotifier(tmp_path / "n.jsonl", stream=io.StringIO())
    threads = [threading.Thread(target=lambda: notifier.send("s", "b" * 5000, {})) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [json.loads(text)["subject"] for text in notifier.path.read_text().splitlines()] == ["s"] * 20


def test_a_notification_that_cannot_be_stored_is_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="HR307"):
        FileNotifier(tmp_path / "file" / "n.jsonl").send("s", "b", {})


def test_a_broken_terminal_fails_no_notification_that_is_stored(tmp_path: Path) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    closed = io.StringIO()
    closed.close()
    for stream in (Gone(), closed):
        FileNotifier(tmp_path / "notifications.jsonl", stream=stream).send("one", "body", {})
    assert (tmp_path / "notifications.jsonl").read_text().count('"one"') == 2
