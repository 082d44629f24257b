"""A process that tracks, and says what was acknowledged: one line of JSON on stdin, one line on stdout for each.

The order is ``{"where": […], "targets", "tasks", "events": [[group, event id or null], …], "stay": bool, "doom"}``.
It answers ``ready``, and begins when it is sent another line. Then it says ``done`` with the event id, the
group, the ids of the events caused and whether it was known already for each, ``tracked`` with the number of races
it lost at the end, and ``finished`` when it has closed. What tracks is declared for every group, so that nobody has
to be first. ``doom`` is the point and the number at which it kills itself, in a SQLite file.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

from milepost import CountTracker, TrackingManager
from tests.durability.doomed import DoomedStore
from tests.survival.where import Where


def say(word: str, *values: Any) -> None:
    """Write a line that is out when this returns."""
    print(word, json.dumps(values), flush=True)


async def track_all(manager: TrackingManager, events: Iterator[list[str]]) -> None:
    """Track what is left of the events, one after the other."""
    for group, id in events:
        result = await manager.track(group, {}, event_id=id)
        say("done", id, group, [event.id for event in result.events], result.duplicate)


async def main(order: dict[str, Any]) -> None:
    """Do what the order says."""
    where = Where(*order["where"])
    doomed = DoomedStore(where.store.removeprefix("sqlite:///"), *order["doom"]) if order.get("doom") else None
    async with where.manager(data_store=doomed, commit_timeout=60, flush_interval=0.1) as manager:
        manager.declare("*", CountTracker(name="events", target=order["targets"]))
        if doomed is not None:
            await doomed.arm()
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        events = iter(order["events"])
        async with asyncio.TaskGroup() as tasks:
            for _ in range(order.get("tasks", 8)):
                tasks.create_task(track_all(manager, events))
        say("tracked", manager.status().conflicts)
        if order.get("stay"):
            await asyncio.Event().wait()
    say("finished")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
