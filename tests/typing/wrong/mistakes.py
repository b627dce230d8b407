"""Mistakes that a type checker finds: each marked line must be an error."""

from datetime import datetime

from headrace import Pipeline, Record, column, files, lake


class Row(Record, on_conflict="newest"):  # wrong
    name: str
    at: datetime
    count: int = column(default="many")  # wrong


Row(name="x")  # wrong
Row(name=1, at=datetime(2024, 1, 1))  # wrong
Row(nmae="x", name="x", at=datetime(2024, 1, 1))  # wrong
Row(name="x", at=datetime(2024, 1, 1)).name = "y"  # wrong
Pipeline("rows", source=files("in/"), record=Row, sinks=["table"])  # wrong
Pipeline("rows", source=files("in/", after="delete"), record=Row, sinks=[lake("t")])  # wrong
