"""``milepost add``, ``reset`` and ``remove``: changing a group's trackers by hand."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from milepost.cli.database import import_modules, manager_on, shown
from milepost.cli.definitions import trackers_in
from milepost.cli.failing import BadInput, run_async
from milepost.cli.options import DEFAULT_DATABASE, Database, Declare, Group, Import, unicode_text
from milepost.cli.printing import console, counted, printable
from milepost.manager import TrackingManager
from milepost.trackers.base import BaseTracker
from milepost.trackers.policies import ResetPolicy
from milepost.trackers.snapshot import TrackerSnapshot
from milepost.tracking.commands import IfExists

__all__ = ["ADD_EXAMPLES", "REMOVE_EXAMPLES", "RESET_EXAMPLES", "add", "remove", "reset"]

ADD_EXAMPLES: Final = (
    "milepost add user:1 goals.json",
    "milepost add user:1 goals.json --expire 86400 --if-exists replace",
)
RESET_EXAMPLES: Final = ("milepost reset user:1 logins", "milepost reset user:1 logins --policy all")
REMOVE_EXAMPLES: Final = ("milepost remove user:1 logins", "milepost remove user:1")


class Existing(StrEnum):
    """What happens to a tracker of the same name."""

    ERROR = "error"
    KEEP = "keep"
    REPLACE = "replace"


class Policy(StrEnum):
    """What a reset resets."""

    NONE = "none"
    PROGRESS = "progress"
    LIMITER = "limiter"
    ALL = "all"


Definitions = Annotated[
    Path, typer.Argument(metavar="FILE.json", help="A tracker definition, or a list of them.", show_default=False)
]
IfThere = Annotated[Existing, typer.Option("--if-exists", help="What to do about a tracker of the same name.")]
Expire = Annotated[
    float | None,
    typer.Option("--expire", metavar="SECONDS", help="After how many seconds they expire.", show_default=False),
]
Tracker = Annotated[
    str, typer.Argument(metavar="TRACKER", help="The tracker's name.", callback=unicode_text, show_default=False)
]
OneTracker = Annotated[
    str | None,
    typer.Argument(
        metavar="TRACKER",
        help="Its name; without one, all that the group has.",
        callback=unicode_text,
        show_default=False,
    ),
]
WhatToReset = Annotated[
    Policy | None,
    typer.Option("--policy", help="What to reset; by default what the tracker's own policy says.", show_default=False),
]


def add(
    group: Group,
    file: Definitions,
    database: Database = DEFAULT_DATABASE,
    if_exists: IfThere = Existing.ERROR,
    expire: Expire = None,
    imports: Import = None,
) -> None:
    """Add trackers to a group, all or none, from a JSON file.

    The file holds a definition, or a list of them; `tracker.to_definition()` writes one:

        {"kind": "CountTracker", "name": "logins", "target": [10, 50],
         "conditions": [{"kind": "KeyValueEQ", "key": "action", "value": "login"}]}

        {"kind": "AccumulationTracker", "name": "spend", "target": 1000,
         "key": "order.total", "exact": true}
    """
    if expire is not None and not 0 < expire < 1e11:
        raise typer.BadParameter("--expire must be a number of seconds greater than 0")
    import_modules(imports or ())
    trackers = trackers_in(file)
    added = run_async(_add(group, trackers, manager_on(database), if_exists.value, expire))
    console().print(f"{printable(group)} has {_names(added)}")


async def _add(
    group: str, trackers: list[BaseTracker], manager: TrackingManager, if_exists: IfExists, expire: float | None
) -> list[TrackerSnapshot]:
    async with manager:
        return await manager.add_trackers(group, trackers, expire=expire, if_exists=if_exists)


def reset(
    group: Group,
    tracker: Tracker,
    database: Database = DEFAULT_DATABASE,
    policy: WhatToReset = None,
    declare: Declare = None,
    imports: Import = None,
) -> None:
    """Reset a tracker: its progress, its limiters, or both.

    With the progress it returns to its first stage.
    """
    manager = manager_on(database, declare=declare, imports=imports, must_exist=True)
    chosen = None if policy is None else ResetPolicy[policy.name]
    row = run_async(_reset(manager, group, tracker, chosen))
    if row is None:
        raise BadInput(f"group {group!r} has no tracker named {tracker!r} in {shown(database)}")
    stage = f"stage {row.current_stage} of {len(row.targets)}"
    limited = ", limited" if row.limited else ""
    console().print(f"{printable(tracker)} was reset: {row.progress} / {row.target}, {stage}{limited}")


async def _reset(
    manager: TrackingManager, group: str, tracker: str, policy: ResetPolicy | None
) -> TrackerSnapshot | None:
    async with manager:
        await manager.reset_tracker(group, tracker, policy)
        return await manager.get_tracker(group, tracker)


def remove(
    group: Group,
    tracker: OneTracker = None,
    database: Database = DEFAULT_DATABASE,
    declare: Declare = None,
    imports: Import = None,
) -> None:
    """Remove a tracker from a group, or all that the group has. Their progress is gone.

    A declared tracker stays away from the group for good when its declaration is named with
    --declare; otherwise it begins anew with the next datum.
    """
    manager = manager_on(database, declare=declare, imports=imports, must_exist=True)
    if not run_async(_remove(manager, group, tracker)):
        if tracker is None:
            raise BadInput(f"there is no group {group!r} in {shown(database)}")
        raise BadInput(f"group {group!r} has no tracker named {tracker!r} in {shown(database)}")
    what = "all trackers" if tracker is None else printable(tracker)
    console().print(f"removed {what} from {printable(group)}")


async def _remove(manager: TrackingManager, group: str, tracker: str | None) -> bool:
    async with manager:
        return await manager.remove_tracker(group, tracker)


def _names(rows: list[TrackerSnapshot]) -> str:
    return f"{counted(len(rows), 'tracker')}: {', '.join(printable(row.name) for row in rows)}"
