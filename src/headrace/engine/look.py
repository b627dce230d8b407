"""What lies under a key now: an arrival to pin and, unless the ledger knows these very bytes, a copy to read.

Called by `ingest.prepare`. A copy is hashed while it is made, so the version always tells what was read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.engine.home import Home
from headrace.engine.many import each
from headrace.model.errors import BadObject, HeadraceError, InfrastructureError
from headrace.model.loads import STANDS, Again, Arrival, Load, LoadState, Stat

NO_ROOM = "HR304"
"""What a copy raises where there is no room for it."""
QUICK = 4 * 2**20
"""Objects up to this many bytes are copied to memory: a batch is bounded by `batch_bytes` in all."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as it was found. `copy` is None where nothing about it is new."""

    arrival: Arrival
    copy: Path | None


def look(home: Home, key: str, live: Sequence[Load], again: Again) -> Seen | None:
    """Look at the object, and copy it where that may be needed; None if it is gone.

    `live` are the key's loads that are not history. Raises ObjectMoving, BadObject or InfrastructureError as the store.
    """
    stat = home.store.stat(key)
    if stat is None:
        return _from_archive(home, live, again)
    if not again:
        known = _known(home, stat, live)
        if known is not None:
            return Seen(known, None)
    if 0 < home.settings.scratch_bytes < stat.size:
        found = f"its {stat.size:,} bytes are more than the {home.settings.scratch_bytes:,} that a copy may take here"
        raise BadObject("HR315", key, found, "`headrace explain HR315` says where room comes from")
    path, stat, version = _copy(home, key, stat.size)
    return Seen(_arrival(home, stat, version, again), path)


def windows(home: Home, keys: Sequence[str]) -> Iterator[list[str]]:
    """The keys in groups to look at together: as many small objects as may be, a large one alone."""
    at_once = home.settings.looks
    if at_once == 1:
        yield from ([key] for key in keys)
        return
    for start in range(0, len(keys), at_once):
        some = keys[start : start + at_once]
        sizes = dict(zip(some, each(lambda key: _size(home, key), some, at_once), strict=True))
        yield [key for key in some if sizes[key] <= QUICK]
        yield from ([key] for key in some if sizes[key] > QUICK)


def look_at(
    home: Home, live: Mapping[str, Sequence[Load]], asked: Mapping[str, Again]
) -> dict[str, Seen | HeadraceError | None]:
    """`look` for several keys at once; what it raises about a key stands in its place."""

    def one(key: str) -> Seen | HeadraceError | None:
        try:
            return look(home, key, live.get(key, ()), asked[key])
        except HeadraceError as exc:
            return exc

    return dict(zip(asked, each(one, list(asked), home.settings.looks), strict=True))


def _size(home: Home, key: str) -> int:
    """What may have to be copied; 0 where looking itself will say what is wrong."""
    try:
        stat = home.store.stat(key)
    except HeadraceError:
        return 0
    return stat.size if stat else 0


def _from_archive(home: Home, live: Sequence[Load], again: Again) -> Seen | None:
    """What stands and was moved out of the way can still be read again, to be replayed or corrected."""
    load = next((x for x in live if x.state in STANDS), None)
    if load is None or home.pipeline.source.after != "archive":
        return None
    if not _asked_for(home, load, [x for x in live if x.version == load.version], again):
        return None
    path = home.spool / f"{home.token()}-archived"
    if not home.store.fetch_archived(load.key, load.version, path):
        path.unlink(missing_ok=True)
        return None
    stat = Stat(load.key, load.size, load.arrived_at, load.fingerprint.lstrip("~"))
    return Seen(_arrival(home, stat, load.version, again), path)


def _asked_for(home: Home, standing: Load, same: Sequence[Load], again: Again) -> bool:
    """Whether the version that stands is to be read once more; `same` are the live loads of it."""
    failed = [x for x in same if x.state is LoadState.DEAD]
    if again == "replay" or (again and failed) or any(x.state is LoadState.SEEN for x in same):
        return True
    corrections = home.ledger.corrections_digest(standing.key, standing.version)
    known = {(x.contract, x.corrections) for x in failed}
    return corrections != standing.corrections and (home.contract.digest, corrections) not in known


def _copy(home: Home, key: str, size: int) -> tuple[Path, Stat, str]:
    """A copy to parse: a small object's in memory, unless there is no room, any other's on disk."""
    name = f"{home.token()}-{key.rsplit('/', 1)[-1].encode()[-80:].decode(errors='ignore')}"
    if size <= QUICK:
        try:
            return _fetched(home, key, home.quick / name)
        except InfrastructureError as exc:
            if exc.code != NO_ROOM:
                raise
    return _fetched(home, key, home.spool / name)


def _fetched(home: Home, key: str, path: Path) -> tuple[Path, Stat, str]:
    try:
        return (path, *home.store.fetch(key, path))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _known(home: Home, stat: Stat, live: Sequence[Load]) -> Arrival | None:
    """An arrival from the fingerprint alone, where a standing load has it and nothing else about the key is open."""
    settled = (LoadState.DECIDED, LoadState.STANDING, LoadState.DEAD)
    if len(live) != 1 or live[0].fingerprint != stat.fingerprint or live[0].state not in settled:
        return None
    arrival = _arrival(home, stat, live[0].version, "")
    return arrival if (live[0].contract, live[0].corrections) == (arrival.contract, arrival.corrections) else None


def doubtful(stat: Stat) -> str:
    """The fingerprint, marked where a later write might leave it as it is: the next scan then hashes again."""
    return f"~{stat.fingerprint}" if stat.fresh else stat.fingerprint


def _arrival(home: Home, stat: Stat, version: str, again: Again) -> Arrival:
    return Arrival(
        key=stat.key,
        version=version,
        created=stat.created,
        size=stat.size,
        fingerprint=doubtful(stat),
        contract=home.contract.digest,
        corrections=home.ledger.corrections_digest(stat.key, version),
        again=again,
    )
