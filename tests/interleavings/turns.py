"""A process that takes turns: a place on the first line of stdin, then a line for each thing to do, each answered.

What to do is a list in JSON: ``["add", group, name, targets]``, ``["track", group]``, ``["remove", group, name]``,
``["reset", group, name]`` or ``["show", group]``. The answer is what ``show`` says: progress by name; after ``track``
what was moved, and the milestones that were reached.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from milepost import CountTracker, ResetPolicy, TrackingManager
from tests.interleavings.setups import build, progress_of

__all__ = ["act"]


async def act(manager: TrackingManager, what: str, group: str, *rest: Any) -> Any:
    """Do one thing and return the answer."""
    if what == "track":
        result = await manager.track(group, {})
        reached = [event.type.rpartition(".")[2] for event in result.events]
        return [{tracker.name: tracker.progress for tracker in result.dirtied}, reached]
    if what == "add":
        name, targets = rest
        await manager.add_tracker(group, CountTracker(name, targets))
    elif what == "remove":
        await manager.remove_tracker(group, *rest)
    elif what == "reset":
        await manager.reset_tracker(group, *rest, ResetPolicy.ALL)
    return await progress_of(manager, group)


async def main() -> None:
    """Take turns until stdin ends."""
    place = json.loads(await asyncio.to_thread(sys.stdin.readline))
    async with TrackingManager(**build(place)) as manager:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await act(manager, *json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
