"""Where output goes, and how names that came from outside are shown."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from rich.console import Console

__all__ = ["console", "counted", "hush_stdout", "note", "printable"]


def console(*, stderr: bool = False) -> Console:
    """Return a console for what the command prints. Nothing in it is markup, nothing is guessed."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def printable(text: str) -> str:
    """Return text on one line in which control characters are written as escapes.

    Names come from databases and from lines of input; none may move the cursor or begin a new line.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def note(message: str) -> None:
    """Write a line for people to stderr, so that stdout stays a program's to read."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(message, file=sys.stderr, flush=True)


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return "1 line" or "2 lines"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def hush_stdout() -> None:
    """Let whatever is still written to a closed stdout go nowhere, without a complaint at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
