"""What each error code means, for `headrace explain CODE`: a sentence on the cause, one on what to do."""

from __future__ import annotations

import re

from headrace.model.errors import UsageError

CODES: dict[str, str] = {}


def is_code(text: str) -> bool:
    """Whether a text has the form of a code."""
    return re.fullmatch(r"HR\d{3}", text, re.IGNORECASE) is not None


def explain_code(code: str) -> str:
    """The paragraph of a code. Raises UsageError HR131 for one that does not exist."""
    code = code.upper()
    if code not in CODES:
        raise UsageError("HR131", code, "there is no such code", "codes stand in front of each error")
    return CODES[code]
