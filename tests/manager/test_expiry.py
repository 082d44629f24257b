"""Trackers expire: visible at once, and without anyone touching their group."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from milepost import CountTracker, MemoryDataStore, TrackerExpired, TrackingManager
from milepost.testing import EventRecorder, ManualClock
from tests.conftest import Place


async def heard_expired(recorder: EventRecorder, clock: ManualClock, count: int = 1) -> list[TrackerExpired]:
    """Give the background time: the test clock's and, where a store is asked, the machine's."""
    for _ in range(200):
        if len(recorder.of(TrackerExpired)) >= count:
            break
        await asyncio.sleep(0.005)
        await clock.advance(1)
    return recorder.of(TrackerExpired)


async def test_an_expired_tracker_is_absent_at_once(
    manager: TrackingManager, clock: ManualClock, recorder: EventRecorder
) -> None:
    """From its deadline on a tracker is gone for reading and tracking, whoever looks first; EXPIRED comes once."""
    await manager.add_tracker("g", CountTracker("brief", 9), expire=60)
    await manager.add_tracker("g", CountTracker("lasting", 9))
    clock.set(clock.time() + 59.9)
    assert [tracker.name for tracker in (await manager.track("g", {})).dirtied] == ["brief", "lasting"]
    clock.set(clock.time() + 0.1)
    assert [tracker.name for tracker in await manager.get_trackers("g")] == ["lasting"]
    assert [tracker.name for tracker in (await manager.track("g", {})).dirtied] == ["lasting"]
    assert [tracker.name for tracker in (await manager.explain("g", {})).trackers] == ["lasting"]
    assert await manager.reset_tracker("g", "brief") is False
    assert await manager.remove_tracker("g", "brief") is False
    (event,) = recorder.of(TrackerExpired)
    assert (event.group_id, event.name, event.tracker.progress, event.tracker.removed) == ("g", "brief", 1, True)


async def test_nobody_has_to_touch_the_group(
    manager: TrackingManager, clock: ManualClock, recorder: EventRecorder
) -> None:
    """A tracker expires in time although nobody asks for its group, dated with its deadline."""
    await manager.add_tracker("g", CountTracker("n", 9), expire=3600)
    deadline = clock.time() + 3600
    await manager.settle()
    await clock.advance(3599)
    assert not recorder.of(TrackerExpired)
    await clock.advance(1)
    (event,) = await heard_expired(recorder, clock)
    assert event.event_ts == deadline
    assert [group async for group in manager.groups()] == []


async def test_a_near_deadline_does_not_wait_for_a_far_one(in_memory: TrackingManager, clock: ManualClock) -> None:
    """A tracker that expires soon, added while the sweeper waits for later ones, expires on its second."""
    recorder = EventRecorder(in_memory)
    await in_memory.add_tracker("g", CountTracker("later", 9), expire=3600)
    await clock.advance(1)
    await in_memory.add_tracker("h", CountTracker("soon", 9), expire=2)
    await clock.advance(2)
    assert [event.name for event in recorder.of(TrackerExpired)] == ["soon"]


async def test_a_deadline_that_comes_while_the_sweeper_looks_is_not_missed(clock: ManualClock) -> None:
    """A deadline that passes between two questions of the sweeper's is kept, with no more time passing."""

    class Slow(MemoryDataStore):
        late = 0.0

        async def due(self, now: float, limit: int = 1000) -> list[str]:
            found = await super().due(now, limit)
            clock.set(max(clock.time(), self.late))
            return found

    store = Slow()
    async with TrackingManager(data_store=store, clock=clock) as manager:
        recorder = EventRecorder(manager)
        await clock.advance(0)
        store.late = clock.time() + 60
        await manager.add_tracker("g", CountTracker("n", 9), expire=60)
        await clock.advance(0)
        assert len(recorder.of(TrackerExpired)) == 1


async def test_an_expired_name_is_free(manager: TrackingManager, clock: ManualClock, recorder: EventRecorder) -> None:
    """The name of an expired tracker can be added again at once, as another tracker."""
    await manager.add_tracker("g", CountTracker("n", 1), expire=10)
    first = (await manager.track("g", {})).events
    clock.set(clock.time() + 10)
    await manager.add_tracker("g", CountTracker("n", 1), expire=10)
    second = (await manager.track("g", {})).events
    assert recorder.codes == [
        "tracker.added",
        "tracker.all_completed",
        "tracker.expired",
        "tracker.added",
        "tracker.all_completed",
    ]
    assert first[0].id != second[0].id


async def test_expiry_survives_a_restart(file_place: Place, clock: ManualClock) -> None:
    """What expires while no manager is open expires when one is; what expires later does so there."""
    async with file_place.manager() as manager:
        await manager.add_tracker("a", CountTracker("n", 9), expire=10)
        await manager.add_tracker("b", CountTracker("n", 9), expire=1000)
        await manager.add_tracker("c", CountTracker("n", 9), expire=1000)
    await clock.advance(50)
    manager = file_place.manager()
    recorder = EventRecorder(manager)
    async with manager:
        assert [event.group_id for event in await heard_expired(recorder, clock)] == ["a"]
        assert len(await manager.get_trackers("c")) == 1  # one group in memory, one in the store alone
        await clock.advance(1000)
        assert sorted(event.group_id for event in await heard_expired(recorder, clock, 3)) == ["a", "b", "c"]
        assert [group async for group in manager.groups()] == []


async def test_expire_at_wins_and_may_be_a_datetime_of_any_zone(manager: TrackingManager, clock: ManualClock) -> None:
    """``expire_at`` is epoch seconds or an aware datetime, and wins over ``expire``."""
    at = clock.time() + 100
    zone = timezone(timedelta(hours=5, minutes=30))
    await manager.add_tracker("g", CountTracker("epoch", 9), expire_at=at, expire=1)
    await manager.add_tracker("g", CountTracker("utc", 9), expire_at=datetime.fromtimestamp(at, UTC))
    await manager.add_tracker("g", CountTracker("zone", 9), expire_at=datetime.fromtimestamp(at, zone))
    assert {tracker.expires_at for tracker in await manager.get_trackers("g")} == {datetime.fromtimestamp(at, UTC)}
    clock.set(at - 1)
    assert len(await manager.get_trackers("g")) == 3
    clock.set(at)
    assert await manager.get_trackers("g") == []


async def test_now_does_not_make_anything_expire(manager: TrackingManager, clock: ManualClock) -> None:
    """Deadlines go by the manager's clock, never by ``now=``, which drives limiters and timestamps."""
    await manager.add_tracker("g", CountTracker("n", 9), expire=60)
    result = await manager.track("g", {}, now=clock.time() + 10_000)
    assert len(result.dirtied) == 1
    assert len(await manager.get_trackers("g")) == 1


async def test_progress_resets_and_updates_keep_the_deadline(manager: TrackingManager, clock: ManualClock) -> None:
    """Tracking, resetting and updating a tracker do not move its deadline."""
    await manager.add_tracker("g", CountTracker("n", 9), expire=60)
    await manager.track("g", {})
    await manager.reset_tracker("g", "n", 3)
    await manager.update_tracker("g", CountTracker("n", 10))
    clock.set(clock.time() + 60)
    assert await manager.get_trackers("g") == []


async def test_several_deadlines_in_one_group_come_one_by_one(
    manager: TrackingManager, clock: ManualClock, recorder: EventRecorder
) -> None:
    """Each tracker of a group has a deadline of its own; the later ones go on."""
    for seconds in (30, 10, 20):
        await manager.add_tracker("g", CountTracker(f"{seconds}", 9), expire=seconds)
    left = []
    for _ in range(3):
        clock.set(clock.time() + 10)
        left.append([tracker.name for tracker in await manager.get_trackers("g")])
    assert left == [["30", "20"], ["30"], []]
    assert [event.name for event in recorder.of(TrackerExpired)] == ["10", "20", "30"]


async def test_stepping_the_clock_neither_hastens_nor_repeats_expiry(
    manager: TrackingManager, clock: ManualClock, recorder: EventRecorder
) -> None:
    """A clock set back an hour and forward again expires nothing early and nothing twice."""
    start = clock.time()
    await manager.add_tracker("g", CountTracker("n", 9), expire=600)
    for moment in (start - 3600, start, start + 599, start - 3000, start + 599.9):
        clock.set(moment)
        assert len(await manager.get_trackers("g")) == 1
    clock.set(start + 600)
    assert await manager.get_trackers("g") == []
    clock.set(start - 3600)
    assert await manager.get_trackers("g") == []
    assert len(recorder.of(TrackerExpired)) == 1


@pytest.mark.parametrize("expire", [0, -1, float("nan"), float("inf"), 10**400])
async def test_a_tracker_cannot_expire_at_once_or_never(expire: float, in_memory: TrackingManager) -> None:
    """``expire`` must be seconds above 0; anything else raises ValueError and adds nothing."""
    with pytest.raises(ValueError, match="expire must be a number of seconds greater than 0"):
        await in_memory.add_tracker("g", CountTracker("n", 9), expire=expire)
    assert await in_memory.get_trackers("g") == []


async def test_expire_at_must_lie_ahead(in_memory: TrackingManager, clock: ManualClock) -> None:
    """A moment that is over, or a datetime without a time zone, is refused with a reason."""
    with pytest.raises(ValueError, match="must lie in the future"):
        await in_memory.add_tracker("g", CountTracker("n", 9), expire_at=clock.time())
    with pytest.raises(ValueError, match="expire_at must know its time zone"):
        await in_memory.add_tracker("g", CountTracker("n", 9), expire_at=datetime(2999, 1, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="expire_at must be epoch seconds or an aware datetime, got 'soon'"):
        await in_memory.add_tracker("g", CountTracker("n", 9), expire_at="soon")
    with pytest.raises(TypeError, match="expire must be a number of seconds, got 'soon'"):
        await in_memory.add_tracker("g", CountTracker("n", 9), expire="soon")
