"""Pipeline and what it is made of: sources, sinks, rules and steps, as frozen values.

Constructing one opens no file. What is impossible raises DefinitionError with file and line, here or in
`model.parts`; what needs an SQL engine to be seen is found by `contract.bind`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from headrace.model.errors import DefinitionError
from headrace.model.record import Record
from headrace.model.where import here, meant

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Csv:
    """A declared dialect; what is None is decided on evidence. `header=False`: columns bind in order."""

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    header: bool | None = None
    encoding: str | None = None
    skip: int | None = None

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote", "escape"):
            value = getattr(self, name)
            allowed = value is None or (isinstance(value, str) and len(value) == 1)
            if not allowed and (name == "delimiter" or value != ""):  # "" says: there is no quote, no escape
                raise DefinitionError("HR212", f"{here()} Csv", f"{name}={value!r}", "give one character")
        if self.skip is not None and (type(self.skip) is not int or self.skip < 0):
            raise DefinitionError("HR212", f"{here()} Csv", f"skip={self.skip!r}", "give a whole number from 0")


@dataclass(frozen=True)
class Files:
    """Objects under a prefix of the landing place. `where` is `file:line`, for messages."""

    prefix: str
    suffix: tuple[str, ...] = ()
    sheet: str | None = None
    csv: Csv | None = None
    on_delete: Literal["keep", "retract"] = "keep"
    same_bytes: Literal["load", "skip", "alert"] = "alert"
    after: Literal["leave", "archive"] = "leave"
    where: str = field(default="", compare=False, repr=False)


def files(
    prefix: str,
    *,
    suffix: str | Sequence[str] = (),
    sheet: str | None = None,
    csv: Csv | None = None,
    on_delete: Literal["keep", "retract"] = "keep",
    same_bytes: Literal["load", "skip", "alert"] = "alert",
    after: Literal["leave", "archive"] = "leave",
) -> Files:
    """Files that arrive under `prefix`, with one of the suffixes (`.csv` also takes `.csv.gz`, `.csv.zst` and zips).

    `on_delete`: whether rows of a deleted file stay. `same_bytes`: what to do with a second file of equal content.
    `after`: whether files that stand are left, or moved to the archive.
    """
    where = here()

    def wrong(found: str, next: str) -> DefinitionError:
        return DefinitionError("HR212", f"{where} files({prefix!r})", found, next)

    if not isinstance(prefix, str) or prefix.startswith("/") or "\\" in prefix or ".." in prefix.split("/"):
        raise wrong("the prefix must be a relative key", "write e.g. 'raw/prod/lv/'")
    suffixes = (suffix,) if isinstance(suffix, str) else tuple(suffix)
    suffixes = tuple(s.lower() for s in suffixes if s)
    for one in suffixes:
        if not one.startswith("."):
            raise wrong(f"suffix {one!r} does not begin with a dot", f"write {'.' + one!r}")
    for name, value, allowed in (
        ("on_delete", on_delete, ("keep", "retract")),
        ("same_bytes", same_bytes, ("load", "skip", "alert")),
        ("after", after, ("leave", "archive")),
    ):
        if value not in allowed:
            raise wrong(f"{name}={value!r}", meant(str(value), allowed))
    if after == "archive" and on_delete == "retract":
        raise wrong("after='archive' empties the place that on_delete='retract' judges by", "choose one of them")
    if after == "archive" and same_bytes == "skip":
        raise wrong("after='archive' moves away what same_bytes='skip' may want to read later", "choose one of them")
    return Files(prefix, suffixes, sheet, csv, on_delete, same_bytes, after, where)


@dataclass(frozen=True)
class Lake:
    """Parquet under an Iceberg table. `partition_by` are columns, or year(), month(), day(), hour() of one."""

    table: str
    partition_by: tuple[str, ...] = ()
    where: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Keyed:
    """Items by partition key and sort key: the record's key, its first column and the rest."""

    table: str
    index: tuple[str, ...] = ()
    where: str = field(default="", compare=False, repr=False)


Sink = Lake | Keyed


def lake(table: str, partition_by: str | Sequence[str] = ()) -> Lake:
    """A table of the lake. Values of `partition_by` become folders and real columns (`year`, `month`, …)."""
    parts = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
    return Lake(_table(table, "lake"), parts, here())


def keyed(table: str, index: str | Sequence[str] = ()) -> Keyed:
    """A table of items for lookups in milliseconds. `index`: columns that can be searched without a scan."""
    return Keyed(_table(table, "keyed"), (index,) if isinstance(index, str) else tuple(index), here())


def _table(name: str, kind: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        next = "use small letters, digits and _, a letter first"
        raise DefinitionError("HR209", f"{here()} {kind}({name!r})", "no name for a table", next)
    return name


@dataclass(frozen=True)
class Rule:
    """A named boolean over a typed row. True fires, null does not."""

    kind: Literal["reject", "skip", "flag", "alert"]
    name: str
    when: str
    subject: str = ""
    body: str = ""
    where: str = field(default="", compare=False, repr=False)


def reject(name: str, when: str) -> Rule:
    """Rows for which `when` is true go to quarantine, under this name."""
    return Rule("reject", _rule(name), when, where=here())


def skip(name: str, when: str) -> Rule:
    """Rows for which `when` is true are filtered: counted, not loaded, not kept."""
    return Rule("skip", _rule(name), when, where=here())


def flag(name: str, when: str) -> Rule:
    """A boolean column of this name: whether `when` is true."""
    return Rule("flag", _rule(name), when, where=here())


def alert(name: str, when: str, *, subject: str, body: str) -> Rule:
    """A message per loaded row for which `when` is true; `{column}` in the texts stands for its value."""
    return Rule("alert", _rule(name), when, subject, body, here())


def _rule(name: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        next = "use small letters, digits and _, a letter first"
        raise DefinitionError("HR211", f"{here()} rule {name!r}", "no name for a rule", next)
    return name


@dataclass(frozen=True)
class SqlStep:
    """A query over `input`, the accepted rows of one load."""

    query: str
    where: str = field(default="", compare=False, repr=False)


def sql(query: str) -> SqlStep:
    """A step as a query: `input` holds the typed rows of one load; the answer takes their place."""
    return SqlStep(query, here())


Step = SqlStep | Callable[[Any], Any]
"""A query, or a function from a pyarrow.Table to a pyarrow.Table at the top of a module."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Where input arrives, what a row must look like, what happens to it, and where rows go. Inert.

    `tolerate`: the share of rejected rows beyond which a run fails with exit code 1 and an alarm is raised.
    `expect_every`: e.g. "2 hours"; alarms when nothing arrives for longer.
    """

    name: str = field(kw_only=False)
    source: Files
    record: type[Record]
    sinks: Sequence[Sink]
    steps: Sequence[Step] = ()
    rules: Sequence[Rule] = ()
    tolerate: float = 0.0
    expect_every: str | None = None
    where: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        from headrace.model.parts import check_pipeline

        object.__setattr__(self, "where", self.where or here())
        for name in ("sinks", "steps", "rules"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, list | tuple) else (value,))
        check_pipeline(self)
