"""Reading as staging does it, for the tests of formats: rows with their record numbers, misfits, raw text."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb

from headrace.formats.dialect import Dialect
from headrace.formats.open import Item, open_input
from headrace.formats.rows import BadItem, Finish, Misfit, Rows
from headrace.model.contract import Column, Contract, Type
from headrace.model.fields import cell_name


def contract(*columns: str | Column, **options: Any) -> Contract:
    """A contract whose columns are text, unless given whole."""
    return Contract("p", tuple(Column(c, Type("str")) if isinstance(c, str) else c for c in columns), **options)


@dataclass
class Read:
    """All groups of one batch. `cells` holds a row's cells by (item, member, record)."""

    headers: list[tuple[str, ...]] = field(default_factory=list)
    cells: dict[tuple[int, str | None, int], tuple[str | None, ...]] = field(default_factory=dict)
    misfits: list[Misfit] = field(default_factory=list)
    dialects: dict[int, Dialect] = field(default_factory=dict)
    groups: list[Rows] = field(default_factory=list)

    @property
    def rows(self) -> list[tuple[str | None, ...]]:
        return [self.cells[place] for place in sorted(self.cells, key=lambda p: (p[0], p[1] or "", p[2]))]

    @property
    def reasons(self) -> list[tuple[int, str]]:
        return [(m.record, m.reason) for m in self.misfits]

    def raw(self, item: int, record: int, member: str | None = None) -> tuple[int, str] | None:
        for group in self.groups:
            if item in group.dialects:
                found = group.raw({(item, member): [record]})
                if (item, member, record) in found:
                    return found[item, member, record]
        return None


database = duckdb.connect()  # starting one takes longer than most tests; each reader gets a cursor of its own


class Reader:
    def __init__(self, folder: Path, threads: int = 2) -> None:
        self._folder, self._batches = folder, 0
        self.db = database.cursor()
        self.db.execute(f"set threads = {threads}")

    def read(
        self,
        contract: Contract | None,
        *files: tuple[str, bytes],
        pinned: Mapping[int, Dialect] | None = None,
        tell_rows: bool = True,
    ) -> Read:
        """Read files given as (key, bytes) in one batch, and again with `again` pinned where a group asks for it."""
        self._batches += 1
        folder = self._folder / f"batch{self._batches}"
        scratch = folder / "scratch"
        scratch.mkdir(parents=True)
        items = []
        for index, (key, data) in enumerate(files):
            (folder / f"{index}").write_bytes(data)
            items.append(Item(index, key, folder / f"{index}"))
        pins = dict(pinned or {})
        while True:
            try:
                return self._stage(contract, items, scratch, pins, tell_rows)
            except BadItem as exc:
                if exc.again is None:
                    raise
                pins[exc.index] = exc.again

    def _stage(
        self,
        contract: Contract | None,
        items: Sequence[Item],
        scratch: Path,
        pins: Mapping[int, Dialect],
        tell_rows: bool,
    ) -> Read:
        read = Read()
        for group in open_input(self.db, contract, items, scratch, pins):
            read.groups.append(group)
            read.headers.append(group.headers)
            self.db.execute(f"create or replace temp table staged as select * from {group.relation}")
            names = ", ".join(map(cell_name, range(len(group.headers)))) or "null"
            place = "_item, _member, _record" if group.numbered else "rowid"
            rows = self.db.execute(f"select {place}, {names} from staged order by rowid").fetchall()
            finish = group.finish(len(rows) if tell_rows else None)
            read.misfits += finish.misfits
            read.dialects.update(group.dialects)
            for row in rows:
                if group.numbered:
                    read.cells[row[0], row[1], row[2]] = row[3:]
                else:
                    read.cells[group.item, group.member, number(row[0], finish)] = row[1:]
        return read


def number(rowid: int, finish: Finish) -> int:
    """The record number of a row of an un-numbered group, as staging computes it."""
    return rowid + 1 + sum(1 for before in finish.skipped_before if before <= rowid)


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def workbook(
    rows: Sequence[Sequence[Any]], sheets: Sequence[str] = ("Sheet1",), extra: Mapping[str, bytes] = {}
) -> bytes:
    """A minimal .xlsx whose sheets all hold `rows`: text, numbers, booleans, and dates as ("date", serial)."""
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    body = "".join(f"<row r='{n}'>{_cells(n, row)}</row>" for n, row in enumerate(rows, 1) if row)
    listed = "".join(f"<sheet name='{s}' sheetId='{i}' r:id='r{i}'/>" for i, s in enumerate(sheets, 1))
    related = "".join(
        f"<Relationship Id='r{i}' Type='{office}/worksheet' Target='worksheets/s{i}.xml'/>"
        for i in range(1, len(sheets) + 1)
    )
    styled = f"<Relationship Id='st' Type='{office}/styles' Target='styles.xml'/>"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    overrides = "".join(
        f"<Override PartName='/xl/worksheets/s{i}.xml' ContentType='{kinds}.worksheet+xml'/>"
        for i in range(1, len(sheets) + 1)
    )
    parts = {
        "[Content_Types].xml": f"<Types xmlns='{package}/content-types'>"
        "<Default Extension='rels' ContentType='application/vnd.openxmlformats-package.relationships+xml'/>"
        f"<Override PartName='/xl/workbook.xml' ContentType='{kinds}.sheet.main+xml'/>"
        f"<Override PartName='/xl/styles.xml' ContentType='{kinds}.styles+xml'/>{overrides}</Types>",
        "_rels/.rels": f"<Relationships xmlns='{package}/relationships'>"
        f"<Relationship Id='r1' Type='{office}/officeDocument' Target='xl/workbook.xml'/></Relationships>",
        "xl/workbook.xml": f"<workbook {main} xmlns:r='{office}'><sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f"<Relationships xmlns='{package}/relationships'>{related}{styled}"
        "</Relationships>",
        "xl/styles.xml": f"<styleSheet {main}><cellXfs count='3'><xf numFmtId='0'/><xf numFmtId='14'/>"
        "<xf numFmtId='22'/></cellXfs></styleSheet>",
        **{
            f"xl/worksheets/s{i}.xml": f"<worksheet {main}><sheetData>{body}</sheetData></worksheet>"
            for i in range(1, len(sheets) + 1)
        },
    }
    head = "<?xml version='1.0' encoding='UTF-8'?>\n"
    return zipped({**{name: (head + text).encode() for name, text in parts.items()}, **extra})


def _cells(n: int, row: Sequence[Any]) -> str:
    return "".join(_cell(f"{chr(65 + i)}{n}", value) for i, value in enumerate(row))


def _cell(at: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return f"<c r='{at}' t='b'><v>{int(value)}</v></c>"
        case int() | float():
            return f"<c r='{at}'><v>{value!r}</v></c>"
        case ("date", serial):
            return f"<c r='{at}' s='{1 if float(serial).is_integer() else 2}'><v>{serial}</v></c>"
        case _:
            text = str(value).replace("&", "&amp;").replace("<", "&lt;")
            return f"<c r='{at}' t='inlineStr'><is><t xml:space='preserve'>{text}</t></is></c>"


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(r).encode() + b"\n" for r in records)
