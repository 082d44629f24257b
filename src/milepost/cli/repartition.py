"""``milepost repartition``: dividing what is in Redis into another number of partitions."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.progress import BarColumn, Progress, TextColumn

from milepost.cli.failing import run_async
from milepost.cli.options import unicode_text
from milepost.cli.printing import console, counted, note, printable

if TYPE_CHECKING:
    from milepost.maintenance.repartitioning import Repartitioned

__all__ = ["EXAMPLES", "repartition"]

EXAMPLES: Final = (
    "milepost repartition redis://localhost:6379/0 32 --dry-run",
    "milepost repartition redis+cluster://localhost:7000 64 --key-prefix shop",
)

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="Of Redis, as RedisDataCache.from_url takes it.", callback=unicode_text, show_default=False
    ),
]
Number = Annotated[
    int, typer.Argument(metavar="PARTITIONS", help="How many there shall be.", min=1, max=4096, show_default=False)
]
Prefix = Annotated[
    str,
    typer.Option("--key-prefix", metavar="PREFIX", help="What the keys in Redis begin with.", callback=unicode_text),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Force = Annotated[bool, typer.Option("--force", help="Turn managers away that have the data open.")]


def repartition(
    url: Url, partitions: Number, key_prefix: Prefix = "milepost", dry_run: DryRun = False, force: Force = False
) -> None:
    """Divide what is in Redis into another number of partitions.

    Stop the programs that use it first, and start them with the new number afterwards. Until then nobody can open the
    data, and who still has them open is turned away with an error that names this command.

    When it was interrupted, the same command goes on. A backup beforehand is wise all the same: Redis
    itself may lose what it has not kept.
    """
    outcome = run_async(
        _divide(url, partitions, key_prefix, dry_run=dry_run, force=force),
        interrupted="interrupted; the same command goes on, and until then nobody can open the data",
    )
    _report(outcome, dry_run=dry_run)


async def _divide(url: str, partitions: int, key_prefix: str, *, dry_run: bool, force: bool) -> Repartitioned:
    from milepost.maintenance.repartitioning import repartition as divide  # it imports a driver

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[events]}"), console=console()
    )
    with bar if bar.console.is_terminal else nullcontext() as shown:
        task = None if shown is None else shown.add_task("looking", total=None, events="")

        def show(so_far: Repartitioned) -> None:
            if shown is not None and task is not None:
                moved = so_far.moved
                shown.update(
                    task,
                    total=so_far.found,
                    completed=moved.records,
                    description=f"{moved.records} of {counted(so_far.found, 'record')}",
                    events=counted(moved.events, "event"),
                )

        return await divide(url, partitions, key_prefix=key_prefix, dry_run=dry_run, force=force, told=show)


def _report(outcome: Repartitioned, *, dry_run: bool) -> None:
    change = f"{outcome.before} to {counted(outcome.after, 'partition')}"
    if outcome.live:
        note(f"managers have the data open, from {printable(', '.join(outcome.live))}")
    if outcome.done and outcome.before == outcome.after:
        console().print(f"there are {counted(outcome.after, 'partition')} already")
        return
    if dry_run:
        verb = "go on from" if outcome.resumed else "go from"
        console().print(f"would {verb} {change}: {counted(outcome.found, 'record')} to move; nothing was changed")
        return
    moved = outcome.moved
    console().print(f"{'went on' if outcome.resumed else 'went'} from {change}", style="bold")
    console().print(
        f"moved {counted(moved.records, 'record')}, {counted(moved.events, 'event')}, "
        f"{counted(moved.deadlines, 'deadline')} and {counted(moved.unsaved, 'mark')} of what the store has not seen; "
        f"{counted(moved.definitions, 'definition')} put where they are needed",
        soft_wrap=True,
    )
