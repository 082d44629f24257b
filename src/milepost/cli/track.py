"""``milepost track``: JSON lines in, progress into a database, events out."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Final

import typer

from milepost.cli.database import manager_on
from milepost.cli.event_output import EventOutput
from milepost.cli.failing import run_async
from milepost.cli.line_format import LineFormat
from milepost.cli.line_source import LineSource, opened
from milepost.cli.line_tracking import LineTracking
from milepost.cli.options import DEFAULT_DATABASE, Database, Declare, Import, unicode_text
from milepost.cli.printing import note
from milepost.manager import TrackingManager

__all__ = ["EXAMPLES", "track"]

EXAMPLES: Final = (
    "milepost track purchases.jsonl --declare goals.json",
    "milepost track purchases.jsonl --group-key user_id --group-prefix user: --id-key id",
    "tail -f app.log | milepost track --skip-bad | jq -r .data.name",
)

File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="A file of JSON lines; without it, or with -, stdin.", show_default=False),
]
GroupKey = Annotated[
    str | None,
    typer.Option(
        "--group-key",
        metavar="KEY",
        help="Lines are flat: each is the datum, its group's id is here.",
        show_default=False,
    ),
]
IdKey = Annotated[
    str | None,
    typer.Option("--id-key", metavar="KEY", help="Where a flat line has its event id.", show_default=False),
]
TimeKey = Annotated[
    str | None,
    typer.Option("--time-key", metavar="KEY", help="Where a flat line says when it happened.", show_default=False),
]
Prefix = Annotated[
    str,
    typer.Option(
        "--group-prefix",
        metavar="TEXT",
        help="Put this before every group's id.",
        callback=lambda value: unicode_text(value) if value else "",
    ),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Report a bad line and go on.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]


def track(
    file: File = None,
    database: Database = DEFAULT_DATABASE,
    declare: Declare = None,
    group_key: GroupKey = None,
    id_key: IdKey = None,
    time_key: TimeKey = None,
    group_prefix: Prefix = "",
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
    imports: Import = None,
) -> None:
    """Track JSON lines into a database, and print the events they cause as JSON lines.

    A line names a group and a datum. An event id and a time (epoch seconds, or ISO 8601 with a
    UTC offset) are welcome:

        {"group": "user:1", "data": {"amount": 9.99}, "event_id": "o-17",
         "time": "2025-03-01T12:00:00Z"}

    With --group-key a line is the datum itself, and the keys, dotted paths, say what is where in it.
    Blank lines are nothing. A line with an event id counts once, however often the file is tracked:
    every group remembers its last 256 ids.

    --declare gives trackers to all groups of a pattern, without a row for each before it moves:

        {"user:*": [{"kind": "CountTracker", "name": "logins", "target": [10, 50]}]}

    A list of definitions without a pattern is for every group.

    A bad line ends it with status 2: the lines before it are applied, nothing after it is. With
    --skip-bad it is reported and left out, and the status is 0.

    Events are CloudEvents. Each is printed once its change is committed.
    """
    if group_key is None and (id_key is not None or time_key is not None):
        raise typer.BadParameter("--id-key and --time-key are for flat lines; give --group-key too")
    form = LineFormat(group_key, id_key, time_key, group_prefix)
    path = None if file is None or str(file) == "-" else file
    with opened(path) as source:
        manager = manager_on(database, declare=declare, imports=imports)
        run_async(_track(manager, source, form, skip_bad=skip_bad, quiet=quiet))


async def _track(
    manager: TrackingManager, source: LineSource, form: LineFormat, *, skip_bad: bool, quiet: bool
) -> None:
    async with manager:
        with EventOutput(source.size, quiet=quiet) as output:
            tracking = LineTracking(manager, form, output, skip_bad)
            try:
                async with aclosing(source.chunks()) as chunks:
                    async for chunk in chunks:
                        await tracking.apply(chunk)
            except BrokenPipeError:
                note(f"milepost: nobody reads stdout any more; stopped after line {tracking.number}")
                raise
        if not quiet:
            note(tracking.summary())
