"""JSON documents and NDJSON into rows of text cells, with msgspec: every byte validated, every number's literal kept.

A document (an object, or an array of objects) that is invalid is dead as a whole; of NDJSON only the line is rejected.
Records become Arrow columns; a large input goes through Parquet files in scratch, so that memory stays bounded.
Called by `open` and `probe`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.formats.archive import NDJSON, Part
from headrace.formats.dialect import Dialect, pinned_for
from headrace.formats.records import Columns, NotARow, pointer, wanted_of
from headrace.formats.rows import PLACE, Blame, Finish, Group, Misfit, Place, fresh_name, literal
from headrace.formats.text import BOMS, read_as_utf8
from headrace.model.contract import Contract
from headrace.model.errors import BadObject
from headrace.model.fields import cell_name

DOCUMENT = 256 << 20
"""Bytes of one JSON document beyond which it is refused: it must be held in memory whole. NDJSON has no such limit."""

LARGE = 64 << 20
"""Bytes of input from which rows go to disk on their way."""

FLUSH = 100_000
"""Records gathered before they become Arrow columns."""

HELD = 32 << 20
"""Bytes gathered before they do."""

PILE = 1 << 20
"""Bytes of a document up to which it is decoded together with others, and of all that are."""

BLOCK = 4 << 20

LINE = 16 << 20
"""Bytes of one NDJSON line beyond which the file is refused."""

_array = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Pile:
    """Small documents that wait to be decoded together, arrays and objects apart. Decoding one by one costs twice."""

    def __init__(self) -> None:
        self.size = 0
        self._waiting: dict[bytes, list[tuple[Part, bytes]]] = {}

    def take(self, part: Part) -> bool:
        """Read a file onto the pile; False if it is not plain enough: empty, marked, or no UTF-8."""
        data = part.path.read_bytes().strip(b" \t\n\r")  # what JSON calls blank, and no more
        if data[:1] not in (b"[", b"{") or not _is_utf8(data):
            return False
        self._waiting.setdefault(data[:1], []).append((part, data))
        self.size += len(data)
        return True

    def clear(self) -> list[list[tuple[Part, bytes]]]:
        """What waited."""
        waiting, self._waiting, self.size = self._waiting, {}, 0
        return list(waiting.values())


class JsonRows(Group):
    """Rows of any number of JSON files, numbered. Headers are the contract's names and paths, then keys left over."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        contract: Contract | None,
        parts: Sequence[Part],
        pinned: Mapping[int, Dialect],
    ) -> None:
        wanted = wanted_of(contract) if contract else ()
        self._parts, self._root = parts, pointer(contract.root) if contract else ()
        self._columns = Columns(wanted, extras=contract is None or contract.extra != "ignore")
        self._misfits: list[Misfit] = []
        self._kept: list[pa.Table] = []
        self._files: list[Path] = []
        self._held = 0
        sizes = [p.path.stat().st_size for p in parts]
        self._spill = sum(sizes) > LARGE
        self._lined: dict[Place, bool] = {}
        self._blame = Blame()
        pile = Pile()
        for part, size in zip(parts, sizes, strict=True):
            pin = pinned_for(part.item, part.member, pinned)
            lined = part.suffix in NDJSON or (pin is not None and pin.kind == "ndjson")
            if lined or self._root or size > PILE or not pile.take(part):
                with self._blame.of(part.item):
                    self._read(part, lined)
            if pile.size > PILE:
                self._add_pile(pile)
        self._add_pile(pile)
        self._blame.tell()
        self._flush()
        super().__init__((), {p: Dialect(kind="ndjson" if lined else "json") for p, lined in self._lined.items()})
        self.headers, self.relation = self._relate(connection)

    def finish(self, rows: int | None = None) -> Finish:
        return Finish(self._misfits)

    def raw(self, wanted: Mapping[Place, Sequence[int]]) -> dict[tuple[int, str | None, int], tuple[int, str]]:
        found: dict[tuple[int, str | None, int], tuple[int, str]] = {}
        for part in self._parts:
            place = (part.item, part.member)
            numbers = sorted({n for n in wanted.get(place, ()) if n > 0})
            if numbers:
                for number, line, text in self._texts(part, numbers):
                    found[(*place, number)] = (line, text.decode("utf-8", errors="backslashreplace"))
        return found

    # -- reading -----------------------------------------------------------------------------------------------------

    def _add_pile(self, pile: Pile) -> None:
        """Add small documents together, or one by one where they are not alike or one of them is bad."""
        for documents in pile.clear():
            data = [text for _, text in documents]
            places = [(part.item, part.member) for part, _ in documents]
            try:
                done = self._columns.add_together(data, places)
            except (msgspec.DecodeError, RecursionError):
                done = False
            if done:
                self._lined.update(dict.fromkeys(places, False))
                self._held += sum(map(len, data))
                self._flush_if_full()
                continue
            for part, _ in documents:
                with self._blame.of(part.item):
                    self._read(part, lined=False)

    def _read(self, part: Part, lined: bool) -> None:
        place = (part.item, part.member)
        path = _utf8(part)
        if not lined and path.stat().st_size > DOCUMENT and not _first_line_stands(path):
            found = f"one document of {path.stat().st_size:,} bytes"
            raise BadObject("HR411", part.which, found, f"at most {DOCUMENT:,}: write it as NDJSON, a record per line")
        lined = lined or path.stat().st_size > DOCUMENT
        if not lined:
            data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
            try:
                self._document(part, data)
            except msgspec.DecodeError as exc:
                if not _first_line_stands(path):
                    raise _invalid(part, exc, data) from exc
                lined = True  # evidence: what stands on the first line is whole
        self._lined[place] = lined
        if lined:
            self._lines(part, path)
            return
        self._held += path.stat().st_size
        self._flush_if_full()

    def _document(self, part: Part, data: bytes) -> None:
        """Add the records of a document. Raises DecodeError before anything was added, if it is invalid."""
        place = (part.item, part.member)
        try:
            if not data.isascii():
                data.decode()
            if self._root:
                data = _below(part, data, self._root)
            start = data.lstrip()[:1]
            if not start:
                return
            if start not in (b"[", b"{"):
                msgspec.json.decode(data)
                raise BadObject("HR409", part.which, "is neither an object nor an array of objects", "")
            if self._columns.add_alike(data, start == b"[", None, place, 1) >= 0:
                return
            records = _array.decode(data) if start == b"[" else [msgspec.Raw(data.strip())]
            if start == b"{":
                _object.decode(data)
        except UnicodeDecodeError as exc:
            raise BadObject(
                "HR405", part.which, f"is no UTF-8 at byte {exc.start:,}", "JSON is UTF-8: convert it"
            ) from exc
        except RecursionError as exc:
            raise BadObject("HR410", part.which, "is nested too deep", "at most about 900 levels are read") from exc
        where = _Finder(data)
        for number, record in enumerate(records, 1):
            text = bytes(record)
            try:
                self._columns.add(text, place, number)
            except NotARow as exc:
                line = where.line(number, records)
                self._misfits.append(Misfit(*place, number, line, text.decode(), str(exc)))

    def _lines(self, part: Part, path: Path) -> None:
        place = (part.item, part.member)
        for number, _, lines in _line_blocks(part, path):
            if self._block(place, number, lines) < 0:
                for n, (line, text) in enumerate(lines):
                    self._line(place, number + n, line, text)
            self._held += sum(len(text) for _, text in lines)
            self._flush_if_full()

    def _block(self, place: Place, number: int, lines: Sequence[tuple[int, bytes]]) -> int:
        """All lines at once, as an array. A line feed between them keeps a string from reaching into the next line."""
        joined = b"[" + b",\n".join(text for _, text in lines) + b"]"
        try:
            if not joined.isascii():
                joined.decode()
            return self._columns.add_alike(joined, True, len(lines), place, number)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return -1

    def _line(self, place: Place, number: int, line: int, text: bytes) -> None:
        try:
            text.decode()
            self._columns.add(text, place, number)
            return
        except NotARow as exc:
            reason = str(exc)
        except UnicodeDecodeError:
            reason = "holds bytes that are no UTF-8"
        except RecursionError:
            reason = "is nested too deep"
        except msgspec.DecodeError as exc:
            reason = f"is no valid JSON: {str(exc).removeprefix('JSON is malformed: ')}"
        shown = text.decode("utf-8", errors="backslashreplace")
        self._misfits.append(Misfit(*place, number, line, shown, reason))

    # -- keeping -----------------------------------------------------------------------------------------------------

    def _flush_if_full(self) -> None:
        if len(self._columns) >= FLUSH or self._held >= HELD:
            self._flush()

    def _flush(self) -> None:
        self._held = 0
        if not len(self._columns):
            return
        table = self._columns.take()
        if not self._spill:
            self._kept.append(table)
            return
        path = self._parts[0].work.with_suffix(f".{len(self._files)}.rows")
        pq.write_table(table, path, compression="lz4")
        self._files.append(path)

    def _relate(self, connection: duckdb.DuckDBPyConnection) -> tuple[tuple[str, ...], str]:
        if self._files:
            files = ", ".join(literal(str(f)) for f in self._files)
            relation = f"read_parquet([{files}], union_by_name=true)"
        else:
            table = pa.concat_tables(self._kept or [self._columns.take()], promote_options="default")
            relation = fresh_name("json")
            connection.register(relation, table)
        headers = tuple(self._columns.headers)
        listed = ", ".join([*map(cell_name, range(len(headers))), *PLACE])
        return headers, f"(select {listed} from {relation})"

    # -- raw text ----------------------------------------------------------------------------------------------------

    def _texts(self, part: Part, numbers: Sequence[int]) -> Iterator[tuple[int, int, bytes]]:
        """(record, line, text) of the wanted records, ascending."""
        path = _utf8(part)
        if self._lined[part.item, part.member]:
            todo = 0
            for number, _, lines in _line_blocks(part, path):
                while todo < len(numbers) and numbers[todo] < number + len(lines):
                    line, text = lines[numbers[todo] - number]
                    yield numbers[todo], line, text
                    todo += 1
            return
        whole = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        data = _below(part, whole, self._root) if self._root else whole
        before = whole[: max(whole.find(data), 0)].count(b"\n")
        records = _array.decode(data) if data.lstrip()[:1] == b"[" else [msgspec.Raw(data.strip())]
        where = _Finder(data)
        for number in numbers:
            if number <= len(records):
                yield number, before + where.line(number, records), bytes(records[number - 1])


class _Finder:
    """Lines of a document's records, asked for in ascending order."""

    def __init__(self, data: bytes) -> None:
        self._data, self._number, self._at, self._line = data, 0, 0, 1
        self._start = self._counted = 0

    def line(self, number: int, records: Sequence[msgspec.Raw]) -> int:
        while self._number < number:
            text = bytes(records[self._number])
            self._start = self._data.find(text, self._at)  # only blanks and commas lie between two records
            self._at, self._number = self._start + len(text), self._number + 1
        self._line += self._data.count(b"\n", self._counted, self._start)
        self._counted = self._start
        return self._line


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _utf8(part: Part) -> Path:
    with open(part.path, "rb") as file:
        head = file.read(4)
    if any(head.startswith(mark) for mark, name in BOMS if name != "utf-8"):
        return read_as_utf8(part.path, part.which, part.work, None)[0]
    return part.path


def _below(part: Part, data: bytes, steps: Sequence[str]) -> bytes:
    """The bytes of the value that the contract's root points at."""
    try:
        for step in steps:
            data = bytes(_object.decode(data)[step])
    except (KeyError, msgspec.ValidationError) as exc:
        text = f"has nothing at its root /{'/'.join(steps)}"
        raise BadObject("HR412", part.which, text, "compare it with the Record's root=") from exc
    return data


def _first_line_stands(path: Path) -> bool:
    """Whether the first line that is not blank is a JSON object by itself, and more follows."""
    with open(path, "rb") as file:
        first = b""
        while not first.strip():
            first = file.readline(LINE)
            if not first:
                return False
        if not file.read(1):
            return False
    try:
        _object.decode(first.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _line_blocks(part: Part, path: Path) -> Iterator[tuple[int, int, list[tuple[int, bytes]]]]:
    """(number of the first record, its line, [(line, text)]) for blocks of lines; blank lines are no records."""
    number = line = 1
    rest = b""
    with open(path, "rb", buffering=0) as file:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        while True:
            fresh = file.read(BLOCK)
            data = rest + fresh
            cut = data.rfind(b"\n") + 1 if fresh else len(data)
            rest = data[cut:]
            if len(rest) > LINE:
                raise BadObject(
                    "HR406", part.which, f"line {line:,} is larger than {LINE:,} bytes", "write a record per line"
                )
            if cut:
                split = data[:cut].split(b"\n")
                if not split[-1]:
                    split.pop()
                lines = [(line + i, text.strip()) for i, text in enumerate(split) if text and not text.isspace()]
                if lines:
                    yield number, line, lines
                number, line = number + len(lines), line + len(split)
            if not fresh:
                return


def _invalid(part: Part, error: msgspec.DecodeError, data: bytes) -> BadObject:
    text = f"is no valid JSON: {str(error).removeprefix('JSON is malformed: ')}"
    if any(word in data for word in (b"NaN", b"Infinity")):
        return BadObject("HR409", part.which, text, "NaN and Infinity are no JSON: write null, or text")
    return BadObject("HR409", part.which, text, "write it again, whole")
