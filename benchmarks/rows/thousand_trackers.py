"""Memory, a thousand trackers in one group, each datum matches one: milepost and dictrack."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from random import Random
from typing import Final

from benchmarks.dictrack_peer import MISSING_NOTE, dictrack_is_installed, dictrack_manager, dictrack_tracker
from benchmarks.figures import Figure, Row, Target
from benchmarks.measuring import Effort, rates
from milepost import CountTracker, KeyValueEQ, TrackingManager

__all__ = ["ROW"]

_GROUP: Final = "shop"
_NEVER: Final = 10**12
_TRACKERS: Final = 1_000
_EVENTS: Final = 20_000
_PEERS_EVENTS: Final = 10


async def _measure(effort: Effort) -> list[Figure]:
    items = [f"item-{n:06}" for n in range(_TRACKERS)]
    events = [{"item": item} for item in Random(1).choices(items, k=effort.size(_EVENTS))]
    fewer = events[:_PEERS_EVENTS]
    made = {"milepost": 0, "dictrack": 0}

    with ExitStack() as stack:
        manager = TrackingManager()
        await manager.add_trackers(
            _GROUP,
            [CountTracker(name=item, target=_NEVER, conditions=[KeyValueEQ(key="item", value=item)]) for item in items],
        )

        async def milepost() -> int:
            track = manager.track
            for event in events:
                await track(_GROUP, event)
            made["milepost"] += len(events)
            return len(events)

        contenders: dict[str, Callable[[], Awaitable[int]]] = {"milepost": milepost}
        peer = None
        if dictrack_is_installed():
            make = dictrack_tracker()
            peer = stack.enter_context(dictrack_manager())
            peer.add_trackers(_GROUP, [make(item, _NEVER, "item", item) for item in items])

            async def dictrack() -> int:
                for event in fewer:
                    peer.track(_GROUP, event)
                made["dictrack"] += len(fewer)
                return len(fewer)

            contenders["dictrack"] = dictrack

        measured = await rates(contenders, effort.repeats)

        assert sum(tracker.progress for tracker in await manager.get_trackers(_GROUP)) == made["milepost"]
        if peer is not None:
            assert sum(tracker.progress for tracker in peer.get_trackers(_GROUP)) == made["dictrack"]
        await manager.aclose()

    return [
        Figure(
            "dictrack 2.1.5, repaired",
            "calls/s",
            measured["milepost"],
            measured.get("dictrack"),
            Target("at least", 3_000),
            "" if peer is not None else MISSING_NOTE,
        )
    ]


ROW: Final = Row("thousand-trackers", "memory, 1,000 trackers, 1 matches", lambda effort: asyncio.run(_measure(effort)))
