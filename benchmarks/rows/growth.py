"""Memory, groups of 1 to 100,000 trackers, each datum matches one: how much the time per call grows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from benchmarks.figures import Figure, Row, Target
from benchmarks.measuring import Effort, rates
from milepost import CountTracker, KeyValueEQ, TrackingManager

__all__ = ["ROW"]

_NEVER: Final = 10**12
_SIZES: Final = (1, 100, 10_000, 100_000)
_EVENTS: Final = 10_000


async def _measure(effort: Effort) -> list[Figure]:
    sizes = sorted({1 if size == 1 else effort.size(size) for size in _SIZES})
    made = dict.fromkeys(sizes, 0)
    async with TrackingManager() as manager:

        async def contender(size: int) -> Callable[[], Awaitable[int]]:
            group = f"of-{size}"
            items = [f"item-{n:06}" for n in range(size)]
            await manager.add_trackers(
                group,
                [
                    CountTracker(name=item, target=_NEVER, conditions=[KeyValueEQ(key="item", value=item)])
                    for item in items
                ],
            )
            events = [{"item": item} for item in Random(size).choices(items, k=effort.size(_EVENTS))]

            async def turn() -> int:
                track = manager.track
                for event in events:
                    await track(group, event)
                made[size] += len(events)
                return len(events)

            return turn

        contenders = {str(size): await contender(size) for size in sizes}
        measured = await rates(contenders, effort.repeats)
        for size in sizes:
            counted = sum(tracker.progress for tracker in await manager.get_trackers(f"of-{size}"))
            assert counted == made[size], f"{counted} counted of {made[size]}"

    microseconds = {size: 1e6 / measured[str(size)] for size in sizes}
    return [
        Figure(
            f"{size:,} trackers beside {sizes[0]}",
            "µs/call",
            microseconds[size],
            microseconds[sizes[0]],
            Target("at most", 1.5),
        )
        for size in sizes[1:]
    ]


ROW: Final = Row(
    "growth", "memory, from 1 to 100,000 trackers, 1 matches", lambda effort: asyncio.run(_measure(effort))
)
