"""Removing trackers, and adding them again: nothing of the old one comes back."""

from __future__ import annotations

from milepost import CountTracker, TrackerAllCompleted, TrackerRemoved, TrackingManager
from milepost.testing import EventRecorder, ManualClock
from tests.conftest import Place


async def test_a_removed_tracker_is_absent_at_once(manager: TrackingManager, recorder: EventRecorder) -> None:
    """Removing says whether anything was found, announces REMOVED, and the tracker moves no more."""
    await manager.add_trackers("g", [CountTracker("a", 9), CountTracker("b", 9)])
    assert await manager.remove_tracker("g", "a") is True
    assert [tracker.name for tracker in await manager.get_trackers("g")] == ["b"]
    assert [tracker.name for tracker in (await manager.track("g", {})).dirtied] == ["b"]
    (event,) = recorder.of(TrackerRemoved)
    assert (event.name, event.tracker.removed) == ("a", True)
    assert await manager.remove_tracker("g", "a") is False
    assert len(recorder.of(TrackerRemoved)) == 1


async def test_several_or_all_can_be_removed(manager: TrackingManager, recorder: EventRecorder) -> None:
    """A list of names removes those that are there; no name removes all."""
    await manager.add_trackers("g", [CountTracker(name, 9) for name in "abcd"])
    assert await manager.remove_tracker("g", ["b", "nothing", "d"]) is True
    assert [tracker.name for tracker in await manager.get_trackers("g")] == ["a", "c"]
    assert await manager.remove_tracker("g") is True
    assert await manager.get_trackers("g") == []
    assert await manager.remove_tracker("g") is False
    assert [event.name for event in recorder.of(TrackerRemoved)] == ["b", "d", "a", "c"]
    assert [group async for group in manager.groups()] == []


async def test_a_tracker_added_again_is_another_one(
    manager: TrackingManager, recorder: EventRecorder, clock: ManualClock
) -> None:
    """A tracker that was removed and added again starts anew, and its milestones have new ids."""
    for step in (0, 0, -3600):  # also when the clock was set back meanwhile
        clock.set(clock.time() + step)
        await manager.add_tracker("g", CountTracker("n", 2))
        for _ in range(2):
            await manager.track("g", {})
        await manager.remove_tracker("g", "n")
    assert recorder.codes == ["tracker.added", "tracker.all_completed", "tracker.removed"] * 3
    assert len({event.id for event in recorder.events}) == 9


async def test_no_stale_replica_brings_a_removed_tracker_back(clock: ManualClock, tmp_path: object) -> None:
    """Another process that still has the old tracker in memory moves the new one, or nothing."""
    place = Place("sqlite through", clock, tmp_path)
    async with place.manager() as one, place.manager() as other:
        heard = EventRecorder(other)
        await one.add_tracker("g", CountTracker("n", 3))
        await other.track("g", {})
        await one.remove_tracker("g", "n")
        result = await other.track("g", {})
        assert (result.ok, result.dirtied) == (True, [])
        assert await other.get_trackers("g") == []
        await one.add_tracker("g", CountTracker("n", 2))
        moved = await other.track("g", {})
        assert [(tracker.progress, tracker.target) for tracker in moved.dirtied] == [(1, 2)]
        await one.track("g", {})
        assert [(t.progress, t.completed) for t in await other.get_trackers("g")] == [(2, True)]
        assert heard.of(TrackerAllCompleted) == []


async def test_a_removal_is_seen_by_another_process_that_has_other_trackers_of_the_group(
    clock: ManualClock, tmp_path: object
) -> None:
    """Removing one of several trackers is seen by another process at once, also by a call that changes nothing."""
    place = Place("sqlite through", clock, tmp_path)
    async with place.manager() as one, place.manager() as other:
        await one.add_trackers("g", [CountTracker("a", 9), CountTracker("b", 9)])
        assert len(await other.get_trackers("g")) == 2
        await one.remove_tracker("g", "a")
        assert [tracker.name for tracker in await other.get_trackers("g")] == ["b"]
        assert [tracker.name for tracker in (await other.explain("g", {})).trackers] == ["b"]
        await one.add_tracker("g", CountTracker("c", 9))
        assert [tracker.name for tracker in (await other.track("g", {})).dirtied] == ["b", "c"]


async def test_a_removal_lasts(file_place: Place) -> None:
    """What was removed is not there after a restart, and what was added again is."""
    async with file_place.manager() as manager:
        await manager.add_trackers("g", [CountTracker("a", 9), CountTracker("b", 9)])
        await manager.add_tracker("h", CountTracker("a", 9))
        await manager.track("g", {})
    async with file_place.manager() as manager:
        await manager.remove_tracker("g", "a")
        await manager.remove_tracker("h")
    async with file_place.manager() as manager:
        assert [tracker.name for tracker in await manager.get_trackers("g")] == ["b"]
        assert [group async for group in manager.groups()] == ["g"]
        await manager.add_tracker("h", CountTracker("a", 9))
        await manager.add_tracker("g", CountTracker("a", 9))
        await manager.remove_tracker("g", "b")
    async with file_place.manager() as manager:
        assert [tracker.progress for tracker in await manager.get_trackers("g")] == [0]
        assert [tracker.progress for tracker in await manager.get_trackers("h")] == [0]
