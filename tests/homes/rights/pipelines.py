"""Two pipelines that between them ask AWS for everything that a pipeline can ask for."""

from headrace import Pipeline, Record, column, derived, files, keyed, lake


class Item(Record, key=("k", "part")):
    """A value above 100 is rejected."""

    k: int
    v: int = column(le=100)
    part: int = derived("k % 3")


moved = Pipeline(
    "moved",
    source=files("in/moved/", suffix=".csv", after="archive"),
    record=Item,
    sinks=(lake("moved_rows", partition_by=("part",)), keyed("moved_items")),
)

strict = Pipeline(
    "strict",
    source=files("in/strict/", suffix=".csv", on_delete="retract"),
    record=Item,
    sinks=(lake("strict_rows"), keyed("strict_items")),
)
