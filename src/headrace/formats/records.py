"""From JSON bytes to columns of literals, record by record. Not for choosing files or naming errors: see `json`.

Flat records of one set of keys take a fast way through generated structs; it is left for the careful one as soon as
counting cannot prove that nothing was missed: a doubled key, an unknown one, a nested object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa

from headrace.formats.cells import column
from headrace.formats.dialect import names_of, read_columns
from headrace.model.contract import Contract
from headrace.model.fields import cell_name
from headrace.model.record import squash

ABSENT = msgspec.Raw(b"")
"""Stands for a key that a record lacks: no JSON value has no bytes."""
Raw = msgspec.Raw

_object = msgspec.json.Decoder(dict[str, Raw])
_array = msgspec.json.Decoder(list[Raw])


class NotARow(Exception):
    """This record has not the shape of a row; the text says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One column to read: its header in the relation, the keys that may hold it, or a JSON Pointer's steps.

    `exact`: the keys were written by hand, so that of several that fit the one written so is meant.
    """

    header: str
    keys: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    exact: bool = False


def wanted_of(contract: Contract) -> tuple[Wanted, ...]:
    """What the contract reads: a column with a path goes by the path, others by their names."""
    found: dict[str, Wanted] = {}
    for c in read_columns(contract):
        if c.path is not None:
            found[c.path] = Wanted(c.path, steps=pointer(c.path))
        else:
            found[names_of(c)[0]] = Wanted(names_of(c)[0], keys=names_of(c), exact=bool(c.headers))
    return tuple(found.values())


def pointer(path: str) -> tuple[str, ...]:
    """The steps of a JSON Pointer (RFC 6901)."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:])


@dataclass(slots=True)
class Columns:
    """Rows gathered so far: literals by header, and where each row came from. `extras`: keep unwanted keys too.

    `headers` holds all that were ever met, each with its index.
    """

    wanted: tuple[Wanted, ...]
    extras: bool
    cells: dict[str, list[bytes | None]] = field(default_factory=dict)
    items: list[int] = field(default_factory=list)
    members: list[str | None] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    headers: dict[str, int] = field(default_factory=dict)
    _shapes: dict[tuple[str, ...], _Shape | None] = field(default_factory=dict)
    _last: _Shape | None = None

    def __post_init__(self) -> None:
        self.headers = {w.header: index for index, w in enumerate(self.wanted)}

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self) -> pa.Table:
        """What was gathered, as text columns called `cell_name(index)`, with _item, _member and _record; the gathering
        starts again."""
        n = len(self)
        self._pad(n)
        for header in self.cells:
            self.headers.setdefault(header, len(self.headers))
        arrays = {cell_name(self.headers[header]): column(values) for header, values in self.cells.items()}
        for index in range(len(self.wanted)):
            arrays.setdefault(cell_name(index), pa.nulls(n, pa.string()))
        places = {
            "_item": pa.array(self.items, pa.int32()),
            "_member": pa.array(self.members, pa.string()),
            "_record": pa.array(self.numbers, pa.int64()),
        }
        self.cells, self.items, self.members, self.numbers = {}, [], [], []
        return pa.table({**arrays, **places})

    def add_alike(
        self, data: bytes, many: bool, expected: int | None, place: tuple[int, str | None], first: int
    ) -> int:
        """Add all records of `data` (an array, or one object), the fast way; -1 if they are not plain enough for it.

        Raises msgspec.DecodeError for invalid JSON and RecursionError for JSON that is nested too deep.
        """

        def decode(shape: _Shape) -> list[Any]:
            return shape.many.decode(data) if many else [shape.one.decode(data)]

        n = self._add_plain(data, data if many else b"[%b]" % data, decode, expected)
        if n >= 0:
            self._place(place, range(first, first + n))
        return n

    def add_together(self, documents: Sequence[bytes], places: Sequence[tuple[int, str | None]]) -> bool:
        """Add whole documents, all arrays or all objects, in one go; False if they are not plain enough for it.

        No document can mend another: the line feed between them ends any string, and each has exactly one bracket of
        its kind at either end. Raises as `add_alike` does, without saying which document it was.
        """
        many = documents[0][:1] == b"["
        opening, closing = (b"[", b"]") if many else (b"{", b"}")
        if not all(d[:1] == opening and d[-1:] == closing for d in documents):
            return False
        data = b"[" + b",\n".join(documents) + b"]"
        brackets = len(documents) + many
        if data.count(opening) != brackets or data.count(closing) != brackets:
            return False
        lengths = [1] * len(documents)

        def decode(shape: _Shape) -> list[Any]:
            if not many:
                return shape.many.decode(data)
            rows = shape.nested.decode(data)
            lengths[:] = map(len, rows)
            return list(chain.from_iterable(rows))

        sample = max(documents[:8], key=len)  # an empty array tells nothing of the others
        if self._add_plain(data, sample if many else b"[%b]" % sample, decode, None if many else len(documents)) < 0:
            return False
        for place, n in zip(places, lengths, strict=True):
            self._place(place, range(1, n + 1))
        return True

    def add(self, record: bytes, place: tuple[int, str | None], number: int) -> None:
        """Add one record the careful way. Raises NotARow; nothing was added then."""
        values = _members(record)
        bound = self._bind(values)
        n = len(self)
        for w in self.wanted:
            value = _at(values, w.steps) if w.steps else values.get(bound.get(w.header, ""), None)
            self._append(w.header, None if value is None else bytes(value), n)
        if self.extras:
            for key in self._unwanted(values, bound):
                self._append(key, bytes(values[key]), n)
        self._place(place, [number])

    # -- the fast way ----------------------------------------------------------------------------------------------

    def _add_plain(
        self, data: bytes, sample: bytes, decode: Callable[[_Shape], list[Any]], expected: int | None
    ) -> int:
        """Add the cells of what `decode` finds in `data`; -1 where counting cannot prove that nothing was missed."""
        if b" :" in data or b"\n:" in data or b"\t:" in data or b"\r:" in data:
            return -1  # keys could not be counted
        for shape in (self._last, None):
            shape = shape or self._shape_of(sample)
            if shape is None:
                return -1
            try:
                rows = decode(shape)
            except msgspec.ValidationError:
                continue
            n = len(rows)
            cells = [(header, list(map(bytes, map(get, rows)))) for header, get in shape.getters]
            absent = sum(values.count(b"") for _, values in cells)
            keys = data.count(b'":')
            if keys == n * len(cells) - absent and data.count(b"{") == n and expected in (None, n):
                self._last = shape
                self._extend(cells, absent > 0)
                return n
        return -1

    def _shape_of(self, sample: bytes) -> _Shape | None:
        """The shape of the first record of an array."""
        first = _array.decode(sample)[:1]
        if not first:
            return _Shape((), {})
        try:
            values = _object.decode(first[0])
            keys = tuple(values)
            if keys not in self._shapes:
                self._shapes[keys] = self._make(values)
            return self._shapes[keys]
        except (msgspec.ValidationError, NotARow):
            return None

    def _make(self, values: Mapping[str, Raw]) -> _Shape | None:
        bound = self._bind(values)
        headers: dict[str, str] = {}
        for w in self.wanted:
            key = w.steps[0] if len(w.steps) == 1 else bound.get(w.header)
            if len(w.steps) > 1:
                return None
            if key in values:
                headers[w.header] = str(key)
        if self.extras:
            headers.update({key: key for key in self._unwanted(values, bound)})
        return _Shape(tuple(values), headers)

    def _extend(self, fresh: Sequence[tuple[str | None, list[bytes]]], absent: bool) -> None:
        n = len(self)
        for header, values in fresh:
            if header is None:
                continue
            cells = self.cells.setdefault(header, [])
            cells.extend(repeat(None, n - len(cells)))
            cells.extend((v or None for v in values) if absent else values)

    # -- shared ----------------------------------------------------------------------------------------------------

    def _bind(self, values: Mapping[str, Raw]) -> dict[str, str]:
        """Header → key, matched by letters and digits. The first name found wins; two keys for it are a misfit."""
        folded: dict[str, list[str]] = {}
        for key in values:
            folded.setdefault(squash(key), []).append(key)
        bound: dict[str, str] = {}
        for w in self.wanted:
            for name in w.keys:
                fits = folded.get(squash(name), [])
                if len(fits) > 1 and w.exact and name in fits:
                    fits = [name]
                if len(fits) > 1:
                    raise NotARow(f"keys {' and '.join(map(repr, fits))} both fit column {w.header!r}")
                if fits:
                    bound[w.header] = fits[0]
                    break
        return bound

    def _unwanted(self, values: Mapping[str, Raw], bound: Mapping[str, str]) -> list[str]:
        used = {*bound.values(), *(w.steps[0] for w in self.wanted if w.steps)}
        return [key for key in values if key not in used]

    def _append(self, header: str, value: bytes | None, n: int) -> None:
        cells = self.cells.setdefault(header, [])
        cells.extend(repeat(None, n - len(cells)))
        cells.append(value)

    def _pad(self, n: int) -> None:
        for cells in self.cells.values():
            cells.extend(repeat(None, n - len(cells)))

    def _place(self, place: tuple[int, str | None], numbers: Iterable[int]) -> None:
        before = len(self.numbers)
        self.numbers.extend(numbers)
        n = len(self.numbers) - before
        self.items.extend(repeat(place[0], n))
        self.members.extend(repeat(place[1], n))


class _Shape:
    """Decoders for records of one set of keys."""

    def __init__(self, keys: tuple[str, ...], headers: Mapping[str, str]) -> None:
        names = {key: f"f{i}" for i, key in enumerate(keys)}
        row = msgspec.defstruct(
            "Row", [(n, Raw, ABSENT) for n in names.values()], rename={n: k for k, n in names.items()}, gc=False
        )
        self.one = msgspec.json.Decoder(row)
        self.many = msgspec.json.Decoder(list[row])  # type: ignore[valid-type]
        self.nested = msgspec.json.Decoder(list[list[row]])  # type: ignore[valid-type]
        by_key = {key: header for header, key in headers.items()}
        self.getters = [(by_key.get(key), attrgetter(name)) for key, name in names.items()]
        """(header or None for a key that nobody wants, how to get its value) for every key."""


# -- one record at a time ----------------------------------------------------------------------------------------------


def _members(record: bytes) -> dict[str, Raw]:
    try:
        values = _object.decode(record)
    except msgspec.ValidationError as exc:
        raise NotARow("is no object") from exc
    if doubled := doubled_key(record):
        raise NotARow(f"key {doubled!r} stands twice in one object")
    return values


class _Doubled(Exception):
    pass


def doubled_key(document: bytes) -> str | None:
    """The first key that stands twice in one object, at any depth, of a document known to be valid."""
    if document.count(b'":') + document.count(b" :") + document.count(b"\t:") < 2 and b"\n:" not in document:
        return None
    try:
        _pairs_decoder.decode(document.decode())
    except _Doubled as exc:
        return str(exc)
    except RecursionError as exc:
        raise NotARow("is nested too deep") from exc
    return None


def _no_double(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({key for key, _ in pairs}) < len(pairs):
        seen: set[str] = set()
        raise _Doubled(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]


def _nothing(_: str) -> None:
    return None  # numbers are not looked at here: 5,000 digits would be an error to int()


_pairs_decoder = json.JSONDecoder(object_pairs_hook=_no_double, parse_int=_nothing, parse_float=_nothing)


def _at(values: Mapping[str, Raw], steps: Sequence[str]) -> Raw | None:
    """The value a pointer leads to, or None where the way ends."""
    value = values.get(steps[0])
    for step in steps[1:]:
        if value is None:
            return None
        start = bytes(value)[:1]
        if start == b"{":
            value = _object.decode(value).get(step)
        elif start == b"[" and step.isdigit():
            inside = _array.decode(value)
            value = inside[int(step)] if int(step) < len(inside) else None
        else:
            return None
    return value
