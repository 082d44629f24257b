"""``milepost show``: a group's trackers, with progress bars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich import box
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from milepost.cli.database import manager_on, shown
from milepost.cli.failing import BadInput, run_async
from milepost.cli.options import DEFAULT_DATABASE, AsJson, Database, Declare, Group, Import
from milepost.cli.printing import console, counted, printable
from milepost.limiters.base import BaseLimiter
from milepost.limiters.count import CountLimiter
from milepost.limiters.time import TimeLimiter
from milepost.manager import TrackingManager
from milepost.trackers.snapshot import TrackerSnapshot

__all__ = ["EXAMPLES", "show"]

EXAMPLES: Final = (
    "milepost show user:1",
    "milepost show customer:0001 --database milepost-demo.db",
    "milepost show user:1 --json | jq .progress",
)


def show(
    group: Group,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
    declare: Declare = None,
    imports: Import = None,
) -> None:
    """Show a group's trackers: how far they got, which stage, what limits them.

    The bar is progress towards the current target. Declared trackers that have not moved have no
    row in the database and are shown only with --declare. With --json every tracker is a line.
    """
    rows = run_async(_read(group, manager_on(database, declare=declare, imports=imports, must_exist=True)))
    if not rows:
        raise BadInput(f"there is no group {group!r} in {shown(database)}; `milepost groups` lists what there is")
    if as_json:
        for row in rows:
            print(json.dumps({"group": group, **row.describe()}))
        return
    screen = console()
    screen.print(printable(group), style="bold", soft_wrap=True)
    screen.print(_table(rows))


async def _read(group: str, manager: TrackingManager) -> list[TrackerSnapshot]:
    async with manager:
        return await manager.get_trackers(group)


def _table(rows: Sequence[TrackerSnapshot]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("tracker", overflow="fold", style="cyan")
    table.add_column("", width=20)
    table.add_column("progress", justify="right", overflow="fold")
    table.add_column("stage", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in rows:
        table.add_row(printable(row.name), _bar(row), f"{row.progress} / {row.target}", _stage(row), _state(row))
    return table


def _bar(row: TrackerSnapshot) -> ProgressBar:
    share = 1.0 if row.completed else max(0.0, min(1.0, float(row.progress) / float(row.target)))
    style = "green" if row.completed else "yellow" if row.limited else "blue"
    return ProgressBar(total=1.0, completed=share, width=20, complete_style=style, finished_style=style)


def _stage(row: TrackerSnapshot) -> str:
    return f"{row.current_stage} of {len(row.targets)}"


def _state(row: TrackerSnapshot) -> Text:
    """Return the flags and the limiters of a tracker, a line each."""
    lines: list[tuple[str, str]] = []
    if row.completed_at is not None and row.completed:
        lines.append((f"completed {_moment(row.completed_at)}", "green"))
    if row.cycle:
        lines.append((f"{counted(row.cycle, 'cycle')} done", "green"))
    if row.limited:
        lines.append(("limited", "yellow"))
    if row.expires_at is not None:
        lines.append((f"expires {_moment(row.expires_at)}", "magenta"))
    lines += [(_limiter(limiter), "dim") for limiter in row.limiters]
    text = Text()
    for line, style in lines:
        text.append("\n" if text else "").append(line, style=style)
    return text


def _limiter(limiter: BaseLimiter) -> str:
    if isinstance(limiter, CountLimiter):
        return f"{limiter.remaining} of {limiter.count} moves left"
    if isinstance(limiter, TimeLimiter) and limiter.end is not None:
        return f"open until {_moment(datetime.fromtimestamp(limiter.end).astimezone())}"
    return printable(repr(limiter))


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
