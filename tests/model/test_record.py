"""Declaring a Record: what it becomes, what it inherits, and what is refused, with file and line."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal
from uuid import UUID

import pytest

from headrace import DefinitionError, Record, column, derived
from headrace.model.contract import Type
from headrace.model.formats import strptime_pattern


class Base(Record, key="id", zone="UTC", extra="keep"):
    limit: ClassVar[int] = 5
    id: str
    at: datetime
    note: str | None = None


class Child(Base, on_conflict="first"):
    price: Decimal = column(digits=(9, 2), ge=0)
    note: str = "UNKNOWN"
    label: str = derived("id || note")


def test_columns_and_class_keywords_are_inherited_one_by_one() -> None:
    assert list(Child.__columns__) == ["id", "at", "note", "price", "label"]
    assert (Child.__options__.key, Child.__options__.on_conflict) == (("id",), "first")
    assert (Child.__options__.extra, Child.__options__.zone) == ("keep", "UTC")
    assert Child.__columns__["at"].type == Type("datetime", zone="UTC")
    assert Base.__columns__["note"].nullable and Child.__columns__["note"].default == "UNKNOWN"


def test_a_subclass_in_another_zone_makes_its_inherited_columns_anew() -> None:
    class London(Base, zone="Europe/London"):
        pass

    assert London.__columns__["at"].type.zone == "Europe/London"
    assert Base.__columns__["at"].type.zone == "UTC"


def test_annotations_say_what_may_be_missing() -> None:
    class Row(Record):
        required: int
        empty: int | None
        absent: int | None = None
        filled: int = 3
        computed: int = column(default_sql="required + 1")

    shapes = {n: (c.nullable, c.optional, c.default) for n, c in Row.__columns__.items()}
    assert shapes == {
        "required": (False, False, None),
        "empty": (True, False, None),
        "absent": (True, True, None),
        "filled": (False, True, "3"),
        "computed": (False, True, None),
    }


def test_a_row_is_a_frozen_value() -> None:
    row = Child(id="a", at=datetime(2024, 1, 1), price=Decimal(1))
    assert row == Child(id="a", at=datetime(2024, 1, 1), price=Decimal(1), note="UNKNOWN")
    assert hash(row) == hash(Child(id="a", at=datetime(2024, 1, 1), price=Decimal(1)))
    assert repr(row).startswith("Child(id='a', ")
    with pytest.raises(AttributeError, match="frozen"):
        row.id = "b"  # type: ignore[misc]
    with pytest.raises(TypeError, match="did you mean 'price'"):
        Child(id="a", at=datetime(2024, 1, 1), pricce=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="needs 'at'"):
        Child(id="a", price=Decimal(1))  # type: ignore[call-arg]


def make(annotation: Any, value: Any = ..., **keywords: Any) -> type[Record]:
    body: dict[str, Any] = {"__annotations__": {"id": str, "x": annotation}}
    return type("Made", (Record,), body if value is ... else {**body, "x": value}, **keywords)


@pytest.mark.parametrize(
    ("annotation", "value", "keywords", "code", "words"),
    [
        (bytes, ..., {}, "HR201", "type bytes cannot be a column; types are str, int"),
        (int | str, ..., {}, "HR201", "a choice of types"),
        (Literal["a", 1], ..., {}, "HR201", "mixes types"),
        (Decimal, ..., {}, "HR204", "a Decimal needs its digits"),
        (Decimal, column(digits=(40, 2)), {}, "HR204", "precision is 1 to 38"),
        (float, column(digits=(9, 2)), {}, "HR204", "'digits' belongs to Decimal"),
        (int, column(round=True), {}, "HR204", "'round' belongs to Decimal"),
        (str, column(format="YYYY"), {}, "HR204", "'format' belongs to date and datetime"),
        (date, column(format="DD/MM"), {}, "HR204", "does not name a whole date"),
        (date, column(format="YYYY-MM-DD HH"), {}, "HR204", "which a date would lose"),
        (datetime, column(format="YYYY-MM-DD HH:MM"), {}, "HR204", "minutes are 'mm', months 'MM'"),
        (datetime, column(format="YYYY-MM-DD HH:mmZ"), {}, "HR204", "give a zone"),
        (datetime, column(zone="Europe/Londn"), {}, "HR205", "did you mean 'Europe/London'?"),
        (str, column(default_sql="x", path="a"), {}, "HR204", "no JSON Pointer"),
        (int, column(pattern="x"), {}, "HR204", "belong to str"),
        (int, column(ge="1"), {}, "HR204", "ge='1' cannot bound a int"),
        (str, column(min_length=-1), {}, "HR204", "give a whole number from 0"),
        (int, "3", {}, "HR206", "default '3' is not a int"),
        (int, None, {}, "HR206", "annotate it as 'T | None'"),
        (Literal["red", "green"], "rde", {}, "HR206", "did you mean 'red'?"),
        (Decimal, column(digits=(4, 2), default=Decimal("1.234")), {}, "HR206", "does not fit digits"),
        (int, ..., {"key": "idd"}, "HR203", "key column 'idd' is not a column; did you mean 'id'?"),
        (int, ..., {"key": ("id", "id")}, "HR203", "names a column twice"),
        (dict, ..., {"key": "x"}, "HR203", "is JSON"),
        (int, ..., {"key": "id", "dedupe": "row"}, "HR205", "dedupe='row' beside a key"),
        (int, ..., {"on_conflict": "lsat"}, "HR205", "did you mean 'last'?"),
        (int, ..., {"extra": "drop"}, "HR205", "possible are ignore, keep, reject"),
        (int, ..., {"zone": "Mars"}, "HR205", "zone 'Mars' is not known"),
        (int, ..., {"null": "NA"}, "HR205", "give a tuple of texts"),
        (int, ..., {"root": "items"}, "HR205", "no JSON Pointer"),
        (int, column("I.D."), {}, "HR215", "'id' and 'x' both want the header 'I.D.'"),
        (int, column("--"), {}, "HR215", "holds no letter or digit"),
    ],
)
def test_a_mistake_is_found_when_the_class_is_made(
    annotation: Any, value: Any, keywords: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        make(annotation, value, **keywords)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_names_that_an_engine_would_not_take_are_refused() -> None:
    for names, words in (
        (("_x",), "begin with a letter"),
        (("größe",), "begin with a letter"),
        (("a", "A"), "differ only in case"),
    ):
        with pytest.raises(DefinitionError, match="HR202") as caught:
            type("Made", (Record,), {"__annotations__": dict.fromkeys(names, int)})
        assert words in str(caught.value)


def test_a_mistake_names_file_and_line_of_the_column_or_class() -> None:
    with pytest.raises(DefinitionError) as column_one:

        class Lines(Record):
            id: str
            price: Decimal

    with pytest.raises(DefinitionError) as class_one:

        class Keyed(Record, key="asset"):
            asset_id: str

    start = test_a_mistake_names_file_and_line_of_the_column_or_class.__code__.co_firstlineno
    assert column_one.value.which == f"test_record.py:{start + 5} Lines"
    assert class_one.value.which == f"test_record.py:{start + 9} Keyed"
    said = f"HR203 test_record.py:{start + 9} Keyed: key column 'asset' is not a column; did you mean 'asset_id'?"
    assert str(class_one.value) == said


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("DD/MM/YYYY", "%d/%m/%Y"),
        ("YYYYMMDDTHHmmssZ", "%Y%m%dT%H%M%S%z"),
        ("DD MMM YY hh:mm A", "%d %b %y %I:%M %p"),
        ("%d.%m.%Y", "%d.%m.%Y"),
        ("YYYY-MM-DD HH:mm:ss.SSSSSS", "%Y-%m-%d %H:%M:%S.%f"),
    ],
)
def test_formats_are_read_as_people_write_them(text: str, pattern: str) -> None:
    assert strptime_pattern(text, time=True) == pattern


def test_types_are_those_of_the_annotations() -> None:
    class Types(Record):
        a: UUID
        b: list[float] | None
        c: dict[str, Any]
        d: Literal[1, 2]
        e: bool = False

    assert [c.type.sql for c in Types.__columns__.values()] == ["UUID", "VARCHAR", "VARCHAR", "BIGINT", "BOOLEAN"]
    assert Types.__columns__["d"].type.choices == ("1", "2")
