"""``milepost groups``: the ids of the groups in a database."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from milepost.cli.database import manager_on, shown
from milepost.cli.failing import run_async
from milepost.cli.options import DEFAULT_DATABASE, Database, unicode_text
from milepost.cli.printing import note, printable

__all__ = ["EXAMPLES", "groups"]

EXAMPLES: Final = ("milepost groups", "milepost groups 'user:*' | wc -l")

Pattern = Annotated[
    str,
    typer.Argument(metavar="PATTERN", help="* is anything, ? one character.", callback=unicode_text),
]


def groups(pattern: Pattern = "*", database: Database = DEFAULT_DATABASE) -> None:
    """List the groups in which something was tracked, one id a line, in order."""
    run_async(_groups(pattern, database))


async def _groups(pattern: str, database: str) -> None:
    found = False
    async with manager_on(database, must_exist=True) as manager:
        async for group in manager.groups(pattern):
            found = True
            sys.stdout.write(printable(group) + "\n")
    if not found:
        note(f"no group matches {pattern!r} in {shown(database)}")
