"""A loop of ``track`` calls that never suspend starves nobody."""

from __future__ import annotations

import asyncio

from milepost import CountTracker, TrackingManager, TrackItem


async def test_a_tight_loop_lets_a_timer_fire(in_memory: TrackingManager) -> None:
    """Although a memory ``track`` does not suspend, a timer fires and other tasks run meanwhile."""
    await in_memory.add_tracker("g", CountTracker("n", 10**9))
    fired = asyncio.Event()
    asyncio.get_running_loop().call_later(0, fired.set)
    for _ in range(2000):
        await in_memory.track("g", {})
        if fired.is_set():
            break
    assert fired.is_set()


async def test_a_timeout_ends_a_tight_loop(in_memory: TrackingManager) -> None:
    """``asyncio.timeout`` around an endless loop of ``track`` works."""
    await in_memory.add_tracker("g", CountTracker("n", 10**9))
    calls = 0
    try:
        async with asyncio.timeout(0.01):
            while calls < 10_000_000:
                await in_memory.track("g", {})
                calls += 1
    except TimeoutError:
        pass
    assert calls < 10_000_000
    tracker = await in_memory.get_tracker("g", "n")
    assert tracker is not None
    assert tracker.progress == calls


async def test_track_many_lets_others_run(in_memory: TrackingManager) -> None:
    """A long ``track_many`` lets a timer fire before it is done."""
    await in_memory.add_tracker("g", CountTracker("n", 10**9))
    done: list[str] = []
    asyncio.get_running_loop().call_later(0, done.append, "timer")
    await in_memory.track_many(TrackItem("g", {}) for _ in range(5000))
    done.append("items")
    assert done == ["timer", "items"]


async def test_calls_that_change_nothing_are_fair_too(in_memory: TrackingManager) -> None:
    """Data that match nothing, and groups that have no trackers, let a timer fire as well."""
    fired = asyncio.Event()
    asyncio.get_running_loop().call_later(0, fired.set)
    for i in range(2000):
        await in_memory.track(f"{i % 3}", {})
    assert fired.is_set()


async def test_other_calls_are_fair_too(in_memory: TrackingManager) -> None:
    """A loop that only reads, explains or resets lets a timer fire as well."""
    await in_memory.add_tracker("g", CountTracker("n", 9))
    for call in (
        lambda: in_memory.get_trackers("g"),
        lambda: in_memory.explain("g", {}),
        lambda: in_memory.reset_tracker("g", "n"),
    ):
        fired = asyncio.Event()
        asyncio.get_running_loop().call_later(0, fired.set)
        for _ in range(2000):
            await call()
        assert fired.is_set()
