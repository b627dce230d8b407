"""The decision how a text file is to be read, as a value that the ledger pins so that a replay reads alike.

RFC 4180 with a comma first; anything else needs evidence, which is a header that binds the contract's required
columns. Called by `csv` and `probe`; `decide` sees only the decoded beginning of a file.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import Any

from headrace.model.contract import Column, Contract
from headrace.model.record import squash

DELIMITERS = (",", ";", "\t", "|", ":", "^", "~", "\x1f", "\x01")
"""Candidates in order of trust. A space is never one: too many sentences look like rows."""

HEAD = 1 << 18
"""Characters of a file that may hold its preamble and header; 10,000 columns of 25 letters fit."""

PREAMBLE = 50
"""Records before the header that are tried."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one object is read. `skip` counts the records before the header; `kind` is the format family.

    `encoding` is a Python codec name; `newline` is what ends lines: "lf", "crlf", "cr" or "mixed" (then each of the
    three does, outside quotes). `sheet` is the worksheet read. `careful`: records with misplaced quotes are taken out
    before DuckDB sees them. Of a zip only `members` says anything, and `passed_over`: members of no known format.
    """

    kind: str = "csv"
    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    encoding: str = "utf-8"
    header: bool = True
    skip: int = 0
    newline: str = "lf"
    sheet: str | None = None
    careful: bool = False
    members: Mapping[str, Dialect] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, which are thereby part of what ledgers hold: they never change."""
        own = {n: value for n, default in _DEFAULTS.items() if (value := getattr(self, n)) != default}
        members = {"members": {name: d.to_dict() for name, d in self.members.items()}} if self.members else {}
        passed_over = {"passed_over": list(self.passed_over)} if self.passed_over else {}
        return {"kind": self.kind, **own, **members, **passed_over}

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> Dialect:
        """The value that `to_dict` wrote. Keys that this version does not know are left aside."""
        known = {f.name for f in fields(Dialect)}
        members = {name: Dialect.from_dict(d) for name, d in (raw.get("members") or {}).items()}
        whole = {"members": members, "passed_over": tuple(raw.get("passed_over") or ())}
        return Dialect(**{**{k: v for k, v in raw.items() if k in known}, **whole})


_DEFAULTS = {f.name: f.default for f in fields(Dialect) if f.name not in ("kind", "members", "passed_over")}


def pinned_for(item: int, member: str | None, pinned: Mapping[int, Dialect]) -> Dialect | None:
    """The earlier decision for a file, or for one member of a zip, if there is one."""
    dialect = pinned.get(item)
    return dialect.members.get(member) if dialect is not None and member is not None else dialect


def decide(head: str, name: str, contract: Contract | None) -> Dialect:
    """The dialect of a file that begins with `head`, but for encoding and line ends; `name` gives the suffix.

    Declared parts of `contract.csv` are taken as they are. The rest departs from RFC 4180 with a comma only where
    another reading binds every required column and this one does not, or, without a contract, where this one finds
    a single column and another a steady table.
    """
    spec = contract.csv if contract else None
    quote = '"' if spec is None or spec.quote is None else spec.quote
    escape = quote if spec is None or spec.escape is None else spec.escape
    first = Dialect(quote=quote, escape=escape, delimiter=_by_suffix(name))
    if spec is not None:
        if spec.delimiter is not None:
            first = replace(first, delimiter=spec.delimiter)
        if spec.header is not None:
            first = replace(first, header=spec.header)
        if spec.skip is not None:
            first = replace(first, skip=spec.skip)
    delimiters = [first.delimiter] if spec and spec.delimiter is not None else _candidates(first.delimiter)
    skips = [first.skip] if spec and (spec.skip is not None or spec.header is False) else list(range(PREAMBLE))
    if contract is None:
        return _steadiest(head, first, delimiters)
    if not first.header:
        return _widest(head, first, delimiters, contract)
    return _best_bound(head, first, delimiters, skips, contract)


def records(head: str, dialect: Dialect) -> Iterator[list[str]]:
    """The records at the beginning of a text, blank lines left out; the last one may be cut off."""
    quote, delimiter = dialect.quote or None, dialect.delimiter
    if len(delimiter) > 1:
        head, delimiter = head.replace(delimiter, "\x1e"), "\x1e"  # the reader takes one character
    reader = csv.reader(
        io.StringIO(head, newline=""),
        delimiter=delimiter,
        quotechar=quote,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        doublequote=dialect.escape in ("", dialect.quote),
        escapechar=None if dialect.escape in ("", dialect.quote) else dialect.escape,
    )
    csv.field_size_limit(HEAD * 4)
    try:
        yield from (record for record in reader if record)
    except csv.Error:
        return  # a stray carriage return: what came before it is evidence enough


def read_columns(contract: Contract) -> list[Column]:
    """Columns that come from the input rather than from an expression."""
    return [c for c in contract.columns if c.sql is None]


def names_of(column: Column) -> tuple[str, ...]:
    """What a header may be called to become this column, best first."""
    return column.headers or (column.name,)


def required(contract: Contract) -> list[set[str]]:
    """For each column whose header must be present: the squashed names that would do."""
    return [
        {squash(n) for n in names_of(c)}
        for c in read_columns(contract)
        if not c.optional and c.default is None and c.default_sql is None
    ]


def bound(header: Iterable[str], wanted: Sequence[set[str]]) -> int:
    """How many of the wanted columns a header offers."""
    offered = {squash(h) for h in header}
    return sum(1 for names in wanted if names & offered)


def _by_suffix(name: str) -> str:
    lower = name.lower()
    return "\t" if lower.endswith((".tsv", ".tab")) else "|" if lower.endswith(".psv") else ","


def _candidates(first: str) -> list[str]:
    return [first, *(d for d in DELIMITERS if d != first)]


def _best_bound(
    head: str, first: Dialect, delimiters: Sequence[str], skips: Sequence[int], contract: Contract
) -> Dialect:
    wanted = required(contract) or [{squash(n) for n in names_of(c)} for c in read_columns(contract)]
    best, most = first, -1
    for delimiter in delimiters:
        trial = replace(first, delimiter=delimiter)
        for n, record in enumerate(records(head, trial)):
            if n > skips[-1]:
                break
            if n not in skips:
                continue
            hits = bound(record, wanted)
            if hits > most:  # strictly: earlier candidates are trusted more
                best, most = replace(trial, skip=n), hits
            if hits == len(wanted):
                return best
    # Nothing binds all: the nearest reading makes the clearer error, and its load fails either way.
    return best if most > 0 else first


def _widest(head: str, first: Dialect, delimiters: Sequence[str], contract: Contract) -> Dialect:
    """Without a header the evidence is the number of cells: as many as the contract reads."""
    wanted = len(read_columns(contract))
    for delimiter in delimiters:
        trial = replace(first, delimiter=delimiter)
        widths = [len(r) for r in records(head, trial)][first.skip : first.skip + 20]
        if widths and Counter(widths).most_common(1)[0][0] == wanted:
            return trial
    return first


def _steadiest(head: str, first: Dialect, delimiters: Sequence[str]) -> Dialect:
    """Without a contract: the candidate under which most records have one width above 1, from the earliest on."""
    best, best_rank = first, (0.0, 0)
    for delimiter in delimiters:
        trial = replace(first, delimiter=delimiter)
        found = list(islice(records(head, trial), 20 * PREAMBLE))
        if len(head) >= HEAD and len(found) > 2:
            found.pop()  # cut off
        width, times = Counter(map(len, found)).most_common(1)[0] if found else (0, 0)
        if width < 2:
            continue
        start = next(i for i, r in enumerate(found) if len(r) == width)
        rank = (round(times / (len(found) - start), 2), -start)
        if start < PREAMBLE and rank > best_rank:
            best, best_rank = replace(trial, skip=start), rank
    return best
