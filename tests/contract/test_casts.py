"""Exact casts: what is accepted is just what the text says, and what a type can write is accepted."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from staging import contract_of, stage

from headrace import Record, column


class Ints(Record):
    x: int | None


class Floats(Record):
    x: float | None


class Decimals(Record):
    x: Decimal | None = column(digits=(9, 2))


class Rounded(Record):
    x: Decimal | None = column(digits=(9, 2), round=True)


class Bools(Record):
    x: bool | None


class Dates(Record):
    x: date | None


class BritishDates(Record, date_format="DD/MM/YYYY"):
    x: date | None


class Clocks(Record):
    x: datetime | None


class Instants(Record, zone="UTC"):
    x: datetime | None


class Londoners(Record, zone="Europe/London"):
    x: datetime | None


class NewYorkers(Record, zone="America/New_York"):
    x: datetime | None


class Uuids(Record):
    x: uuid.UUID | None


class Documents(Record):
    x: dict[str, Any] | None


def values(record: type[Record], texts: list[str | None]) -> list[Any]:
    """The typed value per text; `...` where it was refused."""
    staged = stage(contract_of(record), ["x"], [[t] for t in texts])
    return [... if row is None else row["x"] for row in staged.rows]


NUMBERISH = st.text("0123456789.eE+-_ ,xX", min_size=1, max_size=12)
TIMEISH = st.text("0123456789-:T Z.+", min_size=8, max_size=30)


def mutated(valid: st.SearchStrategy[str], alphabet: str) -> st.SearchStrategy[str]:
    """Valid texts with one character put in, changed or taken out."""

    def change(text: str, at: int, char: str, how: int) -> str:
        at %= len(text) + 1
        return text[:at] + ("" if how == 2 else char) + text[at + (how > 0) :]

    return st.builds(change, valid, st.integers(0, 40), st.sampled_from(alphabet), st.integers(0, 2))


def many(*of: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.one_of(*of).filter(bool), min_size=30, max_size=120)


@settings(max_examples=40, deadline=None)
@given(many(NUMBERISH, mutated(st.integers(-(2**64), 2**64).map(str), "0.eE_ +-x,"), st.integers().map(str)))
def test_an_accepted_integer_is_the_number_that_the_text_says(texts: list[str]) -> None:
    for text, value in zip(texts, values(Ints, texts), strict=True):
        assert value is ... or Decimal(text.strip()) == value, text


@settings(max_examples=40, deadline=None)
@given(many(NUMBERISH, mutated(st.decimals(-(10**8), 10**8, places=4).map(str), "0.eE_ +-x,"), st.floats().map(repr)))
def test_an_accepted_decimal_is_the_number_that_the_text_says(texts: list[str]) -> None:
    for text, value in zip(texts, values(Decimals, texts), strict=True):
        assert value is ... or Decimal(text.strip()) == value, text


@settings(max_examples=40, deadline=None)
@given(many(NUMBERISH, mutated(st.floats().map(repr), "0.eE_ +-xnif,"), st.floats().map(repr)))
def test_an_accepted_float_is_the_nearest_one_to_the_text(texts: list[str]) -> None:
    for text, value in zip(texts, values(Floats, texts), strict=True):
        assert value is ... or "_" not in text
        assert value is ... or float(text) == value or (math.isnan(value) and math.isnan(float(text))), text
        assert value is ... or math.isfinite(value) or text.strip(" +-").lower()[:3] in ("nan", "inf"), text


DATES = st.dates().map(str)
CLOCKS = st.datetimes().map(str)
ISO_CLOCKS = st.datetimes().map(datetime.isoformat)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
STAMPS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.one_of(OFFSETS, st.just(UTC)))


@settings(max_examples=40, deadline=None)
@given(many(TIMEISH, DATES, mutated(DATES, "0129-/ T:Z+BC"), mutated(CLOCKS, "0129-: TZ+.")))
def test_an_accepted_date_is_the_day_that_the_text_says_and_loses_no_time(texts: list[str]) -> None:
    for text, value in zip(texts, values(Dates, texts), strict=True):
        if value is not ...:
            said = datetime.fromisoformat(text.strip())
            assert said == datetime(value.year, value.month, value.day), text


@settings(max_examples=40, deadline=None)
@given(many(TIMEISH, CLOCKS, mutated(CLOCKS, "0129-: TZ+."), mutated(ISO_CLOCKS, "0129-: TZ+."), STAMPS.map(str)))
def test_an_accepted_wall_clock_is_what_the_text_says_and_had_no_offset(texts: list[str]) -> None:
    for text, value in zip(texts, values(Clocks, texts), strict=True):
        if value is not ...:
            said = datetime.fromisoformat(text.strip())
            assert said.tzinfo is None and said == value, text


@settings(max_examples=40, deadline=None)
@given(many(TIMEISH, STAMPS.map(str), mutated(STAMPS.map(datetime.isoformat), "0129-: TZ+."), ISO_CLOCKS))
def test_an_accepted_instant_is_what_the_text_says_in_its_offset_or_in_the_zone(texts: list[str]) -> None:
    for text, value in zip(texts, values(Instants, texts), strict=True):
        if value is not ...:
            said = datetime.fromisoformat(text.strip().replace(" Z", "Z"))
            said = said if said.tzinfo else said.replace(tzinfo=UTC)
            assert said == value.replace(tzinfo=UTC), text


@settings(max_examples=25, deadline=None)
@given(st.lists(st.datetimes(datetime(1975, 1, 1), datetime(2037, 1, 1)), min_size=30, max_size=100))
def test_a_clock_in_a_zone_is_its_instant_and_an_hour_left_out_is_refused(clocks: list[datetime]) -> None:
    zone = ZoneInfo("Europe/London")
    clocks += [datetime(2024, 3, 31, 1, 30), datetime(2024, 10, 27, 1, 30)]
    for clock, value in zip(clocks, values(Londoners, [str(c) for c in clocks]), strict=True):
        instant = clock.replace(tzinfo=zone, fold=1).astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) != clock:
            assert value is ...
        else:
            assert value.replace(tzinfo=UTC) == instant


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=20, max_size=60))
def test_every_integer_of_64_bits_is_accepted_as_itself(numbers: list[int]) -> None:
    assert values(Ints, [str(n) for n in numbers]) == numbers
    assert values(Ints, [f"{n}.0" for n in numbers]) == numbers


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=20, max_size=60))
def test_every_float_is_accepted_as_itself(numbers: list[float]) -> None:
    assert values(Floats, [repr(n) for n in numbers]) == numbers


@settings(max_examples=25, deadline=None)
@given(st.lists(st.decimals("-9999999.99", "9999999.99", places=2), min_size=20, max_size=60))
def test_every_decimal_within_its_digits_is_accepted_as_itself(numbers: list[Decimal]) -> None:
    assert values(Decimals, [str(n) for n in numbers]) == numbers
    assert values(Decimals, [f"{n}000" for n in numbers]) == numbers


@settings(max_examples=25, deadline=None)
@given(st.lists(st.datetimes(), min_size=20, max_size=60), st.lists(STAMPS, min_size=20, max_size=60))
def test_every_time_as_python_writes_it_is_accepted_as_itself(clocks: list[datetime], stamps: list[datetime]) -> None:
    days = [c.date() for c in clocks]
    assert values(Clocks, [str(c) for c in clocks]) == clocks
    assert values(Clocks, [c.isoformat() for c in clocks]) == clocks
    assert values(Dates, [str(d) for d in days]) == days
    assert values(Dates, [f"{d} 00:00:00" for d in days]) == days
    naive = [s.astimezone(UTC).replace(tzinfo=None) for s in stamps]
    assert values(Instants, [str(s) for s in stamps]) == naive
    assert values(Instants, [f"{n.isoformat()}Z" for n in naive]) == naive


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dates(date(1000, 1, 1)), min_size=20, max_size=60))
def test_every_day_in_a_given_format_is_accepted_as_itself(days: list[date]) -> None:
    assert values(BritishDates, [f"{d.day:02}/{d.month:02}/{d.year:04}" for d in days]) == days


@settings(max_examples=25, deadline=None)
@given(st.lists(st.uuids(), min_size=20, max_size=60))
def test_every_uuid_is_accepted_as_itself(ids: list[uuid.UUID]) -> None:
    assert values(Uuids, [str(i) for i in ids]) == ids
    assert values(Uuids, [i.hex.upper() for i in ids]) == ids


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def no_constants(word: str) -> Any:
    raise ValueError(word)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.text(), JSON, max_size=4), min_size=5, max_size=20))
def test_every_json_object_is_accepted_as_the_text_it_is(documents: list[Any]) -> None:
    for ascii_only in (True, False):
        texts = [json.dumps(d, ensure_ascii=ascii_only) for d in documents]
        texts = [t for t in texts if "\\u0000" not in t and t.isprintable()]
        assert values(Documents, list(texts)) == texts


@settings(max_examples=40, deadline=None)
@given(
    many(
        mutated(st.lists(JSON, max_size=4).map(json.dumps), '[]{},:"\\/*0129.eEnNI tf'),
        st.text('[]{},:"0Nan1', min_size=1),
    )
)
def test_accepted_json_is_what_the_standard_takes(texts: list[str]) -> None:
    texts = [t for t in texts if t.isprintable()]
    for text, value in zip(texts, values(Documents, list(texts)), strict=True):
        if value is not ...:
            assert isinstance(json.loads(text, parse_constant=no_constants), dict | list)


@pytest.mark.parametrize(
    ("record", "yes", "no"),
    [
        (
            Ints,
            ["0", "-7", "+7", "007", "13995.0", "13995.", " 12 ", "9223372036854775807", "-0"],
            ["13995.7", "9223372036854775808", "1e3", "0x1F", "0b1", "1_000", "1,000", "12x", ".0", "1 2", "nan", "٣"],
        ),
        (
            Floats,
            ["0.1", "1e300", "-.5", "5.", " 1.5 ", "nan", "inf", "-Infinity", "+2", "13995"],
            ["1e400", "-1e999", "1_000.5", "1,5", "0x1p3", "1.5f", "infinit", "--1", "+-1", "+-inf"],
        ),
        (
            Decimals,
            ["12.99", "12.9", "12", "12.990000", "-0.01", "+.5", "5.", "9999999.99"],
            ["12.999", "10000000", "1e2", "1_0.00", "12,99", "NaN", "0.001", "12.99.1"],
        ),
        (Rounded, ["12.999", "0.001", "12"], ["1e2", "1_0.999", "99999999"]),
        (Bools, ["true", "FALSE", "1", "0", "True"], ["yes", "no", "t", "f", "y", "on", "2", "1.0", " true"]),
        (
            Dates,
            ["2024-02-29", "2024-02-29 00:00:00", "2024-02-29T00:00"],
            [
                "2023-02-29",
                "2024-2-9",
                "29/02/2024",
                "2024-02-29 10:00:00",
                "infinity",
                "epoch",
                "2024-02-29T00:00:00Z",
            ],
        ),
        (
            BritishDates,
            ["31/01/2024", "1/2/2024", "2024-02-29"],
            ["31/02/2024", "01/02/24", "2024-02-30", "01.02.2024"],
        ),
        (
            Clocks,
            ["2024-02-29 10:00:00", "2024-02-29T10:00", "2024-02-29", "2024-02-29 10:00:00.123456000"],
            ["2024-02-29T10:00:00Z", "2024-02-29 10:00:00+01:00", "2024-02-29 10:00:00.1234567", "infinity"],
        ),
        (
            Clocks,
            [],
            ["2024-02-29 24:00:00", "2024-02-29T24:00:00", "2024-02-29 10:00:60", "0044-03-15 (BC) 00:00:00", "today"],
        ),
        (
            Instants,
            ["2024-02-29T10:00:00Z", "2024-02-29 10:00:00+01", "2024-02-29 10:00:00 Z", "2024-02-29 10:00-0530"],
            ["2024-02-29 10:00:00 Europe/London", "infinity", "2024-02-29T10:00:5.Z", "2024-02-29T10: 1:00Z", "now"],
        ),
        (Londoners, ["2024-03-31 00:59:59", "2024-03-31 02:00:00"], ["2024-03-31 01:30:00"]),
        (
            NewYorkers,
            ["9999-12-31T18:59:59", "9999-12-31T23:59:59Z", "0001-01-01 00:00:00"],
            ["9999-12-31T23:59:59", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+01:00"],
        ),
        (Uuids, ["00000000-0000-0000-0000-00000000000A"], ["{00000000-0000-0000-0000-000000000001}", "1", "0000-1"]),
        (
            Documents,
            ['{"a": [1, 2.5e3, "x"]}', "{}", ' {"a": "NaN, /* */ ,]"}'],
            ['{"a": NaN}', "{'a': 1}", '{"a": 1,}', "5", '"x"', "nope", '{"a": 1} x', "{/**/}", '{"a": -Infinity}'],
        ),
    ],
)
def test_the_table_of_accepted_texts(record: type[Record], yes: list[str], no: list[str]) -> None:
    assert [t for t, v in zip(yes, values(record, list(yes)), strict=True) if v is ...] == []
    assert [t for t, v in zip(no, values(record, list(no)), strict=True) if v is not ...] == []


@pytest.mark.parametrize("record", [Ints, Floats, Decimals, Bools, Dates, Clocks, Instants, Uuids, Documents])
def test_an_empty_cell_and_an_absent_one_are_null(record: type[Record]) -> None:
    assert values(record, ["", None]) == [None, None]


class Formatted(Record, zone="UTC", time_format="DD/MM/YYYY HH:mm"):
    x: datetime | None
    y: datetime | None = column(format="YYYYMMDDTHHmmssZ", default=None)
    z: date | None = column(format="MMM DD YYYY", default=None)


def test_times_follow_their_formats() -> None:
    staged = stage(
        contract_of(Formatted),
        ["x", "y", "z"],
        [["31/12/2024 23:59", "20241231T235900+0100", "Dec 31 2024"], ["12/31/2024 23:59", None, None]],
    )
    assert staged.accepted == [
        {"x": datetime(2024, 12, 31, 23, 59), "y": datetime(2024, 12, 31, 22, 59), "z": date(2024, 12, 31)}
    ]
    assert staged.reasons == ["x: not a time as %d/%m/%Y %H:%M"]


class Choosy(Record):
    colour: Literal["red", "green"]
    size: Literal[1, 2] | None


def test_a_literal_column_takes_its_choices_alone() -> None:
    staged = stage(contract_of(Choosy), ["colour", "size"], [["red", "1"], ["Red", "2"], ["green", "3"], ["red", ""]])
    assert staged.accepted == [{"colour": "red", "size": 1}, {"colour": "red", "size": None}]
    assert staged.reasons == ["colour: none of red, green", "size: none of 1, 2"]


def test_decimals_of_38_digits_are_exact() -> None:
    class Wide(Record):
        x: Decimal = column(digits=(38, 10))

    text = "1234567890123456789012345678.1234567890"
    assert values(Wide, [text]) == [Decimal(text)]
