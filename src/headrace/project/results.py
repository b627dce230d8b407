"""What a project's verbs answer with: small frozen values that print well, in a terminal and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.project.values import rows_of

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped, unused-ignore]
    import polars
    import pyarrow as pa

T = TypeVar("T")

SHOWN = 20
"""Rows of a table that a notebook or `repr` shows."""


class Table:
    """An answer with rows: as Arrow, Polars, pandas or plain dicts. Times keep their zone, decimals their digits."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def columns(self) -> list[str]:
        return list(self._table.column_names)

    def arrow(self) -> pa.Table:
        return self._table

    def polars(self) -> polars.DataFrame:
        """Needs `pip install headrace[polars]`."""
        import polars

        frame = polars.from_arrow(self._table)
        assert isinstance(frame, polars.DataFrame)
        return frame

    def pandas(self) -> pandas.DataFrame:
        """Needs `pip install headrace[pandas]`. Columns are backed by Arrow, so that integers with nulls stay exact."""
        import pandas  # type: ignore[import-untyped, unused-ignore]

        frame: pandas.DataFrame = self._table.to_pandas(types_mapper=pandas.ArrowDtype)
        return frame

    def rows(self) -> list[dict[str, Any]]:
        """Python values; a time that Python has none for (year 10000, BC, infinity) is text as DuckDB has it."""
        return rows_of(self._table)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._table.to_batches(max_chunksize=10_000):
            yield from rows_of(batch)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        lines = ["  ".join(self.columns)]
        lines += ["  ".join(str(v) for v in row.values()) for row in rows_of(self._table.slice(0, SHOWN))]
        return "\n".join([*lines, self._more()])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(c)}</th>" for c in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape('' if v is None else str(v))}</td>" for v in row.values()) + "</tr>"
            for row in rows_of(self._table.slice(0, SHOWN))
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{self._more()}</p>"

    def _more(self) -> str:
        n = len(self)
        return f"{n:,} row{'' if n == 1 else 's'}" + (f", the first {SHOWN} shown" if n > SHOWN else "")


class Listed(list[T]):
    """A plain list that can become a Table as well: `.arrow()`, `.polars()`, `.pandas()`, and shown in a notebook."""

    def __init__(self, items: Iterable[T], facts: Callable[[T], dict[str, Any]]) -> None:
        super().__init__(items)
        self._facts = facts

    def table(self) -> Table:
        import pyarrow as pa

        return Table(pa.Table.from_pylist([self._facts(item) for item in self]))

    def arrow(self) -> pa.Table:
        return self.table().arrow()

    def polars(self) -> polars.DataFrame:
        return self.table().polars()

    def pandas(self) -> pandas.DataFrame:
        return self.table().pandas()

    def __repr__(self) -> str:
        return repr(self.table()) if self else "nothing"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


@dataclass(frozen=True, slots=True)
class LoadResult:
    """One object of a run. `duplicate` holds conflicts too (`rejected` does under `on_conflict="reject"`).

    `state` is `standing`, `dead`, `unchanged` (its version stood already; counted in no total), or where it got stuck.
    """

    pipeline: str
    object: str
    version: str
    state: str
    read: int = 0
    loaded: int = 0
    rejected: int = 0
    duplicate: int = 0
    filtered: int = 0
    seconds: float = 0.0
    load: str = ""
    cause: str = ""
    conflict: int = 0  # rows that share a key with another row and differ from it, counted above as well
    replaced: int | None = (
        None  # rows of an earlier version of the object that went for this load; None: there was none
    )
    passed_over: tuple[str, ...] = ()  # members of a zip that are of no known format: none of their rows was read

    def public(self) -> dict[str, Any]:
        """The fields that `--json` promises."""
        return {k: v for k, v in asdict(self).items() if k not in ("load", "cause", "conflict")}


def totals(loads: Iterable[LoadResult]) -> dict[str, int]:
    """The rows of these loads: read, and what became of them."""
    told = tuple(loads)
    return {n: sum(getattr(x, n) for x in told) for n in ("read", "loaded", "rejected", "duplicate", "filtered")}


def accounting(loads: Iterable[LoadResult]) -> str:
    """`read 18,143 = loaded 18,143 + rejected 0 + duplicate 0 + filtered 0`"""
    t = totals(loads)
    parts = " + ".join(f"{n} {t[n]:,}" for n in ("loaded", "rejected", "duplicate", "filtered"))
    return f"read {t['read']:,} = {parts}"


@dataclass(frozen=True, slots=True)
class Retracted:
    """An object that stands no more, with nothing in its place: it is gone, and its rows went with it."""

    object: str
    rows: int


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one `run` did. `exit_code` as in docs/reference/commands.md."""

    loads: tuple[LoadResult, ...]
    seconds: float
    exit_code: int
    standing: Mapping[str, int]  # pipeline → rows loaded that stand now
    retracted: tuple[Retracted, ...] = ()

    @property
    def changed(self) -> tuple[LoadResult, ...]:
        return tuple(x for x in self.loads if x.state != "unchanged")

    @property
    def totals(self) -> dict[str, int]:
        return {"loads": len(self.changed)} | totals(self.changed)

    @property
    def accounting(self) -> str:
        return accounting(self.changed)

    def public(self) -> dict[str, Any]:
        return {
            "loads": [x.public() for x in self.loads],
            "totals": self.totals,
            "retracted": [asdict(x) for x in self.retracted],
        }

    def __str__(self) -> str:
        return self.accounting

    def _repr_html_(self) -> str:
        loads = Listed(self.loads, LoadResult.public)
        return f"<p><b>{html.escape(self.accounting)}</b></p>{loads._repr_html_()}"


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """One pipeline's health. `alarms` are sentences that end with the command to type next."""

    pipeline: str
    revision: int
    standing: int
    rows: int
    rejected: int
    conflicts: int  # rows of those that lost their key to a row that differs
    waiting: int
    dead: int
    held: int
    outdated: int
    stale: int
    last_arrival: datetime | None
    sinks: Mapping[str, int]
    alarms: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """Health now: `exit_code` 0 healthy, 1 alarms, 3 a fault. `disk` is bytes by what they are used for.

    `alarms` and `faults` are those of the place itself, beside those of its pipelines. Of a stack, `stack` is its state
    and `queues` what SQS counts in each queue.
    """

    target: str
    root: str
    running: int | None  # process id of `up`
    pipelines: tuple[PipelineStatus, ...]
    disk: Mapping[str, int]
    alarms: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    stack: str = ""
    queues: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        if self.faults or any(p.faults for p in self.pipelines):
            return 3
        return 1 if self.alarms or any(p.alarms for p in self.pipelines) else 0

    def public(self) -> dict[str, Any]:
        words = {0: "healthy", 1: "alarm", 3: "fault"}
        return {"state": words[self.exit_code], **asdict(self)}

    def _figures(self) -> Listed[dict[str, Any]]:
        aside = ("last_arrival", "sinks", "alarms", "faults")
        return Listed([{k: v for k, v in asdict(p).items() if k not in aside} for p in self.pipelines], dict)

    def _words(self) -> list[str]:
        own = (*self.faults, *self.alarms)
        return [self.public()["state"], *own, *(word for p in self.pipelines for word in (*p.faults, *p.alarms))]

    def __str__(self) -> str:
        return "\n".join([repr(self._figures()), *self._words()])

    def _repr_html_(self) -> str:
        return self._figures()._repr_html_() + "".join(f"<p>{html.escape(word)}</p>" for word in self._words())


@dataclass(frozen=True, slots=True)
class Undelivered:
    """`messages` that a pipeline's queue gave up because whoever took them died each time; `keys` of the first few."""

    pipeline: str
    messages: int
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about one thing. `facts` for programs, `lines` the same in words, `next` commands to try."""

    what: str
    kind: str  # code, load, row, object
    facts: Mapping[str, Any]
    lines: Sequence[str] = ()
    next: Sequence[str] = ()

    def __str__(self) -> str:
        return "\n".join(self.lines)
