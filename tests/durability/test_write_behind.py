"""``write="behind"``: the file follows an interval later and at the end, for one process at a time."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from milepost import CountTracker, StoreLeased, StoreUnavailable, TrackingManager
from milepost.events import EVENT_TRACKER_EXPIRED, TrackerEvent
from milepost.testing import ManualClock
from tests.durability.opening import far, manager_over, progress_in, store_over
from tests.durability.workers import Worker, look_at, workers


async def flushed(manager: TrackingManager, clock: ManualClock) -> None:
    """Let the flush interval pass, and wait for the flush that it begins."""
    await clock.advance(1.0)
    while manager.status().backlog:
        await asyncio.sleep(0)


async def test_the_file_follows_after_the_interval(tmp_path: Path, clock: ManualClock) -> None:
    """Before the interval has passed the file knows nothing; after it, everything, again and again."""
    path = tmp_path / "t.db"
    async with manager_over(path, write="behind", clock=clock, flush_interval=1.0) as manager:
        await manager.add_tracker("g", far())
        for n in range(1, 5):
            await manager.track("g", {})
            await clock.advance(0.9)
            assert await progress_in(path) == ({"g.n": n - 1} if n > 1 else {})
            assert manager.status().backlog == 1
            await clock.advance(0.1)
            while manager.status().backlog:
                await asyncio.sleep(0)
            assert await progress_in(path) == {"g.n": n}
        assert manager.status().store_error is None


async def test_closing_flushes(tmp_path: Path, clock: ManualClock) -> None:
    """What no interval has flushed is in the file when the manager is closed: rows, removals, event ids, events."""
    path = tmp_path / "t.db"
    async with manager_over(path, write="behind", clock=clock) as manager:
        for name in ("a", "b", "c"):
            await manager.add_tracker(name, CountTracker(name="n", target=[2, 1000]))
        await flushed(manager, clock)
        await manager.track("a", {}, event_id="e1")
        await manager.track("a", {}, event_id="e2")
        await manager.remove_tracker("b")
        await manager.remove_tracker("c")
        await manager.add_tracker("c", far("again"))
        await manager.track("c", {})
    assert await progress_in(path) == {"a.n": 2, "c.again": 1}
    async with manager_over(path, write="behind", clock=clock) as manager:
        assert [(await manager.track("a", {}, event_id=id)).duplicate for id in ("e1", "e2", "e3")] == [
            True,
            True,
            False,
        ]
        assert await manager.get_trackers("b") == []


async def test_every_event_reaches_the_file_once(tmp_path: Path, clock: ManualClock) -> None:
    """Closing at any moment of a flush neither doubles nor loses events, and they are there in order."""
    for breaths in range(40):
        path = tmp_path / f"{breaths}.db"
        manager = manager_over(path, write="behind", clock=clock)
        await manager.add_tracker("g", CountTracker(name="n", target=list(range(1, 100))))
        moving = asyncio.ensure_future(clock.advance(1.0))  # the flusher wakes up in here
        for n in range(breaths):
            await asyncio.sleep(0)
            if n % 3 == 0:
                await manager.track("g", {})
        await manager.track("g", {})
        await manager.aclose()
        await moving
        targets = await _targets_told(path)
        assert targets == [0, *range(1, len(targets))], f"after {breaths} breaths"
        assert (await progress_in(path))["g.n"] == len(targets) - 1


async def _targets_told(path: Path) -> list[int]:
    """Return the targets of the STAGE_COMPLETED events in the outbox, 0 for ADDED."""
    store = store_over(path)
    await store.open(ManualClock(), 256)
    try:
        bodies = [json.loads(text) for _, text in await store.outbox()]
    finally:
        await store.aclose()
    return [0 if body["type"] == "tracker.added" else body["data"]["target"] for body in bodies]


@pytest.mark.parametrize("write", ["behind", "through"])
async def test_a_second_opener_is_refused(write: str, tmp_path: Path, clock: ManualClock) -> None:
    """One process has the file alone; another opener is told so, the first goes on, and later it may try again."""
    path = tmp_path / "t.db"
    async with manager_over(path, write="behind", clock=clock) as first:
        await first.add_tracker("g", far())
        second = manager_over(path, write=write, clock=clock)
        with pytest.raises(StoreLeased):
            await second.start()
        await first.track("g", {})
        await flushed(first, clock)
    async with second:
        assert (await second.track("g", {})).dirtied[0].progress == 2


async def test_one_that_shares_keeps_out_one_that_does_not(tmp_path: Path, clock: ManualClock) -> None:
    """While somebody shares the file nobody may have it alone."""
    path = tmp_path / "t.db"
    async with manager_over(path, clock=clock) as one, manager_over(path, clock=clock) as other:
        await one.add_tracker("g", far())
        await other.track("g", {})
        with pytest.raises(StoreLeased):
            await manager_over(path, write="behind", clock=clock).start()
        assert (await one.track("g", {})).dirtied[0].progress == 2


@pytest.mark.slow
def test_refused_in_another_process_until_that_is_killed(tmp_path: Path) -> None:
    """A process that has the file alone keeps others out until it ends; when it was killed nothing is in the way."""
    path = tmp_path / "t.db"
    events: list[tuple[str, str | None]] = [("g", None)] * 5
    with workers([Worker(path, events, targets=[100], write="behind", stay=True)]) as (worker,):
        worker.wait_for("tracked")
        for write in ("behind", "through"):
            with pytest.raises(StoreLeased):
                asyncio.run(manager_over(path, write=write, clock=ManualClock()).start())
        assert len(worker.kill()) == 5
    again = Worker(path, events, targets=[100], write="behind")
    again.wait_for("ready")
    again.begin()
    assert len(again.finish()) == 5
    assert 5 <= look_at(path, [100]).progress["g"] <= 10


async def test_what_is_not_in_the_file_stays_in_memory(tmp_path: Path, clock: ManualClock) -> None:
    """Beyond ``max_groups`` only groups that the file has leave, the least recently used first."""
    path = tmp_path / "t.db"
    async with manager_over(path, write="behind", max_groups=3, clock=clock) as manager:
        for n in range(10):
            await manager.add_tracker(f"g{n}", far())
            await manager.track(f"g{n}", {})
        assert manager.status().replicas == 10, "none of them is in the file"
        await flushed(manager, clock)
        assert manager.status().replicas == 3
        assert [await manager.data_cache.is_cached(f"g{n}") for n in range(10)] == [False] * 7 + [True] * 3
        await manager.track("g7", {})
        await manager.track("g0", {})
        held = [n for n in range(10) if await manager.data_cache.is_cached(f"g{n}")]
        assert held == [0, 7, 9], "g8 was the clean one that was used least recently"
        for n in range(10):
            assert (await manager.get_trackers(f"g{n}"))[0].progress == (2 if n in (0, 7) else 1)


async def test_groups_come_and_go_exactly(tmp_path: Path, clock: ManualClock) -> None:
    """Many groups in little memory, flushed now and then: every count and every known event id is exact."""
    path = tmp_path / "t.db"
    counted = {f"g{n}.n": 0 for n in range(25)}
    async with manager_over(path, write="behind", max_groups=4, clock=clock) as manager:
        manager.declare("*", far())
        for n in range(600):
            group = f"g{n * 7 % 25}"
            counted[f"{group}.n"] += (await manager.track(group, {}, event_id=f"{n // 2 * 7 % 300}")).ok
            if n % 40 == 39:
                await flushed(manager, clock)
        assert {f"{g}.n": (await manager.get_trackers(g))[0].progress for g in (f"g{n}" for n in range(25))} == counted
    assert await progress_in(path) == counted


async def test_while_the_file_is_locked_the_backlog_waits(tmp_path: Path, clock: ManualClock) -> None:
    """Tracking goes on in memory; the status says why the file is behind; when it can be written it catches up."""
    path = tmp_path / "t.db"
    store = store_over(path, timeout=0.05)
    async with manager_over(path, write="behind", clock=clock, data_store=store) as manager:
        await manager.add_tracker("g", far())
        await flushed(manager, clock)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await manager.track("g", {})
        await clock.advance(1.0)
        while manager.status().store_error is None:
            await asyncio.sleep(0.001)
        assert "locked" in (manager.status().store_error or "")
        await manager.track("g", {})
        assert manager.status().backlog == 1
        other.execute("ROLLBACK")
        other.close()
        await flushed(manager, clock)
        assert manager.status().store_error is None
        assert await progress_in(path) == {"g.n": 2}


async def test_closing_says_what_could_not_be_saved(tmp_path: Path, clock: ManualClock) -> None:
    """Where the last flush is refused, ``aclose`` raises, and leaves the file to others all the same."""
    path = tmp_path / "t.db"
    manager = manager_over(path, write="behind", clock=clock, data_store=store_over(path, timeout=0.05))
    await manager.add_tracker("g", far())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await manager.aclose()
    other.close()
    async with manager_over(path, write="behind", clock=clock) as again:
        assert await again.get_trackers("g") == []


async def asleep(clock: ManualClock) -> None:
    """Wait until the sweeper and the flusher sleep; what they do in threads takes its time."""
    while clock.sleepers < 2:
        await asyncio.sleep(0)


async def test_what_expires_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    """A tracker expires without anyone touching its group, be the group in memory again or in the file alone."""
    path = tmp_path / "t.db"
    async with manager_over(path, write="behind", clock=clock) as manager:
        for group, seconds in (("read", 67), ("tracked", 68), ("untouched", 63)):
            await manager.add_tracker(group, far(), expire=seconds)
    async with manager_over(path, write="behind", clock=clock) as manager:
        gone: list[TrackerEvent] = []
        manager.add_listener(EVENT_TRACKER_EXPIRED, gone.append)
        await manager.get_trackers("read")
        await manager.track("tracked", {})
        for _ in range(25):
            await clock.advance(2.5)
            await asleep(clock)
        assert gone == []
        for seconds, group in ((1, "untouched"), (3.5, "read"), (1, "tracked")):
            await clock.advance(seconds)
            async with asyncio.timeout(20):
                while not gone:
                    await asyncio.sleep(0)
            assert gone.pop().group_id == group
            await asleep(clock)


async def test_flush_forgets_what_was_on_its_way_to_the_file(tmp_path: Path, clock: ManualClock) -> None:
    """Rows, removals and events that no interval had saved yet do not reach the file after everything was deleted."""
    path = tmp_path / "t.db"
    async with manager_over(path, write="behind", clock=clock) as manager:
        for group in ("changed", "removed"):
            await manager.add_tracker(group, CountTracker(name="n", target=[1, 9]))
        await flushed(manager, clock)
        await manager.track("changed", {})
        await manager.remove_tracker("removed")
        await manager.add_tracker("new", far())
        assert await manager.flush(confirm=True)
        await flushed(manager, clock)
    assert await progress_in(path) == {}
    assert await _targets_told(path) == []


async def test_flush_amid_callers_leaves_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """Deleting everything while others track and groups come from the file brings nothing back and breaks nothing."""
    path = tmp_path / "t.db"
    async with manager_over(path, write="behind", max_groups=3, clock=clock) as manager:
        for breaths in range(12):
            groups = [f"g{n}" for n in range(12)]
            for group in groups:
                await manager.add_tracker(group, far())
                await manager.track(group, {})
            await flushed(manager, clock)
            callers = [asyncio.ensure_future(_hammer(manager, group)) for group in groups]
            for _ in range(breaths):
                await asyncio.sleep(0)
            assert await manager.flush(confirm=True)
            await asyncio.gather(*callers)
            assert [await manager.get_trackers(group) for group in groups] == [[]] * 12, f"after {breaths} breaths"
            await flushed(manager, clock)
            assert await progress_in(path) == {}


async def _hammer(manager: TrackingManager, group: str) -> None:
    for _ in range(5):
        await manager.track(group, {})
        await asyncio.sleep(0)


async def test_a_group_begun_again_after_the_clock_was_set_back_is_saved(tmp_path: Path, clock: ManualClock) -> None:
    """What was removed and made again is newer than its removal, whatever the clock says; also after a restart."""
    path = tmp_path / "t.db"
    async with manager_over(path, write="behind", clock=clock) as manager:
        await manager.add_tracker("g", far())
    async with manager_over(path, write="behind", clock=clock) as manager:
        await manager.remove_tracker("g")
    clock.set(clock.time() - 3600)
    async with manager_over(path, write="behind", clock=clock) as manager:
        await manager.add_tracker("g", far())
        await manager.track("g", {})
    assert await progress_in(path) == {"g.n": 1}
