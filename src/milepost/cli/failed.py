"""``milepost failed list``, ``retry`` and ``remove``: deliveries of the event bus that failed for good."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from milepost.bus.bus import EventBus
from milepost.bus.failed import FailedDelivery
from milepost.cli.database import bus_on, shown
from milepost.cli.failing import BadInput, run_async
from milepost.cli.options import DEFAULT_DATABASE, AsJson, Stream, unicode_text
from milepost.cli.printing import console, counted, note, printable

__all__ = ["REMOVE_EXAMPLES", "RETRY_EXAMPLES", "SHOW_EXAMPLES", "remove", "retry", "show"]

SHOW_EXAMPLES: Final = ("milepost failed list", "milepost failed list 'order.*' --json | jq .traceback -r")
RETRY_EXAMPLES: Final = (
    "milepost failed retry 4d7c0a31f2e85b96a0c1d2e3f4051627",
    "milepost failed retry --all 'order.*'",
)
REMOVE_EXAMPLES: Final = (
    "milepost failed remove 4d7c0a31f2e85b96a0c1d2e3f4051627",
    "milepost failed remove --all 'test.*'",
)

Pattern = Annotated[
    str,
    typer.Argument(metavar="PATTERN", help="Of event types: * is anything, ? one character.", callback=unicode_text),
]
Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="As `milepost failed list` shows them.", show_default=False),
]
All = Annotated[
    str | None,
    typer.Option(
        "--all",
        metavar="PATTERN",
        help="All whose event's type matches, instead of ids: * is anything, ? one character.",
        callback=unicode_text,
        show_default=False,
    ),
]


def show(pattern: Pattern = "*", database: Stream = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """List the deliveries that failed for good, the oldest first.

    With --json each is a line with its event and its traceback.
    """
    jobs = run_async(_list(pattern, bus_on(database)))
    for job in jobs:
        if as_json:
            print(json.dumps(_described(job)))
        else:
            _print(job)
    if not jobs:
        note(f"nothing has failed in {shown(database)}")


async def _list(pattern: str, bus: EventBus) -> list[FailedDelivery]:
    async with bus:
        return await bus.get_failed_jobs(pattern)


def _described(job: FailedDelivery) -> dict[str, object]:
    return {
        "id": job.id,
        "event": json.loads(job.event.encoded()),
        "handler": job.handler,
        "consumer": job.consumer,
        "attempts": job.attempts,
        "error": job.reason,
        "failed_at": job.failed_at,
        "retrying": job.retrying,
        "traceback": job.traceback,
    }


def _print(job: FailedDelivery) -> None:
    about = printable(job.event.subject or "-")
    again = ", to be run again" if job.retrying else ""
    screen = console()
    screen.print(f"{job.id}  {printable(job.event.type)}  {about}", style="bold", soft_wrap=True)
    screen.print(f"  {printable(job.handler)}: {counted(job.attempts, 'attempt')}{again}", soft_wrap=True)
    screen.print(f"  {printable(job.reason)}", style="red", soft_wrap=True)


def retry(ids: Ids = None, database: Stream = DEFAULT_DATABASE, every: All = None) -> None:
    """Have failed deliveries run again, by the programs that have their handlers.

    One that succeeds leaves the list; one that fails again stays.
    """
    asked = run_async(_retry(bus_on(database), ids or (), every))
    console().print(f"{counted(asked, 'delivery', 'deliveries')} will be run again")


async def _retry(bus: EventBus, ids: Sequence[str], every: str | None) -> int:
    _check(ids, every)
    async with bus:
        return await bus.retry_jobs(every) if every is not None else await bus.failing.ask(await _known(bus, ids))


def remove(ids: Ids = None, database: Stream = DEFAULT_DATABASE, every: All = None) -> None:
    """Remove failed deliveries; they are not run again."""
    removed = run_async(_remove(bus_on(database), ids or (), every))
    console().print(f"removed {counted(removed, 'delivery', 'deliveries')}")


async def _remove(bus: EventBus, ids: Sequence[str], every: str | None) -> int:
    _check(ids, every)
    async with bus:
        return await bus.remove_jobs(every) if every is not None else await bus.failing.remove(await _known(bus, ids))


def _check(ids: Sequence[str], every: str | None) -> None:
    if bool(ids) == (every is not None):
        raise typer.BadParameter("name the deliveries by their ids, or with --all PATTERN")


async def _known(bus: EventBus, ids: Sequence[str]) -> Sequence[str]:
    known = {job.id for job in await bus.get_failed_jobs()}
    for id in ids:
        if id not in known:
            raise BadInput(f"there is no failed delivery {id!r}; `milepost failed list` shows what there is")
    return ids
