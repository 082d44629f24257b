"""Memory, 200 declared trackers, 100,000 groups touched once: groups a second, bytes and rows a group.

The memory is what tracemalloc counts, in a pass of its own because tracing slows things down: everything
that is still held after the last group, the group ids among it.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterable, Iterator
from statistics import median
from time import perf_counter
from typing import Final

from benchmarks.dictrack_peer import MISSING_NOTE, dictrack_is_installed, dictrack_manager, dictrack_tracker
from benchmarks.figures import Figure, Row, Target
from benchmarks.measuring import Effort
from milepost import CountTracker, KeyValueEQ, MemoryDataStore, TrackingManager

__all__ = ["ROW"]

_NEVER: Final = 10**12
_TRACKERS: Final = 200
_GROUPS: Final = 100_000
_PEERS_GROUPS: Final = 20
_GOALS: Final = [f"goal-{n:03}" for n in range(_TRACKERS)]
_EVENTS: Final = [{"goal": goal} for goal in _GOALS]


def _ids(groups: int) -> Iterator[str]:
    return (f"user:{n:08}" for n in range(1, groups + 1))


async def _opened() -> tuple[TrackingManager, MemoryDataStore]:
    """Return a manager whose first group has been there; the others find everything compiled."""
    store = MemoryDataStore()
    manager = TrackingManager(data_store=store)
    manager.declare(
        "user:*",
        *(CountTracker(name=goal, target=_NEVER, conditions=[KeyValueEQ(key="goal", value=goal)]) for goal in _GOALS),
    )
    await manager.track("user:first", _EVENTS[0])
    return manager, store


async def _touch(manager: TrackingManager, ids: Iterable[str]) -> None:
    """Touch every group once, each with the next goal."""
    track = manager.track
    n = 0
    for group in ids:
        await track(group, _EVENTS[n])
        n = n + 1 if n + 1 < _TRACKERS else 0


async def _timed(groups: int) -> tuple[float, float]:
    """Return how many groups after the first were touched a second, and how many rows each of them has."""
    manager, store = await _opened()
    ids = list(_ids(groups))
    gc.collect()  # what earlier turns left behind
    began = perf_counter()
    await _touch(manager, ids)
    seconds = perf_counter() - began
    rows = await _rows(store, ids)
    await manager.aclose()
    return groups / seconds, rows / groups


async def _rows(store: MemoryDataStore, ids: list[str]) -> int:
    """Count the rows of all groups; each has that of the goal which moved, with a progress of 1."""
    records = await store.load(ids)
    rows = 0
    for n, group in enumerate(ids):
        moved = records[group].rows
        assert moved[_GOALS[n % _TRACKERS]].progress == 1
        rows += len(moved)
    return rows


async def _bytes_per_group(groups: int) -> float:
    manager, _ = await _opened()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await _touch(manager, _ids(groups))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await manager.aclose()
    return (after - before) / groups


def _peers_seconds_per_group() -> float:
    """Return what dictrack takes for a group: 200 trackers added, one datum."""
    make = dictrack_tracker()
    with dictrack_manager() as manager:
        began = perf_counter()
        for n, group in enumerate(_ids(_PEERS_GROUPS)):
            manager.add_trackers(group, [make(goal, _NEVER, "goal", goal) for goal in _GOALS])
            _, dirtied, _, _ = manager.track(group, _EVENTS[n])
            assert [tracker.name for tracker in dirtied] == [_GOALS[n]]
        return (perf_counter() - began) / _PEERS_GROUPS


def _measure(effort: Effort) -> list[Figure]:
    groups = effort.size(_GROUPS)
    has_peer = dictrack_is_installed()
    turns: list[tuple[float, float]] = []
    peers: list[float] = []
    for _ in range(effort.repeats):
        turns.append(asyncio.run(_timed(groups)))
        if has_peer:
            peers.append(1 / _peers_seconds_per_group())
    return [
        Figure(
            "dictrack: 200 add_tracker each",
            "groups/s",
            median(rate for rate, _ in turns),
            median(peers) if peers else None,
            Target("at least", 100_000, of="value"),
            "" if has_peer else MISSING_NOTE,
        ),
        Figure(
            "memory kept (tracemalloc)",
            "bytes/group",
            asyncio.run(_bytes_per_group(groups)),
            target=Target("at most", 2_000, of="value"),
        ),
        Figure(
            "rows kept, all looked at",
            "rows/group",
            max(rows for _, rows in turns),
            target=Target("at most", 1, of="value"),
        ),
    ]


ROW: Final = Row("declared", "memory, 200 declared trackers, 100,000 groups, 1 matches", _measure)
