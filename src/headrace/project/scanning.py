"""The whole content of files as evidence, gathered in the confined child: the bytes are foreign until they are loaded.

Called by `headrace init --from`, which drafts a definition from the answer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.model.errors import BadObject, UsageError
from headrace.model.fields import cell_name
from headrace.model.record import squash
from headrace.project.arriving import short_name
from headrace.project.evidence import Evidence, gather, propose_key, quote, repeated_rows

if TYPE_CHECKING:
    import duckdb

    from headrace.formats.rows import Rows

PACKED = (".gz", ".zst")
MEMORY, TIMEOUT = "2GB", 3600.0


@dataclass(frozen=True, slots=True)
class Scan:
    """What all rows of some files are like. `optional` columns are not in every file; `misfits` fit no header."""

    rows: int
    misfits: int
    columns: Sequence[Evidence]
    optional: frozenset[str]
    key: tuple[str, ...] | None
    repeated: int
    left_out: Mapping[str, str]  # headers that no column can have, each with the one it collides with, or ""


def scan_whole(files: Sequence[Path]) -> Scan:
    """Look at every row of the files, in a confined child. Raises UsageError HR4xx for a file that cannot be read."""
    from headrace.engine.sandbox import Sandbox
    from headrace.engine.settings import Settings

    with tempfile.TemporaryDirectory(prefix="headrace-init-") as folder:
        scratch = Path(folder).resolve()
        copies = [(path.name, str(scratch / f"{i}-{short_name(path)}")) for i, path in enumerate(files)]
        for path, (_, copy) in zip(files, copies, strict=True):
            shutil.copyfile(path, copy)
        payload = {"files": copies, "scratch": str(scratch)}
        settings = Settings(memory_limit=MEMORY)
        with Sandbox(settings, writable=[scratch], preload=["headrace.formats.open"]) as child:
            try:
                found = child.call(f"{__name__}:handle", payload, TIMEOUT)
            except BadObject as exc:  # nothing is being loaded: the wrong file was named
                raise UsageError(exc.code, exc.which, exc.found, exc.next) from exc
    return Scan(
        found["rows"],
        found["misfits"],
        [Evidence(**c) for c in found["columns"]],
        frozenset(found["optional"]),
        tuple(found["key"]) if found["key"] else None,
        found["repeated"],
        found["left_out"],
    )


def files_of(given: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """The files given, and those of a known format in given folders, that hold anything; then those of no known one.

    Raises UsageError HR121 for one that is not there, HR139 where nothing is left.
    """
    found: list[Path] = []
    foreign: list[Path] = []
    for text in given:
        path = Path(text)
        if os.path.isdir(path):
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            found += [p for p in inside if _readable(p.name)]
            foreign += [p for p in inside if not _readable(p.name)]
        elif os.path.isfile(path):
            found.append(path)
        else:
            raise UsageError("HR121", text, "there is no such file", "check the path")
    found = [path for path in found if path.stat().st_size]  # an empty file is no evidence
    if not found:
        raise UsageError(
            "HR139", ", ".join(given), "no file with content was found", "give files with a header and rows"
        )
    return found, foreign


def _readable(name: str) -> bool:
    from headrace.formats.archive import KNOWN

    lower = name.lower()
    for packed in PACKED:
        lower = lower.removesuffix(packed)
    return lower.endswith((*KNOWN, ".zip"))


def without_twins(headers: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Headers that can each have a column, and the others: like an earlier one by letters and digits, or with none."""
    kept: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for header in headers:
        folded = squash(header)
        if not folded or folded in kept:
            left_out[header] = kept.get(folded, "")
        else:
            kept[folded] = header
    return list(kept.values()), left_out


def name_of(files: Sequence[Path]) -> str:
    """The one file's name without suffixes, or that of the files' common folder."""
    if len(files) == 1:
        return files[0].name.split(".")[0]
    return Path(os.path.commonpath([f.absolute().parent for f in files])).name


def suffixes_of(files: Sequence[Path]) -> list[str]:
    """Their suffixes, without those of packing."""
    names = (f.name.lower() for f in files)
    plain = (next((n.removesuffix(p) for p in PACKED if n.endswith(p)), n) for n in names)
    return sorted({Path(n).suffix for n in plain})


def handle(payload: dict[str, Any]) -> dict[str, Any]:
    """In the child: {"rows", "misfits", "columns": [Evidence as dict], "optional", "key", "repeated", "left_out"}."""
    from headrace.engine.sql import engine_connection
    from headrace.formats.open import open_input
    from headrace.formats.rows import Item

    scratch = Path(payload["scratch"])
    items = [Item(i, name, Path(path)) for i, (name, path) in enumerate(payload["files"])]
    with engine_connection(MEMORY, 2, [scratch], scratch) as db:
        groups = open_input(db, None, items, scratch, {})
        misfits = _gather_rows(db, groups)
        headers, left_out = without_twins(list(dict.fromkeys(h for rows in groups for h in rows.headers)))
        if not headers:
            return {"rows": 0, "misfits": misfits, "columns": [], "optional": [], "key": None, "repeated": 0,
                    "left_out": left_out}  # fmt: skip
        columns = [gather(db, "scanned", h) for h in headers]
        key = propose_key(db, "scanned", columns)
        return {
            "rows": columns[0].rows,
            "misfits": misfits,
            "columns": [asdict(c) for c in columns],
            "left_out": left_out,
            "optional": [h for h in headers if any(h not in rows.headers for rows in groups)],
            "key": list(key) if key else None,
            "repeated": 0 if key else repeated_rows(db, "scanned"),
        }


def _gather_rows(db: duckdb.DuckDBPyConnection, groups: Sequence[Rows]) -> int:
    """All rows as text in one table `scanned`, without columns for twins; the number of records that fit no header."""
    parts, misfits = [], 0
    for n, rows in enumerate(groups):
        kept, _ = without_twins(rows.headers)
        names = ", ".join(f"{cell_name(i)} AS {quote(h)}" for i, h in enumerate(rows.headers) if h in kept)
        if names:
            db.execute(f"CREATE TEMP TABLE scanned{n} AS SELECT {names} FROM {rows.relation}")
            parts.append(f"SELECT * FROM scanned{n}")
        misfits += len(rows.finish().misfits)
    if parts:
        db.execute(f"CREATE TEMP VIEW scanned AS {' UNION ALL BY NAME '.join(parts)}")
    return misfits
