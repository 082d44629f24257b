"""Redis under Sentinel: another server becomes the primary in mid-stream, and every count stays exact."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import pytest

from milepost import CommitUncertain, CountTracker, RedisDataCache, TrackingManager
from milepost.maintenance.repartitioning import repartition
from tests.servers.sentinel import ValkeySentinels

pytestmark = pytest.mark.slow

GROUPS = 8


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """Here it may: sentinels are asked over connections that wait."""


def over(sentinels: ValkeySentinels, **settings: object) -> TrackingManager:
    """Return a manager, not started, patient enough for an election."""
    cache = RedisDataCache.from_url(sentinels.url, patience=30.0, timeout=2.0)
    return TrackingManager(cache, commit_timeout=40.0)


async def tracking(manager: TrackingManager, worker: int, goes_on: Callable[[], bool]) -> int:
    """Track every group in turn, each time with an id of its own; return how often."""
    times = 0
    while goes_on():
        for n in range(GROUPS):
            id = f"{worker} {times}"
            while True:
                try:
                    await manager.track(f"g{n}", {}, event_id=id)
                    break
                except CommitUncertain:
                    continue
        times += 1
    return times


async def progress(manager: TrackingManager) -> list[object]:
    """Return how far each group is."""
    found = [await manager.get_tracker(f"g{n}", "n") for n in range(GROUPS)]
    return [None if tracker is None else tracker.progress for tracker in found]


async def in_mid_stream(sentinels: ValkeySentinels, fail: Callable[[], None]) -> None:
    """Have two managers track while the primary changes, and check that every call was counted once."""
    async with over(sentinels) as one, over(sentinels) as other:
        for n in range(GROUPS):
            await one.add_tracker(f"g{n}", CountTracker("n", 1_000_000))
        ends = time.monotonic() + 3600

        async def change() -> None:
            nonlocal ends
            await asyncio.sleep(0.3)
            await asyncio.to_thread(fail)
            ends = time.monotonic() + 1.5

        workers = [tracking(manager, n, lambda: time.monotonic() < ends) for n, manager in enumerate((one, other))]
        _, *times = await asyncio.gather(change(), *workers)
        assert [manager.status().lost for manager in (one, other)] == [0, 0]
        assert await progress(one) == [sum(times)] * GROUPS, times
        assert await progress(other) == [sum(times)] * GROUPS, times
    async with over(sentinels) as later:
        assert await progress(later) == [sum(times)] * GROUPS


async def test_a_failover_on_request(own_sentinels: ValkeySentinels) -> None:
    """``SENTINEL FAILOVER`` under two managers that track the same groups: every call counts once."""

    def fail() -> None:
        _ = own_sentinels.fail_over()

    await in_mid_stream(own_sentinels, fail)


async def test_a_primary_that_is_killed(own_sentinels: ValkeySentinels) -> None:
    """SIGKILL for the primary: managers wait for the election, and every call counts once."""

    def fail() -> None:
        before = own_sentinels.primary
        before.kill()
        _ = own_sentinels.wait_for_another_than(before)

    await in_mid_stream(own_sentinels, fail)


async def test_a_replica_that_was_behind(own_sentinels: ValkeySentinels, caplog: pytest.LogCaptureFixture) -> None:
    """The new primary lacks the last moments: that is noticed, and the process that holds them brings them back."""
    async with over(own_sentinels) as manager:
        for n in range(GROUPS):
            await manager.add_tracker(f"g{n}", CountTracker("n", 1000))
            await manager.track(f"g{n}", {}, event_id="early")
        await asyncio.sleep(0.2)
        await asyncio.to_thread(own_sentinels.cut_off_replicas)
        for n in range(GROUPS):
            for _ in range(4):
                await manager.track(f"g{n}", {})
            await manager.track(f"g{n}", {}, event_id="late")
        await manager.add_tracker("new", CountTracker("n", 1000))
        await manager.remove_tracker("g0")
        before = own_sentinels.primary
        before.kill()
        await asyncio.to_thread(own_sentinels.wait_for_another_than, before)
        with caplog.at_level(logging.WARNING, "milepost"):
            assert (await manager.track("g1", {}, event_id="late")).duplicate
        assert "restarted or replaced" in caplog.text
        assert await progress(manager) == [None] + [6] * (GROUPS - 1)
        assert await manager.get_tracker("new", "n") is not None
        assert manager.status().lost == 0
        assert manager.status().restored >= GROUPS
    async with over(own_sentinels) as later:
        assert await progress(later) == [None] + [6] * (GROUPS - 1)


async def test_another_number_of_partitions(redis_sentinels: ValkeySentinels) -> None:
    """``repartition`` finds the primary through Sentinel as a cache does."""
    cache = RedisDataCache.from_url(redis_sentinels.url, key_prefix="divided", partitions=4)
    async with TrackingManager(cache) as manager:
        await manager.add_tracker("g", CountTracker("n", 10))
    assert (await repartition(redis_sentinels.url, 8, key_prefix="divided")).done
    cache = RedisDataCache.from_url(redis_sentinels.url, key_prefix="divided", partitions=8)
    async with TrackingManager(cache) as manager:
        assert await manager.get_tracker("g", "n") is not None
