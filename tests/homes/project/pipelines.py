"""Two pipelines whose policies differ, for stories that are told in both homes."""

from headrace import Pipeline, Record, column, derived, files, keyed, lake


class Item(Record, key=("k", "part"), on_conflict="last"):
    """Several rows may have one key; a value above 100 is rejected."""

    k: int
    v: int = column(le=100)
    name: str | None = None
    part: int = derived("k % 3")


class First(Item, key=("k", "part"), on_conflict="reject"):
    """The lowest in order stands, the others are conflicts."""


keep = Pipeline(
    "keep",
    source=files("in/keep/", suffix=".csv"),
    record=Item,
    sinks=(lake("keep_rows", partition_by=("part",)), keyed("keep_items")),
)

strict = Pipeline(
    "strict",
    source=files("in/strict/", suffix=".csv", on_delete="retract", same_bytes="skip"),
    record=First,
    sinks=(lake("strict_rows"), keyed("strict_items")),
)
