"""What a confined child may say of a job: nothing but the job's own loads, and files of its own attempt.

The child parses foreign bytes and may have been taken over by them. Whatever it answers is looked at here before the
ledger hears of it: an invented path would be deleted one day, an invented load would cover another one's rows.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from headrace.engine.job import Job
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Alert, Counts, DataFile, Staged


def check_answer(job: Job, answer: dict[str, Any]) -> None:
    """Raise HR608 unless the answer is about this job: each of its loads once, files where and as it names them."""
    asked = [x.load for x in job.inputs]
    told = [x["load"] for x in [*answer["loads"], *answer["bad"]]]
    if sorted(told) != sorted(asked):
        raise _refused(job, f"it told of {len(told)} loads, not of the {len(asked)} that it was asked for")
    staged = {x["load"] for x in answer["loads"]}
    for file in answer["files"]:
        if not staged.issuperset(file["loads"]):
            raise _refused(job, f"a file holds rows of {sorted(set(file['loads']) - staged)[0]!r}")
        if not _own(job, file["kind"], file["path"]):
            raise _refused(job, f"it named the file {file['path']!r}")


def _own(job: Job, kind: str, path: str) -> bool:
    base, found = PurePosixPath(job.base, kind), PurePosixPath(path)
    return (
        kind in ("data", "losers", "rejected")
        and ".." not in found.parts
        and found.is_relative_to(base)
        and found.name.startswith(job.attempt)
    )


def _refused(job: Job, found: str) -> InfrastructureError:
    return InfrastructureError("HR608", job.attempt, f"the child's answer is not about its job: {found}", "report this")


def staged_of(raw: dict[str, Any], seconds: float) -> Staged:
    alerts = tuple(Alert(load=raw["load"], **a) for a in raw["alerts"])
    return Staged(raw["load"], Counts(**raw["counts"]), raw["dialect"], seconds, alerts)


def data_file(raw: dict[str, Any]) -> DataFile:
    """A DataFile that came through JSON."""
    return DataFile(**{**raw, "ranges": tuple((lo, hi) for lo, hi in raw["ranges"])})
