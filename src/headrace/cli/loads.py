"""How loads are told by every command that makes some: `run`, `replay`, `redrive`, `correct`, in the same words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from headrace.cli.output import Output, count
from headrace.model.hints import asking
from headrace.model.words import some

if TYPE_CHECKING:
    from headrace.project import LoadResult, Project

SHOWN = 20
"""Loads that are listed as text; `--json` and `history` tell all."""


def tell_loads(loads: Sequence[LoadResult], output: Output, unchanged: int = 0) -> None:
    """Each load in a line, what earlier versions lost, and the accounting of all."""
    from headrace.project import accounting

    columns = ["object", "state", "read", "loaded", "rejected", "duplicate", "filtered"]
    read = [x for x in loads if x.state != "dead"]  # those are told with their causes
    output.table([{c: getattr(x, c) for c in columns} for x in read[:SHOWN]], columns)
    if len(read) > SHOWN:
        output.data(f"… and {len(read) - SHOWN:,} more: headrace history")
    replacing = [x for x in loads if x.replaced is not None]
    for x in replacing[:SHOWN]:
        output.say(f"replaces an earlier version of {x.object}: {count(x.replaced or 0, 'row')} retired")
    if len(replacing) > SHOWN:
        output.say(f"… and {len(replacing) - SHOWN:,} more replace an earlier version")
    partly = [x for x in loads if x.passed_over]
    for x in partly[:SHOWN]:
        output.say(f"{passed_over(x.object, x.passed_over)}: headrace explain {x.load}")
    if len(partly) > SHOWN:
        output.say(f"… and {len(partly) - SHOWN:,} more hold such members")
    if unchanged:
        output.say(f"{count(unchanged, 'file')} unchanged: that version stands already")
    output.data(accounting(loads))


def passed_over(object: str, members: Sequence[str]) -> str:
    """`in/a.zip: 2 members of no known format passed over, 'b.bak', 'c'`"""
    return f"{object}: {count(len(members), 'member')} of no known format passed over, {some(members)}"


def say_failures(
    project: Project, pipeline: str, loads: Sequence[LoadResult], output: Output, notified: Container[str] = ()
) -> None:
    """What did not become rows, once: whom the notifier told of on this screen needs no second line."""
    dead = [x for x in loads if x.state == "dead"]
    for x in [x for x in dead if f"dead:{x.load}" not in notified][:SHOWN]:
        output.say(f"dead {x.object}: {x.cause}")
    if dead:
        cannot = "1 object cannot load as it is" if len(dead) == 1 else f"{len(dead):,} objects cannot load as they are"
        output.say(f"{cannot}: headrace dlq ls {pipeline}")
    stuck = [x for x in loads if x.state in ("seen", "staged", "decided")]
    if stuck:
        output.say(f"{count(len(stuck), 'object')} not settled yet: headrace run {pipeline}, or headrace status")
    if conflicts := sum(x.conflict for x in loads):
        table = project.pipelines[pipeline].sinks[0].table
        share = "1 row shares its key with another row and differs from it; it is kept:"
        if conflicts > 1:
            share = f"{conflicts:,} rows share a key with another row and differ from it; they are kept:"
        output.say(share)
        output.say(f"  {asking(f'{table}__losers')}")
    if rejected := sum(x.rejected for x in loads):
        output.say(f"{count(rejected, 'row')} rejected: headrace quarantine ls {pipeline}")


def say_replayed(done: Sequence[LoadResult], output: Output) -> None:
    """How many objects have a new load that stands, and what became of the others."""
    states = Counter(x.state for x in done)
    again = states.pop("standing", 0) + states.pop("skipped", 0)
    output.say(f"{count(again, 'object')} loaded again")
    for state, where in (("gone", ""), ("damaged", " in the archive")):
        if n := states.pop(state, 0):
            is_are, stays = ("is", "stays as it was") if n == 1 else ("are", "stay as they were")
            output.say(f"{count(n, 'object')} {is_are} {state}{where} and {stays} loaded")
    for state, n in sorted(states.items()):
        output.say(f"{count(n, 'object')} {state}")


def exit_after(done: Sequence[LoadResult]) -> int:
    """Of objects that were asked for again: 3 something is not settled, 4 an object is dead."""
    states = {x.state for x in done}
    return 3 if states & {"seen", "staged", "decided"} else 4 if "dead" in states else 0
