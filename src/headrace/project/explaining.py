"""`explain`: what is known about a code, a load, a row or an object. It finds; the command line words it.

A row is named `LOAD:RECORD` (`lv.42:17`), `LOAD:MEMBER:RECORD` where its object is an archive, `row:TABLE/LOAD/RECORD`,
or by a key and record, `raw/prod/lv/a.csv:17`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from headrace.engine.query import run_sql
from headrace.model.codes import explain_code, is_code
from headrace.model.errors import UsageError
from headrace.model.hints import asking, typed
from headrace.model.loads import Load, source_file
from headrace.model.words import count, some
from headrace.project.kept import Kept, kept
from headrace.project.naming import member_of, possible, readings, row_name
from headrace.project.peek import peek
from headrace.project.results import Explanation
from headrace.project.tables import relation_over, relations
from headrace.project.values import rows_of

if TYPE_CHECKING:
    from headrace.engine.home import Home

_ROW = re.compile(r"(?:row:)?(?:[\w]+/)?(?P<load>[a-z][a-z0-9_]*\.\d+)[:/](?:(?P<member>.+)[:/])?(?P<record>\d+)")
_LOAD = re.compile(r"(?:load:)?(?P<load>[a-z][a-z0-9_]*\.\d+)")
_FILE_ROW = re.compile(r"(?P<file>.+):(?P<record>\d+)")


def explain(homes: Mapping[str, Home], what: str) -> Explanation:
    """Dispatch on what is given. Raises UsageError where it is not known: HR140 code, HR130 load, HR132 other."""
    if is_code(what):
        text = explain_code(what)
        return Explanation(what.upper(), "code", {"code": what.upper(), "text": text}, [f"{what.upper()}  {text}"])
    if match := _ROW.fullmatch(what):
        home, load = _load(homes, match["load"])
        return _row(home, load, match["member"], int(match["record"]))
    if match := _LOAD.fullmatch(what):
        return _explain_load(*_load(homes, match["load"]))
    for home in homes.values():
        key = _known_key(home, what.removeprefix("file:"))
        if key is not None:
            return _object(home, key)
        if match := _FILE_ROW.fullmatch(what):
            for text, member in readings(match["file"]):
                if key := _known_key(home, text):
                    return _row(home, _best(home.ledger.history(key)), member or None, int(match["record"]))
    raise UsageError("HR132", what or "''", "is no code, load, row or object known here", _instead(homes, what))


def _instead(homes: Mapping[str, Home], what: str) -> str:
    """What to type for a pipeline, a table, or the bare name of a file."""
    if what in homes:
        return f"it is a pipeline: `headrace show {what}`, or `headrace history {what}`"
    for home in homes.values():
        if what in (sink.table for sink in home.pipeline.sinks):
            return f"it is a table of {home.name}: `{asking(what)}`"
    ends = [key for home in homes.values() for key in home.ledger.standing() if what and key.endswith(f"/{what}")]
    if ends:
        return f"did you mean {', '.join(repr(key) for key in ends[:3])}?"
    return "give HR203, lv.42, lv.42:17 or an object's key"


def _load(homes: Mapping[str, Home], id: str) -> tuple[Home, Load]:
    for home in homes.values():
        load = home.ledger.load(id)
        if load is not None and load.pipeline in homes:
            return homes[load.pipeline], load
    raise UsageError("HR130", id, "there is no such load", "see `headrace history`")


def _best(loads: list[Load]) -> Load:
    """The load that stands, else the newest."""
    return next((x for x in reversed(loads) if x.state in ("standing", "decided")), loads[-1])


def _known_key(home: Home, text: str) -> str | None:
    """The key that `text` means: a key itself, or a local path that ends in prefix and key."""
    ledger = home.ledger
    prefix = home.pipeline.source.prefix
    at = f"/{text}".rfind("/" + prefix) if prefix else -1
    for key in (text, text[at:] if at >= 0 else text, prefix + text):
        if possible(key) and ledger.history(key, limit=1):
            return key
    return None


def _explain_load(home: Home, load: Load) -> Explanation:
    facts = {**load_facts(load), "dialect": dict(load.dialect)}
    c = load.counts
    lines = [
        f"load {load.id} of {load.pipeline}: {load.state}{' (stale: the store holds a newer version)' * load.stale}",
        f"  object    {load.key}",
        f"  version   {load.version} ({load.size:,} bytes)",
        f"  arrived   {load.arrived_at:%Y-%m-%d %H:%M:%S.%fZ}",
        f"  contract  {load.contract}" + (" (outdated)" if load.contract != home.contract.digest else ""),
        f"  rows      read {c.read:,} = accepted {c.accepted:,} + rejected {c.rejected:,} + filtered {c.filtered:,}",
        f"            accepted {c.accepted:,} ="
        f" loaded {c.loaded:,} + duplicate {c.duplicate:,} + conflict {c.conflict:,}",
    ]
    lines += [f"  read as   {told}" for told in _dialect(load.dialect)]
    if members := load.dialect.get("passed_over"):
        lines.append(f"  not read  {count(len(members), 'member')} of no known format: {some(members, 20)}")
    lines += [f"  decided   {load.decided}"] if load.decided else []
    lines += [f"  retired   {load.retired}{_why_retired(home, load)}"] if load.retired else []
    if load.cause:
        lines.append(f"  cause     {load.cause}")
    first = min(load.dialect.get("members", ()), default="")
    next_ = [f"headrace explain {row_name(load.id, first, 1)}"] if c.read else []
    next_ += [typed("dlq", "redrive", load.pipeline, load.key)] if load.state == "dead" else []
    next_ += [typed("quarantine", "show", load.pipeline, "--file", load.key)] if c.rejected else []
    return Explanation(load.id, "load", facts, lines, next_)


def _why_retired(home: Home, load: Load) -> str:
    """What came in its place in that revision, or why nothing did."""
    successor = next((x for x in home.ledger.history(load.key) if x.decided == load.retired), None)
    if successor is not None:
        return f": {successor.id} came in its place"
    words = {
        "retract": ": its object was gone",
        "confirmed": ": let go or confirmed by a person, its object being gone",
    }
    return words.get(home.ledger.revision(load.retired or 0).reason, "")


def _dialect(dialect: Mapping[str, Any]) -> list[str]:
    """How an object was read, in words: what was decided, not what does not apply. A line for each member of a zip."""
    words = [
        f"{name} {value if isinstance(value, str) and value.isalnum() else repr(value)}"
        for name, value in dialect.items()
        if value not in (None, False, "", 0) and not isinstance(value, Mapping | list) and value is not True
    ]
    words += [name for name, value in dialect.items() if value is True]
    members = [(name, value) for name, value in dialect.items() if isinstance(value, Mapping)]
    inner = [f"{name}: {told}" for name, value in members for told in _dialect(value)]
    return ([", ".join(words)] if words else []) + inner


def load_facts(load: Load) -> dict[str, Any]:
    """A load as plain data, for `history --json`."""
    c = load.counts
    return {
        "load": load.id,
        "pipeline": load.pipeline,
        "object": load.key,
        "version": load.version,
        "state": str(load.state),
        "stale": load.stale,
        "arrived_at": load.arrived_at,
        "seen_at": load.seen_at,
        "size": load.size,
        "contract": load.contract,
        "corrections": load.corrections,
        "read": c.read,
        "accepted": c.accepted,
        "rejected": c.rejected,
        "filtered": c.filtered,
        "loaded": c.loaded,
        "duplicate": c.duplicate,
        "conflict": c.conflict,
        "decided": load.decided,
        "retired": load.retired,
        "seconds": load.seconds,
        "cause": load.cause,
    }


PLACES = {
    Kept.LANDED: "there",  # it came just now
    Kept.ARCHIVED: "archived",
    Kept.DAMAGED: "archived, but damaged: not the bytes that were loaded",
    Kept.GONE: "not there any more",
    Kept.OUTSIDE: "no object of this pipeline's source any more",
}


def _object(home: Home, key: str) -> Explanation:
    loads = home.ledger.history(key)
    best = _best(loads)
    stat, where = home.store.stat(key), kept(home, best)
    there = f"{stat.size:,} bytes, created {stat.created.isoformat()}" if stat else PLACES[where]
    lines = [f"object {key} of {home.name}", f"  store     {there}", f"  stands    {best.id} {best.state}", "  history"]
    for load in loads:
        told = f"read {load.counts.read:,} loaded {load.counts.loaded:,} rejected {load.counts.rejected:,}"
        cause = f"  {load.cause}" if load.cause else ""
        lines.append(f"    {load.id:12} {load.state:10} {load.version[:12]}  {told}{cause}")
    facts = {
        "object": key,
        "pipeline": home.name,
        "there": stat is not None,
        "kept": str(where),
        "loads": [load_facts(x) for x in loads],
    }
    return Explanation(key, "object", facts, lines, [f"headrace explain {best.id}"])


def _row(home: Home, load: Load, member: str | None, record: int) -> Explanation:
    """One record: what the file says, what became of it, and which row stands for its key."""
    members = [member] if member else list(load.dialect.get("members", ())) or [""]
    stored = {member_of(file, load.key): found for file, found in _stored(home, load, member, record).items()}
    read_again = peek(home, load.key, load.version, {m: [record] for m in members})
    member = _the_one(load, record, member, {**dict.fromkeys(m for m, _ in read_again), **stored})
    verdict, row = stored.get(member, (_without_row(load), None))
    file = source_file(load.key, member)
    peeked = read_again.get((member, record))
    raw = peeked.raw if peeked else (row or {}).get("raw")
    line = peeked.line if peeked else (row or {}).get("_source_line")
    cells = peeked.cells if peeked else None
    facts = {
        "file": file,
        "version": load.version,
        "load": load.id,
        "record": record,
        "line": line,
        "raw": raw,
        "cells": cells,
        "correction": _correction(home, load, file, record, cells),
        "verdict": verdict,
        "row": row,
        "filtered_by": [r.name for r in home.contract.rules if r.kind == "skip"] if verdict == "filtered" else [],
        "winner": _winner(home, row) if verdict in ("duplicate", "conflict") and row else None,
        "read_again": peeked is not None,
    }
    name = row_name(load.id, member, record)
    return Explanation(name, "row", facts, _row_lines(facts, load), [f"headrace explain {load.id}"])


def _the_one(load: Load, record: int, asked: str | None, found: Collection[str]) -> str:
    """The member that has the record ("" for what is no archive). Raises UsageError HR132 for none, or for several."""
    if len(found) == 1:
        return next(iter(found))
    if found:
        names = [row_name(load.id, member, record) for member in sorted(found)]
        told = f"{len(found):,} members have such a record"
        raise UsageError("HR132", row_name(load.id, "", record), told, f"say which: {some(names)}")
    known = sorted(load.dialect.get("members", ()))
    other = f"its members are {some(known)}" if asked and asked not in known and known else ""
    what = row_name(load.id, asked or "", record)
    raise UsageError("HR132", what, "there is no such record", other or f"the load has {load.counts.read:,}")


def _correction(
    home: Home, load: Load, file: str, record: int, cells: Mapping[str, str | None] | None
) -> dict[str, Any] | None:
    """What was put in place of the record: when, and each cell that differs as it was and as it is."""
    if not load.corrections:
        return None
    for c in home.ledger.stored_corrections(load.key):
        if (c.version, c.file, c.record) == (load.version, file, record):
            changed = {
                header: {"was": (cells or {}).get(header), "is": text}
                for header, text in c.cells.items()
                if (cells or {}).get(header) != text
            }
            return {"at": c.at, "cells": changed}
    return None


def _corrected(correction: Mapping[str, Any] | None) -> str:
    """`, corrected on 2025-05-01 12:00:00Z: kWh '-3' → '3'`"""
    if correction is None:
        return ""
    told = ", ".join(f"{h} {c['was']!r} → {c['is']!r}" for h, c in correction["cells"].items())
    return f", corrected on {correction['at']:%Y-%m-%d %H:%M:%SZ}: {told}"


def _row_lines(facts: Mapping[str, Any], load: Load) -> list[str]:
    lines = [
        f"record {facts['record']} of {facts['file']}: {facts['verdict']}{_corrected(facts['correction'])}",
        f"  version   {facts['version']}",
        f"  load      {load.id} ({load.state})",
        f"  line      {facts['line'] if facts['line'] is not None else 'unknown'}",
    ]
    source = "" if facts["read_again"] else " (from the rejected rows: the store does not hold this version any more)"
    if facts["raw"] is not None:
        lines.append(f"  raw       {facts['raw']}{source}")
    else:
        lines.append(
            "  raw       not kept: the store does not hold this version any more, and the row was not rejected"
        )
    if facts["cells"]:
        lines += ["  cells", *(f"    {k} = {v!r}" for k, v in facts["cells"].items())]
    row = facts["row"] or {}
    if facts["verdict"] == "rejected":
        lines.append(f"  reason    {row['rule']}: {row['reason']} (column {row['column']}, value {row['value']!r})")
    elif facts["filtered_by"]:
        one = "" if len(facts["filtered_by"]) == 1 else "one of "
        lines.append(f"  rule      {one}{', '.join(facts['filtered_by'])}: skips such rows")
    elif row:
        lines += ["  row", *(f"    {k} = {v}" for k, v in row.items() if not k.startswith("_"))]
    if facts["winner"]:
        w = facts["winner"]
        lines.append(f"  standing  the row of {w['_source_file']} record {w['_source_row']} (load {w['_load_id']}) won")
    return lines


def _without_row(load: Load) -> str:
    """What became of a record of which no row is stored."""
    return "not standing" if load.state not in ("standing", "decided") else "filtered"


def _stored(home: Home, load: Load, member: str | None, record: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """The stored rows of that number by their file, each with what became of it: loaded, duplicate, conflict, rejected.

    Only those of the member, if one is given.
    """
    stored: dict[str, tuple[str, dict[str, Any]]] = {}
    table = home.pipeline.sinks[0].table
    ledger = home.ledger
    held = {f.path: f for staged in (False, True) for f in ledger.files_of([load.id], staged=staged)}
    within = f" AND _source_file = {_text(source_file(load.key, member))}" if member else ""
    where = f"_load_id = {_text(load.id)} AND _source_row = {record}{within}"
    for suffix, verdict in (("", "loaded"), ("__losers", "duplicate"), ("__rejected", "rejected")):
        relation = relations(home)[table + suffix]
        kind = {"": "data", "__losers": "losers", "__rejected": "rejected"}[suffix]
        files = [held[path] for path in sorted(held) if held[path].kind == kind]
        if files:
            mine = relation_over(home, relation.columns, files)
            for row in rows_of(run_sql({"t": mine}, f"SELECT * FROM t WHERE {where}")):
                stored.setdefault(row["_source_file"], (row.get("_verdict") or verdict, row))
    return stored


def _winner(home: Home, row: Mapping[str, Any]) -> dict[str, Any] | None:
    key = home.contract.key
    if not key:
        return None
    tables = relations(home)
    table = home.pipeline.sinks[0].table
    tests = " AND ".join(f'"{k}" IS NOT DISTINCT FROM {_text(str(row[k]))}' for k in key)
    query = f"SELECT _source_file, _source_row, _load_id FROM t WHERE {tests} LIMIT 1"
    found: list[dict[str, Any]] = run_sql({"t": tables[table]}, query).to_pylist()
    return found[0] if found else None


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
