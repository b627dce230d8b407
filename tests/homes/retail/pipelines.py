"""Lines of invoices, a file per day. A line has no number of its own: its content is its identity."""

from datetime import datetime

from headrace import Pipeline, Record, column, files, keyed, lake


class Line(Record, key=("invoice_no", "id")):
    """One line; real ones are repeated."""

    invoice_no: str
    id: str = column(default_sql="row_hash()")
    stock_code: str
    description: str | None
    quantity: int
    invoice_date: datetime
    unit_price: float
    customer_id: int | None
    country: str


retail = Pipeline(
    "retail",
    source=files("raw/retail/", suffix=".csv"),
    record=Line,
    sinks=(lake("retail_lines", partition_by=("year(invoice_date)", "month(invoice_date)")), keyed("invoices")),
)
