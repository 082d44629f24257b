"""A process that tracks, and says what was acknowledged: one line of JSON on stdin, one line on stdout for each.

The order is ``{"place", "write", "targets", "tasks", "events": [[group, event id or null], …], "stay": bool}``.
It answers ``ready``, and begins when it is sent another line. Then it says ``done`` with the event id, the
group and the ids of the events caused for each, ``tracked`` with the number of races it lost at the end, and
``finished`` when it has closed. What tracks is declared for every group, so that nobody has to be first.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

from milepost import BaseDataStore, CountTracker, MemoryDataCache, MongoDBDataStore, SQLiteDataStore, TrackingManager


def store_at(place: str, **settings: Any) -> BaseDataStore:
    """Return a store at a MongoDB URL, or in a SQLite file, for which the settings are."""
    return MongoDBDataStore(place) if "://" in place else SQLiteDataStore(place, **settings)


def say(word: str, *values: Any) -> None:
    """Write a line that is out when this returns."""
    print(word, json.dumps(values), flush=True)


async def track_all(manager: TrackingManager, events: Iterator[list[str]]) -> None:
    """Track what is left of the events, one after the other."""
    for group, id in events:
        result = await manager.track(group, {}, event_id=id)
        say("done", id, group, [event.id for event in result.events])


async def main(order: dict[str, Any]) -> None:
    """Do what the order says."""
    cache = MemoryDataCache(max_groups=order.get("max_groups", 1000))
    store = store_at(order["place"], synchronous=order.get("synchronous", "NORMAL"))
    async with TrackingManager(cache, store, write=order.get("write", "through"), commit_timeout=60) as manager:
        manager.declare("*", CountTracker(name="events", target=order["targets"]))
        await manager.start()
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
