"""``status`` and ``settle``."""

from __future__ import annotations

import asyncio

from milepost import CountTracker, MemoryDataCache, TrackerAdded, TrackerEvent, TrackingManager
from tests.conftest import Place


async def test_status_tells_what_goes_on(place: Place) -> None:
    """``status`` is plain data about life, write mode, replicas, backlog, deliveries and failures; it needs no loop."""
    manager = place.manager()
    assert (manager.status().started, manager.status().closed) == (False, False)
    async with manager:
        manager.add_listener(TrackerAdded, lambda event: None)
        manager.add_listener(TrackerAdded, lambda event: 1 / 0)
        for group in "abc":
            await manager.add_tracker(group, CountTracker("n", 9))
        status = manager.status()
        assert (status.started, status.closed, status.replicas) == (True, False, 3)
        assert status.write == ("behind" if place.way in ("sqlite behind", "redis") else "through")
        assert status.backlog == (3 if place.way == "sqlite behind" else 0)
        assert (status.emitted, status.delivered, status.failed, status.dropped) == (6, 3, 3, 0)
        assert (status.waiting, status.undelivered, status.store_error) == (0, 0, None)
        assert status.model_dump(mode="json")["replicas"] == 3
    assert manager.status().closed


async def test_settle_waits_for_all_that_was_caused(manager: TrackingManager) -> None:
    """``settle`` returns when commits, listeners, background listeners and what they caused in turn are done."""
    heard: list[str] = []

    async def chain(event: TrackerEvent) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        heard.append(event.group_id)
        if len(event.group_id) < 5:
            await manager.add_tracker(event.group_id + "x", CountTracker("n", 9))

    manager.add_listener(TrackerAdded, chain, background=True)
    await manager.add_tracker("x", CountTracker("n", 9))
    async with asyncio.timeout(10):
        await manager.settle()
    assert heard == ["x", "xx", "xxx", "xxxx", "xxxxx"]
    status = manager.status()
    assert (status.waiting, status.undelivered) == (0, 0)
    assert status.emitted == status.delivered + status.dropped + status.failed


async def test_settle_includes_calls_that_others_have_begun(manager: TrackingManager) -> None:
    """Calls that are on their way in other tasks are done when ``settle`` returns."""
    await manager.add_tracker("g", CountTracker("n", 1000))
    calls = [asyncio.ensure_future(manager.track("g", {})) for _ in range(50)]
    await asyncio.sleep(0)
    await manager.settle()
    assert [tracker.progress for tracker in await manager.get_trackers("g")] == [50]
    await asyncio.gather(*calls)


async def test_memory_stays_bounded(file_place: Place) -> None:
    """A memory cache over a store that lasts keeps at most ``max_groups`` groups, and loses nothing by that."""
    async with file_place.manager(data_cache=MemoryDataCache(max_groups=10)) as manager:
        manager.declare("*", CountTracker("n", 9999))
        for _ in range(2):
            await manager.track_many((f"g{i}", {}) for i in range(50))
            await file_place.clock.advance(5)
            for _ in range(2000):
                if not manager.status().backlog:
                    break
                await asyncio.sleep(0.001)
                await file_place.clock.advance(1)
        status = manager.status()
        assert status.replicas <= 10
        assert status.evicted >= 40
        progress = [(await manager.get_trackers(f"g{i}"))[0].progress for i in range(50)]
        assert progress == [2] * 50
