"""The spool: emptied at every start, without pulling the ground from under whoever is at work in this process."""

from __future__ import annotations

from pathlib import Path

from headrace.engine.retain import sweep_spool
from headrace.engine.sql import engine_connection, scalar

SORT = "select count(*) from (select hash(range) as h, repeat('x', 90) as x from range(3000000) order by h)"


def test_an_instance_that_spilled_can_spill_again_after_the_spool_was_emptied(tmp_path: Path) -> None:
    (tmp_path / "abc-left.csv").write_text("x")
    for _ in range(2):
        with engine_connection("70MB", 1, [tmp_path], tmp_path) as db:
            db.execute("create temp table t as select hash(range) as h, repeat('x', 90) as x from range(1000000)")
            assert scalar(db, "select count(distinct h) from (select h, x from t order by h)") == 1_000_000
        sweep_spool(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["spill"]
