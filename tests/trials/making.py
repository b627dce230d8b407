"""Files that the trials make: a workbook without a library, so that its parts can be made bad; zip archives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def workbook(rows: Sequence[Sequence[object]], head: str = "<?xml version='1.0' encoding='UTF-8'?>") -> bytes:
    """An .xlsx with one sheet of text and whole numbers; `head` opens the sheet's XML."""
    body = "".join(f"<row r='{n}'>{_cells(n, row)}</row>" for n, row in enumerate(rows, 1))
    plain = "<?xml version='1.0' encoding='UTF-8'?>"
    parts = {
        "[Content_Types].xml": f"{plain}<Types xmlns='{PACKAGE}/content-types'>"
        "<Default Extension='rels' ContentType='application/vnd.openxmlformats-package.relationships+xml'/>"
        f"<Override PartName='/xl/workbook.xml' ContentType='{KIND}.sheet.main+xml'/>"
        f"<Override PartName='/xl/sheet.xml' ContentType='{KIND}.worksheet+xml'/></Types>",
        "_rels/.rels": f"{plain}<Relationships xmlns='{PACKAGE}/relationships'>"
        f"<Relationship Id='r1' Type='{OFFICE}/officeDocument' Target='xl/workbook.xml'/></Relationships>",
        "xl/workbook.xml": f"{plain}<workbook xmlns='{MAIN}' xmlns:r='{OFFICE}'>"
        "<sheets><sheet name='Sheet1' sheetId='1' r:id='r1'/></sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f"{plain}<Relationships xmlns='{PACKAGE}/relationships'>"
        f"<Relationship Id='r1' Type='{OFFICE}/worksheet' Target='sheet.xml'/></Relationships>",
        "xl/sheet.xml": f"{head}<worksheet xmlns='{MAIN}'><sheetData>{body}</sheetData></worksheet>",
    }
    return zipped({name: text.encode() for name, text in parts.items()})


def _cells(n: int, row: Sequence[object]) -> str:
    return "".join(_cell(f"{_letters(i)}{n}", value) for i, value in enumerate(row))


def _letters(column: int) -> str:
    return (chr(64 + column // 26) if column >= 26 else "") + chr(65 + column % 26)


def _cell(at: str, value: object) -> str:
    if isinstance(value, int):
        return f"<c r='{at}'><v>{value}</v></c>"
    return f"<c r='{at}' t='inlineStr'><is><t xml:space='preserve'>{escape(str(value))}</t></is></c>"
