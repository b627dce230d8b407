"""The real files that the example systems run on, read whole."""

from pathlib import Path

from reading import Reader, contract

from headrace.formats.open import Item, open_input
from headrace.formats.rows import Rows
from headrace.model.fields import cell_name


def opened(reader: Reader, scratch: Path, paths: list[Path]) -> Rows:
    items = [Item(i, path.name, path) for i, path in enumerate(paths)]
    [rows] = open_input(
        reader.db, contract("Substation Number") if "lv" in str(paths[0]) else RETAIL, items, scratch, {}
    )
    return rows


RETAIL = contract("InvoiceNo", "StockCode", "UnitPrice", "CustomerID")


def test_the_load_monitor_files_are_one_group_of_413649_rows(real_data: Path, reader: Reader, tmp_path: Path) -> None:
    rows = opened(reader, tmp_path, sorted((real_data / "lv_load_monitor").rglob("*.csv")))
    assert len(rows.dialects) == 30
    counted = f"select count(*), count(distinct (_item, _record)), max(_item) from {rows.relation}"
    assert reader.db.execute(counted).fetchone() == (413_649, 413_649, 29)
    assert rows.finish().misfits == []


def test_the_retail_workbook_holds_the_same_rows_as_the_day_files(
    real_data: Path, reader: Reader, tmp_path: Path
) -> None:
    folder = real_data / "online_retail"
    days = opened(reader, tmp_path, sorted((folder / "by-day").glob("*.csv")))
    book = opened(reader, tmp_path, [folder / "online_retail.xlsx"])
    assert book.headers == days.headers
    # The files write customers as 17850.0 and prices as 2.10; the workbook holds numbers.
    written = {"CustomerID": "replace({}, '.0', '')", "UnitPrice": "{}::decimal(18, 3)"}
    alike = ", ".join(written.get(h, "{}").format(cell_name(i)) for i, h in enumerate(days.headers))
    for name, rows in (("days", days), ("book", book)):
        reader.db.execute(f"create temp table {name} as select {alike} from {rows.relation}")
    assert reader.db.execute("select count(*) from days").fetchone() == (541_909,)
    assert reader.db.execute("select count(*) from (from days except all from book)").fetchone() == (0,)
    assert reader.db.execute("select count(*) from (from book except all from days)").fetchone() == (0,)
