"""Where a change was made: frames noted as code and line, made into text when somebody reads them."""

from __future__ import annotations

import sys
from pathlib import PurePath
from types import CodeType
from typing import Final

__all__ = ["Stack", "capture_stack", "stack_text"]

Stack = tuple[tuple[CodeType, int], ...]

_DEEPEST: Final = 25
_OWN_FOLDER: Final = str(PurePath(__file__).parent)


def capture_stack() -> Stack:
    """Return the innermost 25 frames that are not tracking's own, the innermost first."""
    frame = sys._getframe(1)
    found: list[tuple[CodeType, int]] = []
    while frame is not None and len(found) < _DEEPEST:
        if not (frame.f_code.co_filename.startswith(_OWN_FOLDER) and not found):
            found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found)


def stack_text(stack: Stack) -> list[str]:
    """Return frames as Python's tracebacks show them, a line each."""
    return [f'File "{code.co_filename}", line {line}, in {code.co_qualname}' for code, line in stack]
