"""A tracker or limiter object that was handed in stays live; what results and events carry are snapshots."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from milepost import (
    AmbiguousState,
    CountLimiter,
    CountTracker,
    InvalidDefinition,
    KeyExists,
    ResetPolicy,
    SQLiteDataStore,
    TimeLimiter,
    TrackerAdded,
    TrackingManager,
)
from milepost.testing import EventRecorder, ManualClock
from tests.conftest import Place


async def test_a_tracker_object_reads_its_present_state(manager: TrackingManager, clock: ManualClock) -> None:
    """The object handed in reads the progress and the rest as current as this process's view."""
    tracker = CountTracker("n", [2, 4, 6])
    assert (tracker.progress, tracker.target, tracker.dirtied, tracker.targets) == (0, 2, False, (2, 4, 6))
    await manager.add_tracker("g", tracker)
    for _ in range(3):
        await manager.track("g", {})
    assert (tracker.progress, tracker.target, tracker.current_stage, tracker.multi_target) == (3, 4, 2, (6,))
    assert (tracker.dirtied, tracker.completed, tracker.completed_at, tracker.removed) == (True, False, None, False)
    for _ in range(3):
        await manager.track("g", {})
    assert tracker.completed
    assert tracker.completed_at is not None
    assert tracker.completed_at.timestamp() == clock.time()
    await manager.remove_tracker("g", "n")
    assert (tracker.removed, tracker.progress) == (True, 6)


async def test_a_limiter_object_reads_its_present_state(manager: TrackingManager) -> None:
    """The caller's own limiter object shows what is left, also after a reset."""
    limiter = CountLimiter(count=3)
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[limiter]))
    seen = []
    for _ in range(4):
        await manager.track("g", {})
        seen.append((limiter.remaining, limiter.limited))
    assert seen == [(2, False), (1, False), (0, True), (0, True)]
    await manager.reset_tracker("g", "n", ResetPolicy.LIMITER, reset_count=7)
    assert (limiter.remaining, limiter.limited, limiter.count) == (7, False, 3)


async def test_a_time_limiter_object_reads_its_window(manager: TrackingManager, clock: ManualClock) -> None:
    """A TimeLimiter handed in shows when its window starts and ends."""
    limiter = TimeLimiter(seconds=60)
    assert (limiter.start, limiter.end) == (None, None)
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[limiter]))
    assert (limiter.start, limiter.end) == (clock.time(), clock.time() + 60)


async def test_a_tracker_added_to_two_groups_has_no_one_state(manager: TrackingManager) -> None:
    """An object added to a second group has no one state: AmbiguousState names get_tracker; the rest is readable."""
    tracker = CountTracker("n", [5, 9], conditions=[KeyExists("k")])
    await manager.add_tracker("g", tracker)
    await manager.track("g", {"k": 1})
    assert tracker.progress == 1
    await manager.add_tracker("h", tracker)
    for attribute in ("progress", "target", "current_stage", "completed", "limited", "cycle", "dirtied"):
        with pytest.raises(AmbiguousState, match=rf"'{attribute}'.*get_tracker"):
            getattr(tracker, attribute)
    assert (tracker.name, tracker.targets, len(tracker.conditions)) == ("n", (5, 9), 1)
    await manager.track("h", {"k": 1})
    progress = [(await manager.get_trackers(group))[0].progress for group in "gh"]
    assert progress == [1, 1]


async def test_two_groups_that_share_one_limiter_object(manager: TrackingManager) -> None:
    """One limiter object in two groups limits each by itself; its own state is ambiguous, its definition is not."""
    limiter = CountLimiter(count=2)
    for group in "gh":
        await manager.add_tracker(group, CountTracker("n", 99, limiters=[limiter]))
    moved = [len((await manager.track(group, {})).dirtied) for group in "gggh"]
    assert moved == [1, 1, 0, 1]
    assert limiter.count == 2
    for attribute in ("remaining", "limited"):
        with pytest.raises(AmbiguousState, match="get_tracker"):
            getattr(limiter, attribute)
    remaining = [(await manager.get_trackers(group))[0].limiters[0].remaining for group in "gh"]
    assert remaining == [0, 1]


async def test_two_trackers_of_one_group_that_share_one_limiter_object(manager: TrackingManager) -> None:
    """One limiter object in two trackers counts for each of them separately."""
    limiter = CountLimiter(count=1)
    await manager.add_trackers("g", [CountTracker(name, 99, limiters=[limiter]) for name in "ab"])
    assert len((await manager.track("g", {})).dirtied) == 2
    assert len((await manager.track("g", {})).limited) == 2
    with pytest.raises(AmbiguousState):
        _ = limiter.remaining


async def test_a_declared_object_belongs_to_many_groups(manager: TrackingManager) -> None:
    """A declared tracker object has no state of its own."""
    tracker = CountTracker("n", 9, limiters=[CountLimiter(3)])
    manager.declare("*", tracker)
    await manager.track("g", {})
    with pytest.raises(AmbiguousState, match="get_tracker"):
        _ = tracker.progress
    with pytest.raises(AmbiguousState, match="get_tracker"):
        _ = tracker.limiters[0].remaining


async def test_a_definition_cannot_be_changed_once_added(manager: TrackingManager) -> None:
    """Setting an attribute of a tracker, or of its limiter, that was added raises and says why."""
    limiter = CountLimiter(3)
    tracker = CountTracker("n", 9, limiters=[limiter])
    await manager.add_tracker("g", tracker)
    for owner, attribute in ((tracker, "loop_forever"), (tracker, "progress"), (limiter, "remaining")):
        with pytest.raises(AttributeError, match="cannot be set"):
            setattr(owner, attribute, 5)
    assert (tracker.progress, limiter.remaining) == (0, 3)


async def test_results_and_events_carry_snapshots(manager: TrackingManager, recorder: EventRecorder) -> None:
    """What a result or an event carries stays as it was, whatever happens to the tracker later."""
    await manager.add_tracker("g", CountTracker("n", 9, limiters=[CountLimiter(5)]))
    (added,) = recorder.of(TrackerAdded)
    (first,) = (await manager.track("g", {})).dirtied
    for _ in range(4):
        await manager.track("g", {})
    assert (added.tracker.progress, first.progress) == (0, 1)
    assert (first.limiters[0].remaining, first.limited) == (4, False)
    assert "n" in repr(first)
    assert "1/9" in repr(first)


async def test_state_stays_readable_when_the_group_leaves_memory(place: Place) -> None:
    """An object whose group was evicted, or whose manager was closed, reads the last state this process saw."""
    tracker = CountTracker("n", 9)
    async with place.manager() as manager:
        await manager.add_tracker("g", tracker)
        await manager.track("g", {})
        gc.collect()
        assert tracker.progress == 1
    assert tracker.progress == 1


async def test_an_object_that_was_not_added_because_of_a_conflict_stays_its_own(manager: TrackingManager) -> None:
    """A tracker refused for its name does not read the other one's state, and can still be changed and added."""
    await manager.add_tracker("g", CountTracker("n", 9))
    await manager.track("g", {})
    tracker = CountTracker("n", 5)
    with pytest.raises(ValueError, match="already has"):
        await manager.add_tracker("g", tracker)
    assert tracker.progress == 0
    tracker.add_targets(7)
    await manager.add_tracker("h", tracker)
    assert tracker.targets == (5, 7)


def test_add_targets_before_adding() -> None:
    """``add_targets`` extends a tracker that was not added yet; numbers must go on increasing."""
    tracker = CountTracker("n", 5)
    tracker.add_targets(7, [9, 11])
    assert tracker.targets == (5, 7, 9, 11)
    with pytest.raises(InvalidDefinition, match="increase"):
        tracker.add_targets(3)
    with pytest.raises(InvalidDefinition, match=r"CountTracker\.target must be a number"):
        tracker.add_targets("x")
    assert tracker.targets == (5, 7, 9, 11)


async def test_what_another_process_removed_is_removed_here_too(tmp_path: Path, clock: ManualClock) -> None:
    """Once this process has seen it the object says so, and does not become a tracker added under its name since."""
    path = tmp_path / "t.db"
    async with (
        TrackingManager(data_store=SQLiteDataStore(path), clock=clock) as here,
        TrackingManager(data_store=SQLiteDataStore(path), clock=clock) as there,
    ):
        tracker = CountTracker("n", 9)
        await here.add_tracker("g", tracker)
        await here.track("g", {})
        await there.remove_tracker("g", "n")
        assert await here.get_trackers("g") == []
        assert (tracker.removed, tracker.progress) == (True, 1)
        await there.add_tracker("g", CountTracker("n", 9))
        assert [t.progress for t in await here.get_trackers("g")] == [0]
        assert (tracker.removed, tracker.progress) == (True, 1)
