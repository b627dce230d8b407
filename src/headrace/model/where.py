"""Where in the user's code something was declared, and what they may have meant.

Called while a definition is constructed (frames are still there); `contract.bind` uses the places later on.
"""

from __future__ import annotations

import ast
import difflib
import linecache
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

_OURS = str(Path(__file__).resolve().parent)


def caller() -> FrameType | None:
    """The innermost frame outside this package's vocabulary: the line that the user wrote."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (frame.f_code.co_filename.startswith((_OURS, "<string>"))):
        frame = frame.f_back
    return frame


def here() -> str:
    """`file:line` of the user's present statement, with the file's bare name; "" where there is no frame."""
    frame = caller()
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame else ""


def column_lines(filename: str, class_line: int) -> dict[str, int]:
    """Line of each annotated name in the class that begins at `class_line`; {} where the source cannot be read."""
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:
        return {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.lineno == class_line:
            return {
                item.target.id: item.lineno
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            }
    return {}


def meant(word: str, possible: Iterable[str]) -> str:
    """`did you mean 'x'?`, or all that is possible where nothing is close."""
    names = list(dict.fromkeys(possible))
    folded = {n.casefold(): n for n in names}
    close = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.5)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"possible are {shown}" if names else "nothing is possible here"
