"""The ``demo`` command: replays the purchases and closes with what the database says."""

from __future__ import annotations

import asyncio
from math import ceil
from typing import Annotated, Final

import typer
from rich.console import Console

from milepost.cli.database import manager_on, shown
from milepost.cli.demo.board import Board
from milepost.cli.demo.goals import GOALS, Standings, added_up, declare_goals
from milepost.cli.demo.purchases import Purchase, purchases
from milepost.cli.demo.replay import Position, replay
from milepost.cli.demo.tables import standings_table
from milepost.cli.failing import run_async
from milepost.cli.options import unicode_text
from milepost.cli.printing import console
from milepost.events.types import TrackerAllCompleted, TrackerStageCompleted
from milepost.manager import TrackingManager

__all__ = ["EXAMPLES", "demo"]

EXAMPLES: Final = (
    "milepost demo",
    "milepost demo --fast --database /tmp/demo.db",
    "milepost show customer:0001 --database milepost-demo.db",
)

_DATABASE: Final = "milepost-demo.db"
_FRAMES_PER_SECOND: Final = 15
_BATCH: Final = 1000

Fast = Annotated[bool, typer.Option("--fast", help="No animation: as fast as the engine is.")]
Where = Annotated[
    str,
    typer.Option("--database", "-d", metavar="PATH|URL", help="The SQLite file to track into.", callback=unicode_text),
]
Seconds = Annotated[float, typer.Option("--seconds", min=0.1, max=600, help="How long the animation takes, about.")]


def demo(fast: Fast = False, database: Where = _DATABASE, seconds: Seconds = 12.0) -> None:
    """Track 6919 real purchases by 2357 customers of a music shop (CDNOW, 1997 and 1998).

    Every customer is a group, with two declared trackers: what they spend (50, 100, 250, 500 and
    1000 dollars) and how often they order (2, 5, 10 and 25 times). Progress goes into a SQLite file.

    Stop it with Ctrl-C and run it again: it goes on from the file. Every purchase has an event id, so none
    counts twice.
    """
    screen = console()
    animated = Board.fits(screen) and not fast
    agrees = run_async(
        _demo(manager_on(database), purchases(), shown(database), screen, seconds if animated else None),
        interrupted="stopped; run it again and it goes on from here",
    )
    if not agrees:
        raise typer.Exit(1)


async def _demo(
    manager: TrackingManager, everything: list[Purchase], database: str, screen: Console, seconds: float | None
) -> bool:
    """Run the demo; return whether the database agrees with the file of purchases."""
    declare_goals(manager)
    customers = len({purchase.customer for purchase in everything})
    screen.print(f"Tracking {len(everything)} purchases by {customers} customers into {database}", soft_wrap=True)
    async with manager:
        clock = asyncio.get_running_loop()
        begun = clock.time()
        if seconds is None:
            position = await _quickly(manager, everything)
        else:
            position = await _animated(manager, everything, screen, customers, seconds)
        took = clock.time() - begun
        standings = await Standings.read(manager)
    screen.print(_what_happened(position, database, took if seconds is None else None), soft_wrap=True)
    screen.print()
    screen.print(standings_table(standings, customers))
    screen.print()
    return _total(screen, standings, everything, database)


async def _quickly(manager: TrackingManager, everything: list[Purchase]) -> Position:
    positions = [position async for position in replay(manager, everything, _BATCH)]
    return positions[-1]


async def _animated(
    manager: TrackingManager, everything: list[Purchase], screen: Console, customers: int, seconds: float
) -> Position:
    """Replay at a pace for people; what is in the database already takes no time."""
    board = Board(screen, await Standings.read(manager), len(everything), customers)
    manager.add_listener(TrackerStageCompleted, board.note)
    manager.add_listener(TrackerAllCompleted, board.note)
    batch = ceil(len(everything) / (seconds * _FRAMES_PER_SECOND))
    clock = asyncio.get_running_loop()
    due = clock.time()
    positions: list[Position] = []
    with board.live:
        async for position in replay(manager, everything, batch):
            positions.append(position)
            board.show(position)
            if position.fresh:
                due = max(due + 1 / _FRAMES_PER_SECOND, clock.time())
                await asyncio.sleep(due - clock.time())
    return positions[-1]


def _what_happened(position: Position, database: str, took: float | None) -> str:
    known = position.done - position.new
    if not position.new:
        return f"{database} has them all already, known by their event ids: nothing was counted twice"
    speed = "" if took is None else f" in {took:.1f} s"
    said = f"{position.new} purchases tracked{speed}"
    return said if not known else f"{said}; {known} were there already, known by their event ids, and not counted twice"


def _total(screen: Console, standings: Standings, everything: list[Purchase], database: str) -> bool:
    expected = added_up(everything)
    agrees = standings == expected
    screen.print(f"Total spend: {standings.spend} dollars, by {standings.customers} customers.")
    last = GOALS["spend"][-1]
    screen.print(f"(A tracker rests at its last target: what comes after ${last} is not in it.)", style="dim")
    if agrees:
        screen.print("Exactly what adding up the file without the engine gives.", style="green")
    else:
        screen.print(f"That is not what the file adds up to ({expected.spend}): something else has changed {database}.")
    screen.print()
    screen.print(f"Look closer: milepost show {standings.best} --database {database}", style="dim")
    return agrees
