"""Messages of `alert` rules: what rows say in them is cut, and many of one file are one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from headrace import Pipeline, Record, alert, files, lake
from headrace.engine import ingest
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.sandbox import InProcess
from headrace.local.target import LocalTarget


class Row(Record, key="k"):
    k: int
    text: str


PIPELINE = Pipeline(
    "p",
    source=files("in/"),
    record=Row,
    rules=[alert("odd", when="k % 2 = 1", subject="{k}: {text}", body="{text}{text}")],
    sinks=[lake("t")],
)


def said(tmp_path: Path, **texts: str) -> list[tuple[str, str]]:
    """Subject and body of each message about these files, in the order in which they are sent."""
    target = LocalTarget(tmp_path / "root", project=Path(__file__).parent)
    home = target.home(PIPELINE)
    (target.landing / "in").mkdir()
    for name, text in texts.items():
        (target.landing / "in" / f"{name}.csv").write_text("k,text\n" + text)
    sent: list[tuple[str, str]] = []

    class Told:
        def send(self, subject: str, body: str, attributes: object) -> None:
            sent.append((subject, body))

    home = replace(home, notifier=Told())
    scan(home)
    ingest.ingest(home, InProcess(), home.queue.lease("p", 10, timedelta(minutes=1)))
    while home.bell.take():
        publish(home)
    target.close()
    return sent


def test_what_a_row_says_in_a_message_is_cut(tmp_path: Path) -> None:
    [(subject, body)] = said(tmp_path, a=f"1,{'é' * 120_000}\n2,x\n")
    assert subject == f"1: {'é' * 196}…"
    assert body == "é" * 3_999 + "…"


def test_a_rule_tells_of_the_first_rows_of_each_file_and_counts_the_others(tmp_path: Path) -> None:
    many = "".join(f"{k},many\n" for k in range(1, 2_001))
    few = "".join(f"{k},few\n" for k in range(3_000, 3_200))
    sent = [subject for subject, _ in said(tmp_path, a=many, b=few)]
    assert sorted(s for s in sent if "many" in s) == sorted(f"{k}: many" for k in range(1, 200, 2))
    assert sorted(s for s in sent if "few" in s) == sorted(f"{k}: few" for k in range(3_001, 3_200, 2))
    assert [s for s in sent if "more" in s] == ["odd: and 900 more"]
