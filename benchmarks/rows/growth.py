"""Memory, groups of 1 to 100,000 trackers, each datum matches one: how much the time per call grows.

What is judged goes to a hundred trackers spread through the group. Where the data go to all of them by chance, what
grows is the time that memory takes, for 100,000 states do not fit into a processor's cache: the hand-written counter
over as many states shows how much of it nobody can help.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from benchmarks.figures import Figure, Row, Target
from benchmarks.hand_written import HandSnapshot, hand_written_counter
from benchmarks.measuring import Effort, rates
from milepost import CountTracker, KeyValueEQ, TrackingManager

__all__ = ["ROW"]

_NEVER: Final = 10**12
_SIZES: Final = (1, 100, 10_000, 100_000)
_VISITED: Final = 100
_EVENTS: Final = 10_000

Turn = Callable[[], Awaitable[int]]


class _Groups:
    """One manager with a group of each size, and what takes turns at them."""

    def __init__(self, manager: TrackingManager, events: int) -> None:
        self.manager = manager
        self.events = events
        self.made: dict[int, int] = {}

    async def add(self, size: int) -> list[str]:
        """Add a group; return its trackers' names."""
        names = [f"item-{n:06}" for n in range(size)]
        await self.manager.add_trackers(
            f"of-{size}",
            [CountTracker(name=name, target=_NEVER, conditions=[KeyValueEQ(key="item", value=name)]) for name in names],
        )
        self.made[size] = 0
        return names

    def turn(self, size: int, visited: list[str]) -> Turn:
        """Return what tracks events that go to some of a group's trackers."""
        group = f"of-{size}"
        events = [{"item": name} for name in Random(size).choices(visited, k=self.events)]

        async def take() -> int:
            track = self.manager.track
            for event in events:
                await track(group, event)
            self.made[size] += len(events)
            return len(events)

        return take

    async def check(self) -> None:
        """Every event was counted once."""
        for size, made in self.made.items():
            counted = sum(tracker.progress for tracker in await self.manager.get_trackers(f"of-{size}"))
            assert counted == made, f"{counted} counted of {made}"


def _by_hand(size: int, events: int) -> Turn:
    names = [f"item-{n:06}" for n in range(size)]
    states = {name: HandSnapshot(name, _NEVER, 0, 0, 0.0, None, ()) for name in names}
    track = hand_written_counter(states, "event_type", "login")
    visits = [(name, {"event_type": "login"}) for name in Random(size).choices(names, k=events)]

    async def take() -> int:
        for name, event in visits:
            await track(name, event)
        return len(visits)

    return take


async def _measure(effort: Effort) -> list[Figure]:
    sizes = sorted({1 if size == 1 else effort.size(size) for size in _SIZES})
    largest = sizes[-1]
    events = effort.size(_EVENTS)
    contenders: dict[str, Turn] = {}
    async with TrackingManager() as manager:
        groups = _Groups(manager, events)
        names: list[str] = []
        for size in sizes:
            names = await groups.add(size)
            contenders[str(size)] = groups.turn(size, Random(size).sample(names, min(size, _VISITED)))
        contenders["everywhere"] = groups.turn(largest, names)
        contenders["by hand, 1"] = _by_hand(1, events)
        contenders["by hand, everywhere"] = _by_hand(largest, events)
        measured = await rates(contenders, effort.repeats)
        await groups.check()

    time = {name: 1e6 / rate for name, rate in measured.items()}
    judged = [
        Figure(f"{size:,} trackers beside 1", "µs/call", time[str(size)], time["1"], Target("at most", 1.5))
        for size in sizes[1:]
    ]
    return [
        *judged,
        Figure(f"{largest:,}, data go to all, beside 1", "µs/call", time["everywhere"], time["1"]),
        Figure(
            "growth then, beside hand-written's",
            "x",
            time["everywhere"] / time["1"],
            time["by hand, everywhere"] / time["by hand, 1"],
        ),
    ]


ROW: Final = Row(
    "growth", "memory, from 1 to 100,000 trackers, 1 matches", lambda effort: asyncio.run(_measure(effort))
)
