"""``milepost events``: the events that a database keeps."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Final

import typer

from milepost.cli.database import bus_on, shown
from milepost.cli.failing import run_async
from milepost.cli.options import DEFAULT_DATABASE, Stream, unicode_text
from milepost.cli.printing import note, printable

__all__ = ["EXAMPLES", "events"]

EXAMPLES: Final = (
    "milepost events",
    "milepost events 'order.*' --subject 'user:1' --since 2026-01-31T12:00",
    "milepost events 'tracker.*completed' --json | jq .data.name",
    "milepost events --database redis://localhost:6379/0",
)

Pattern = Annotated[
    str,
    typer.Argument(metavar="PATTERN", help="Of event types: * is anything, ? one character.", callback=unicode_text),
]
Subject = Annotated[
    str, typer.Option("--subject", metavar="PATTERN", help="Of what they are about.", callback=unicode_text)
]
Since = Annotated[
    datetime | None, typer.Option("--since", metavar="TIME", help="Not before this local time.", show_default=False)
]
Until = Annotated[
    datetime | None, typer.Option("--until", metavar="TIME", help="Before this local time.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print each as a CloudEvent in JSON.")]


def events(
    pattern: Pattern = "*",
    database: Stream = DEFAULT_DATABASE,
    subject: Subject = "*",
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """List the events that are kept, the oldest first: what was tracked, and what was published.

    A line has the time, the type, what it is about, and the id.
    """
    run_async(_events(pattern, database, subject, since, until, as_json))


async def _events(
    pattern: str, database: str, subject: str, since: datetime | None, until: datetime | None, as_json: bool
) -> None:
    found = False
    async with bus_on(database) as bus:
        begin = None if since is None else since.astimezone()
        end = None if until is None else until.astimezone()
        async for event in bus.history(pattern, subject=subject, since=begin, until=end):
            found = True
            if as_json:
                line = event.encoded()
            else:
                when = event.time.astimezone().isoformat(sep=" ", timespec="seconds")
                line = f"{when}  {printable(event.type)}  {printable(event.subject or '-')}  {printable(event.id)}"
            sys.stdout.write(line + "\n")
    if not found:
        note(f"no event matches in {shown(database)}")
