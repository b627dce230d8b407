"""Failures of a row as bits of a number: cheap to make for rows that have none, and all of them kept for those that do.

Bits live in words of 62; `_bad` is the first word, `_bad_1` and so on hold the rest, and bit 62 of `_bad` tells that
one of those is not 0. So `_bad = 0` means "no failure" however many there could be. Called by `contract.query`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from headrace.model.fields import literal, quoted

_WORD = 62


@dataclass(frozen=True, slots=True)
class Failure:
    """One way in which a row can fail: the rule's name, its column, the index of the source cell, and words."""

    rule: str
    column: str | None
    cell: int | None
    reason: str


@dataclass
class Mask:
    """Collects failures with their tests.

    `quick` may be true for rows that do not fail, `exact` may not; the exact ones are evaluated only for rows that
    some quick one caught. NULL counts as no failure.
    """

    failures: list[Failure] = field(default_factory=list)
    _tests: list[tuple[str, str]] = field(default_factory=list)

    def add(
        self, rule: str, column: str | None, cell: int | None, reason: str, quick: str, exact: str | None = None
    ) -> None:
        self.failures.append(Failure(rule, column, cell, reason))
        self._tests.append((quick, exact or quick))

    def names(self) -> list[str]:
        """Columns that hold the words, `_bad` first."""
        words = max(1, -(-len(self._tests) // _WORD))
        return ["_bad", *(f"_bad_{i}" for i in range(1, words))]

    def levels(self, brief: bool) -> list[list[str]]:
        """SELECT items that make the words, level by level: one level where one word is enough.

        `brief` leaves the quick tests out: planned in two thirds of the time, which is what a small file costs.
        """
        if not self._tests:
            return [["0::UBIGINT AS _bad"]]
        suspect = " OR ".join(f"({quick})" for quick in dict.fromkeys(q for q, _ in self._tests))
        names = self.names()
        if len(names) == 1:
            return [[f"{self._word(0, '' if brief else suspect)} AS _bad"]]
        words = [
            f"{self._word(i, '' if brief else '_suspect')} AS {name if i else '_bad_0'}" for i, name in enumerate(names)
        ]
        others = " OR ".join(f"{name} <> 0" for name in names[1:])
        first = f"_bad_0 + CASE WHEN {others} THEN {1 << _WORD}::UBIGINT ELSE 0::UBIGINT END AS _bad"
        return [*([] if brief else [[f"({suspect}) AS _suspect"]]), words, [first]]

    def _word(self, word: int, suspect: str) -> str:
        bits = self._tests[word * _WORD : (word + 1) * _WORD]
        each = [f"CASE WHEN {exact} THEN {1 << i}::UBIGINT ELSE 0 END" for i, (_, exact) in enumerate(bits)]
        total = f"({' + '.join(each)})::UBIGINT"
        return f"CASE WHEN {suspect} THEN {total} ELSE 0::UBIGINT END" if suspect else total


def reasons(failures: Sequence[Failure]) -> str:
    """SELECT list: rule, column and value of the first failure of a staged row, and the words for all of them."""
    if not failures:
        nothing = 'NULL::VARCHAR AS "column", NULL::VARCHAR AS value, NULL::VARCHAR AS reason'
        return f"NULL::VARCHAR AS rule, {nothing}"
    tests = [_bit(i) for i in range(len(failures))]
    rule = _first(tests, [literal(f.rule) for f in failures])
    column = _first(tests, [literal(f.column) if f.column else "NULL" for f in failures])
    value = _first(tests, [_value(f) for f in failures])
    words = ", ".join(
        f"CASE WHEN {test} THEN {literal(_words(f))} END" for test, f in zip(tests, failures, strict=True)
    )
    return (
        f'{rule}::VARCHAR AS rule, {column}::VARCHAR AS "column", {value}::VARCHAR AS value, '
        f"concat_ws('; ', {words})::VARCHAR AS reason"
    )


def _bit(index: int) -> str:
    word, bit = divmod(index, _WORD)
    return f"({'_bad' if word == 0 else f'_bad_{word}'} & {1 << bit}::UBIGINT) <> 0"


def _first(tests: Sequence[str], values: Sequence[str]) -> str:
    return "CASE " + " ".join(f"WHEN {t} THEN {v}" for t, v in zip(tests, values, strict=True)) + " END"


def _value(failure: Failure) -> str:
    if failure.cell is not None:
        return f"_cells[{failure.cell + 1}]"
    return f"{quoted(failure.column)}::VARCHAR" if failure.column else "NULL"


def _words(failure: Failure) -> str:
    return f"{failure.column}: {failure.reason}" if failure.column else failure.reason
