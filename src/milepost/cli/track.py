"""``milepost track``: JSON lines in, progress into a database, events out."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Final

import typer

from milepost.cli.database import manager_on
from milepost.cli.event_output import EventOutput
from milepost.cli.failing import BadInput, run_async
from milepost.cli.line_format import BadLine, LineFormat
from milepost.cli.line_source import LineSource, opened
from milepost.cli.options import DEFAULT_DATABASE, Database, Declare, Import, unicode_text
from milepost.cli.printing import counted, note, printable
from milepost.errors import UndecodableError
from milepost.manager import TrackingManager, TrackItem
from milepost.tracking.result import TrackResult

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
            tracking = _Tracking(manager, form, output, skip_bad)
            async with aclosing(source.chunks()) as chunks:
                async for chunk in chunks:
                    await tracking.apply(chunk)
        if not quiet:
            note(tracking.summary())


class _Tracking:
    """Applies chunks of lines in order, and counts what became of them."""

    def __init__(self, manager: TrackingManager, form: LineFormat, output: EventOutput, skip_bad: bool) -> None:
        self._manager = manager
        self._form = form
        self._output = output
        self._skip_bad = skip_bad
        self._number = 0
        self.applied = self.known = self.unmoved = self.skipped = self.rejected = 0
        self.first_rejected = ""

    async def apply(self, chunk: list[bytes]) -> None:
        """Apply a chunk.

        Raises:
            BadInput: for a bad line, unless they are skipped; what stands before it is applied.
        """
        items: list[TrackItem] = []
        numbers: list[int] = []
        for line in chunk:
            self._number += 1
            if self._number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                items.append(self._form.item(line))
            except BadLine as error:
                message = f"line {self._number}: {error}"
                if not self._skip_bad:
                    await self._send(items, numbers)
                    raise BadInput(f"{message}; {self._so_far()}, nothing after it was") from None
                self._skip(message)
            else:
                numbers.append(self._number)
        await self._send(items, numbers)
        self._output.advance(len(chunk), sum(map(len, chunk)) + len(chunk))

    async def _send(self, items: list[TrackItem], numbers: list[int]) -> None:
        results = await self._manager.track_many(items)
        failed: tuple[int, Exception] | None = None
        for number, result in zip(numbers, results, strict=True):
            if result.error is not None:
                if self._skip_bad and isinstance(result.error, UndecodableError | ValueError):
                    self._skip(f"line {number}: {result.error}")
                else:
                    failed = failed or (number, result.error)
            else:
                self._count(number, result)
        self._output.write(event for result in results for event in result.events)
        if failed is not None:
            raise BadInput(f"line {failed[0]}: {failed[1]}; {self._so_far()}, some after it may be applied too")

    def _count(self, number: int, result: TrackResult) -> None:
        if result.duplicate:
            self.known += 1
            return
        self.applied += 1
        if result.rejected:
            self.rejected += 1
            name, reason = result.rejected[0]
            self.first_rejected = self.first_rejected or f"line {number}, tracker {name!r}: {reason}"
        elif not result.dirtied:
            self.unmoved += 1

    def _skip(self, message: str) -> None:
        self.skipped += 1
        note(f"milepost: {printable(message)}; skipped")

    def _so_far(self) -> str:
        return f"the {counted(self.applied + self.known, 'line')} before it were applied"

    def summary(self) -> str:
        """Return what became of the lines, in one line for people."""
        parts = [f"{counted(self.applied, 'line')} applied", f"{counted(self._output.events, 'event')}"]
        if self.known:
            parts.append(f"{self.known} known before by their event ids")
        if self.unmoved:
            parts.append(f"{self.unmoved} moved nothing")
        if self.skipped:
            parts.append(f"{self.skipped} skipped")
        if self.rejected:
            parts.append(f"{self.rejected} rejected by a tracker (first: {printable(self.first_rejected)})")
        return ", ".join(parts)
