"""Every error code can be explained, and every explanation belongs to a code."""

from __future__ import annotations

import re
from pathlib import Path

import headrace
from headrace.model.codes import CODES

SOURCE = Path(headrace.__file__).parent


def used() -> set[str]:
    """Codes that stand in the source as the text of an error (`"HR203"`)."""
    files = (p for p in SOURCE.rglob("*.py") if p.name != "codes.py")
    return {code for path in files for code in re.findall(r"[\"']?(?<!\w)(HR\d{3})", path.read_text("utf-8"))}


def test_every_code_that_is_raised_can_be_explained() -> None:
    assert sorted(used() - set(CODES)) == []


def test_no_explanation_outlives_its_code() -> None:
    assert sorted(set(CODES) - used()) == []


def test_an_explanation_says_nothing_twice() -> None:
    sentences = {code: [s.strip() for s in re.findall(r"[^.]{20,}\.", text)] for code, text in CODES.items()}
    assert [code for code, said in sentences.items() if len(set(said)) < len(said)] == []


def test_an_explanation_is_a_cause_and_ends_as_a_sentence() -> None:
    assert [code for code, text in CODES.items() if not re.search(r"[.)]$", text) or len(text) < 20] == []
