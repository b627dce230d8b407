"""What a step of the ledger's record holds, and that it adds up. Called by `ledger.py` before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from headrace.aws.ledger_apply import Step
from headrace.aws.ledger_keys import KeyLoads
from headrace.aws.ledger_rows import alert_list, file_of
from headrace.model.accounts import check_load
from headrace.model.loads import STANDS, DataFile, FileKind, Load, Settlement
from headrace.model.times import text_of

LISTS = ("abandoned", "skipped", "stale", "recovered")
FOR_REVISIONS = ("standing", "retired", "added", "removed", "adopted", "doomed")


def settling(s: Settlement, about: Mapping[str, KeyLoads], at: datetime, reason: str) -> dict[str, Any]:
    """A step without any revision in it. `about`: the key of every load that it moves."""
    return {
        "number": None,
        "at": text_of(at),
        "reason": reason,
        "keys": {id: found.key for id, found in about.items()},
        "counts": {},
        **{name: [] for name in FOR_REVISIONS},
        **{name: list(getattr(s, name)) for name in LISTS},
        "forgotten": dict(s.forgotten),
        "alerts": [alert_list(alert) for alert in s.alerts],
    }


def check_accounts(
    step: Step, after: Mapping[str, Load], standing: Callable[[], Mapping[str, tuple[DataFile, int]]]
) -> None:
    """Raise HR520 unless the counts of each load that stands from now on are the rows in its files.

    `after` is what the step makes of the loads; `standing` are the files before it, asked for only if they matter.
    """
    added = [file_of(raw) for raw in step["added"]]
    named = {*step["standing"], *step["counts"], *(id for f in added for id in f.loads)}
    concerned = {id for id in named if id in after and after[id].state in STANDS}
    removed = {raw["path"] for raw, _ in step["removed"]}
    known = standing() if removed or concerned - set(step["standing"]) else {}
    held: dict[str, Counter[FileKind]] = {id: Counter() for id in concerned}
    for file in [*added, *(f for path, (f, _) in known.items() if path not in removed)]:
        for id in concerned.intersection(file.loads):
            held[id][file.kind] += file.loads[id]
    for id in sorted(concerned):
        check_load(id, after[id].counts, held[id])
