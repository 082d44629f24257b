"""Targets are reached one after the other, several in one event where it brings enough."""

from __future__ import annotations

import pytest

from milepost import (
    AccumulationTracker,
    CountLimiter,
    CountTracker,
    ResetPolicy,
    TrackerAllCompleted,
    TrackerStageCompleted,
    TrackingManager,
)
from milepost.testing import EventRecorder, ManualClock


async def test_one_event_may_complete_several_stages(manager: TrackingManager, recorder: EventRecorder) -> None:
    """A datum that passes several targets announces each of them, in order, and overshoot is kept."""
    await manager.add_tracker("g", AccumulationTracker("spend", [10, 20, 30, 100]))
    result = await manager.track("g", {"amount": 35})
    assert [event.code for event in result.events] == ["tracker.stage_completed"] * 3
    assert [event.tracker.target for event in recorder.of(TrackerStageCompleted)] == [10, 20, 30]
    tracker = await manager.get_tracker("g", "spend")
    assert tracker is not None
    assert (tracker.progress, tracker.target, tracker.current_stage, tracker.multi_target) == (35, 100, 4, ())
    assert not tracker.completed
    assert not result.completed


async def test_the_last_target_announces_all_completed_only(manager: TrackingManager, recorder: EventRecorder) -> None:
    """A passed target announces STAGE_COMPLETED, the last one ALL_COMPLETED and nothing else."""
    await manager.add_tracker("g", CountTracker("logins", [1, 2]))
    first = await manager.track("g", {})
    last = await manager.track("g", {})
    assert [event.code for event in first.events] == ["tracker.stage_completed"]
    assert [event.code for event in last.events] == ["tracker.all_completed"]
    assert [tracker.name for tracker in last.completed] == ["logins"]
    assert recorder.codes == ["tracker.added", "tracker.stage_completed", "tracker.all_completed"]


async def test_a_single_target_has_no_stages(manager: TrackingManager, recorder: EventRecorder) -> None:
    """A tracker with one target announces ALL_COMPLETED when it is reached exactly."""
    await manager.add_tracker("g", AccumulationTracker("spend", 10))
    assert not (await manager.track("g", {"amount": 9})).events
    assert (await manager.track("g", {"amount": 1})).completed
    assert not recorder.of(TrackerStageCompleted)


async def test_an_event_carries_the_stage_that_it_finished(manager: TrackingManager, recorder: EventRecorder) -> None:
    """``event.tracker`` is a snapshot of the finished stage: its target, and the progress that passed it."""
    await manager.add_tracker("g", CountTracker("n", [2, 4]))
    for _ in range(4):
        await manager.track("g", {})
    (stage,) = recorder.of(TrackerStageCompleted)
    (end,) = recorder.of(TrackerAllCompleted)
    assert (stage.tracker.progress, stage.tracker.target, stage.tracker.current_stage) == (2, 2, 1)
    assert (stage.tracker.multi_target, stage.tracker.completed) == ((4,), False)
    assert (end.tracker.progress, end.tracker.target, end.tracker.completed) == (4, 4, True)


async def test_a_completed_tracker_stays_readable_and_moves_no_more(
    manager: TrackingManager, clock: ManualClock
) -> None:
    """After the last target a tracker keeps its progress and its time, and further data do not move it."""
    await manager.add_tracker("g", CountTracker("n", 2))
    await manager.track("g", {})
    await clock.advance(5)
    finished_at = clock.time()
    await manager.track("g", {})
    await clock.advance(5)
    result = await manager.track("g", {})
    assert (result.ok, result.dirtied, result.completed, result.events) == (True, [], [], ())
    tracker = await manager.get_tracker("g", "n")
    assert tracker is not None
    assert (tracker.completed, tracker.progress, tracker.target) == (True, 2, 2)
    assert tracker.completed_at is not None
    assert tracker.completed_at.timestamp() == finished_at


async def test_on_completed_remove_takes_the_tracker_away(manager: TrackingManager, recorder: EventRecorder) -> None:
    """With ``on_completed="remove"`` a tracker is announced as completed, then as removed, and is gone."""
    await manager.add_tracker("g", CountTracker("once", 1, on_completed="remove"))
    result = await manager.track("g", {})
    assert [event.code for event in result.events] == ["tracker.all_completed", "tracker.removed"]
    assert [tracker.name for tracker in result.completed] == ["once"]
    assert await manager.get_trackers("g") == []
    assert [group async for group in manager.groups()] == []
    await manager.add_tracker("g", CountTracker("once", 1))
    assert recorder.codes[-2:] == ["tracker.removed", "tracker.added"]


async def test_between_stages_limiters_are_reset_and_progress_is_kept(manager: TrackingManager) -> None:
    """By default a passed target opens the limiters again and keeps the progress."""
    await manager.add_tracker("g", CountTracker("n", [3, 6], limiters=[CountLimiter(3)]))
    limited = [bool((await manager.track("g", {})).limited) for _ in range(6)]
    tracker = await manager.get_tracker("g", "n")
    assert tracker is not None
    assert tracker.completed
    assert limited[:5] == [False] * 5


@pytest.mark.parametrize(
    ("policy", "progress", "remaining"),
    [
        (ResetPolicy.NONE, 2, 8),
        (ResetPolicy.LIMITER, 2, 10),
        (ResetPolicy.DEFAULT, 2, 10),
        (ResetPolicy.PROGRESS, 0, 8),
        (ResetPolicy.ALL, 0, 10),
    ],
    ids=str,
)
async def test_the_trackers_own_policy_applies_between_stages(
    policy: ResetPolicy, progress: int, remaining: int, manager: TrackingManager, recorder: EventRecorder
) -> None:
    """Between stages the policy says whether progress and limiters return; no RESET is announced for that."""
    await manager.add_tracker("g", CountTracker("n", [2, 5], limiters=[CountLimiter(10)], reset_policy=policy))
    for _ in range(2):
        await manager.track("g", {})
    tracker = await manager.get_tracker("g", "n")
    assert tracker is not None
    assert (tracker.progress, tracker.target, tracker.current_stage) == (progress, 5, 2)
    assert tracker.limiters[0].remaining == remaining
    assert recorder.codes == ["tracker.added", "tracker.stage_completed"]


async def test_with_progress_reset_each_stage_starts_anew(manager: TrackingManager) -> None:
    """With ResetPolicy.PROGRESS one datum passes one target at most, and the next stage begins at init_progress."""
    await manager.add_tracker(
        "g", AccumulationTracker("n", [10, 10, 5], reset_policy=ResetPolicy.PROGRESS, init_progress=1)
    )
    seen = []
    for amount in (100, 8, 1, 4):
        await manager.track("g", {"amount": amount})
        tracker = await manager.get_tracker("g", "n")
        assert tracker is not None
        seen.append((tracker.progress, tracker.current_stage, tracker.completed))
    assert seen == [(1, 2, False), (9, 2, False), (1, 3, False), (5, 3, True)]


async def test_events_come_tracker_by_tracker_in_the_order_of_adding(
    manager: TrackingManager, recorder: EventRecorder
) -> None:
    """One datum's events come tracker by tracker, in the order of adding, each tracker's stages in order."""
    await manager.add_trackers(
        "g",
        [
            AccumulationTracker("b", [1, 2]),
            CountTracker("a", 1, limiters=[CountLimiter(1)]),
            AccumulationTracker("c", [2, 9]),
        ],
    )
    recorder.clear()
    result = await manager.track("g", {"amount": 2})
    announced = [(event.name, event.code.removeprefix("tracker.")) for event in recorder.events]
    assert announced == [
        ("b", "stage_completed"),
        ("b", "all_completed"),
        ("a", "all_completed"),
        ("a", "limited"),
        ("c", "stage_completed"),
    ]
    assert list(result.events) == recorder.events


async def test_init_progress_is_where_a_tracker_starts(manager: TrackingManager) -> None:
    """``init_progress`` is the progress before the first datum, and counts towards the targets."""
    await manager.add_tracker("g", CountTracker("n", [5, 10], init_progress=4))
    tracker = await manager.get_tracker("g", "n")
    assert tracker is not None
    assert (tracker.progress, tracker.dirtied) == (4, False)
    assert [event.code for event in (await manager.track("g", {})).events] == ["tracker.stage_completed"]
