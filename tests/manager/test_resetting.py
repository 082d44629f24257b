"""``reset_tracker``: a reset by hand, announced, with a policy and a context of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost import (
    CountLimiter,
    CountTracker,
    ResetPolicy,
    TimeLimiter,
    TrackerReset,
    TrackerSnapshot,
    TrackingManager,
)
from milepost.testing import EventRecorder, ManualClock


async def state(manager: TrackingManager) -> TrackerSnapshot:
    tracker = await manager.get_tracker("g", "n")
    assert tracker is not None
    return tracker


@pytest.mark.parametrize(
    ("policy", "progress", "stage", "remaining"),
    [
        (ResetPolicy.NONE, 4, 2, 2),
        (ResetPolicy.PROGRESS, 1, 1, 2),
        (ResetPolicy.LIMITER, 4, 2, 5),
        (ResetPolicy.DEFAULT, 4, 2, 5),
        (ResetPolicy.ALL, 1, 1, 5),
        (None, 4, 2, 2),
        (3, 1, 1, 5),
    ],
    ids=str,
)
async def test_the_policy_says_what_returns(
    policy: Any, progress: int, stage: int, remaining: int, manager: TrackingManager, recorder: EventRecorder
) -> None:
    """PROGRESS returns to the first stage and init_progress, LIMITER opens limiters, ALL does both."""
    tracker = CountTracker("n", [3, 9], limiters=[CountLimiter(5)], reset_policy=ResetPolicy.NONE, init_progress=1)
    await manager.add_tracker("g", tracker)
    for _ in range(3):
        await manager.track("g", {})
    before = await state(manager)
    assert (before.progress, before.current_stage) == (4, 2)
    assert await manager.reset_tracker("g", "n", policy) is True
    after = await state(manager)
    assert (after.progress, after.current_stage, after.limiters[0].remaining) == (progress, stage, remaining)
    assert recorder.codes[-1] == "tracker.reset"


async def test_none_means_the_trackers_own_policy(manager: TrackingManager) -> None:
    """Without a policy in the call the tracker's own applies."""
    await manager.add_tracker("g", CountTracker("n", 9, reset_policy=ResetPolicy.PROGRESS))
    await manager.track("g", {})
    await manager.reset_tracker("g", "n")
    assert (await state(manager)).progress == 0


async def test_a_reset_by_hand_announces_itself(manager: TrackingManager, recorder: EventRecorder) -> None:
    """RESET is announced once per call, with the tracker as it is after it."""
    await manager.add_tracker("g", CountTracker("n", 9))
    await manager.track("g", {})
    await manager.reset_tracker("g", "n", ResetPolicy.PROGRESS)
    await manager.reset_tracker("g", "n", ResetPolicy.PROGRESS)
    resets = recorder.of(TrackerReset)
    assert [event.tracker.progress for event in resets] == [0, 0]
    assert len({event.id for event in resets}) == 2


async def test_what_is_not_there_is_not_reset(manager: TrackingManager, recorder: EventRecorder) -> None:
    """``reset_tracker`` says whether the tracker was found; nothing happens where it was not."""
    assert await manager.reset_tracker("g", "n") is False
    await manager.add_tracker("g", CountTracker("n", 9))
    await manager.remove_tracker("g", "n")
    assert await manager.reset_tracker("g", "n") is False
    assert "tracker.reset" not in recorder.codes


async def test_a_completed_tracker_starts_again(manager: TrackingManager, recorder: EventRecorder) -> None:
    """Resetting the progress of a completed tracker lets it complete again, as another milestone."""
    await manager.add_tracker("g", CountTracker("n", 1))
    first = (await manager.track("g", {})).events
    await manager.reset_tracker("g", "n", ResetPolicy.PROGRESS)
    again = await state(manager)
    assert (again.completed, again.completed_at, again.progress) == (False, None, 0)
    second = (await manager.track("g", {})).events
    assert [event.code for event in second] == ["tracker.all_completed"]
    assert first[0].id != second[0].id


async def test_reset_count_opens_for_that_many(manager: TrackingManager) -> None:
    """``reset_count=n`` lets n more move; without it the limiter's own count applies."""
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[CountLimiter(2)]))
    for _ in range(3):
        await manager.track("g", {})
    await manager.reset_tracker("g", "n", ResetPolicy.LIMITER, reset_count=3)
    for _ in range(9):
        await manager.track("g", {})
    assert (await state(manager)).progress == 5
    await manager.reset_tracker("g", "n", ResetPolicy.LIMITER)
    for _ in range(9):
        await manager.track("g", {})
    assert (await state(manager)).progress == 7


async def test_a_reset_count_of_zero_keeps_it_limited(manager: TrackingManager) -> None:
    """A limiter whose reset answers "still limited" stays closed."""
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[CountLimiter(1)]))
    await manager.track("g", {})
    await manager.reset_tracker("g", "n", ResetPolicy.LIMITER, reset_count=0)
    assert (await state(manager)).limited
    assert not (await manager.track("g", {})).dirtied


@pytest.mark.parametrize(
    "context", [{"reset_count": -1}, {"reset_count": "x"}, {"reset_seconds": -1}, {"reset_seconds": "x"}], ids=str
)
async def test_a_value_that_a_limiter_refuses_changes_nothing(
    context: dict[str, Any], manager: TrackingManager
) -> None:
    """A bad ``reset_count`` or ``reset_seconds`` raises ValueError by name, and the tracker stays as it was."""
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[CountLimiter(1), TimeLimiter(seconds=60)]))
    await manager.track("g", {})
    before = await state(manager)
    with pytest.raises(ValueError, match=next(iter(context))):
        await manager.reset_tracker("g", "n", ResetPolicy.ALL, **context)
    assert await state(manager) == before


@pytest.mark.parametrize("seconds", [10, timedelta(seconds=10)])
async def test_reset_seconds_is_the_length_of_the_new_window(
    seconds: Any, manager: TrackingManager, clock: ManualClock
) -> None:
    """``reset_seconds`` makes the new window that long; the next reset is as long as the first again."""
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[TimeLimiter(seconds=60)]))
    await manager.reset_tracker("g", "n", ResetPolicy.LIMITER, reset_seconds=seconds)
    await clock.advance(10)
    assert (await manager.track("g", {})).dirtied
    await clock.advance(0.5)
    assert (await manager.track("g", {})).limited
    await manager.reset_tracker("g", "n", ResetPolicy.LIMITER)
    await clock.advance(60)
    assert not (await manager.track("g", {})).limited


async def test_now_ts_is_when_the_new_window_starts(manager: TrackingManager, clock: ManualClock) -> None:
    """``now_ts`` and ``now`` say when a reset happened: windows start then and the event is dated so."""
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[TimeLimiter(seconds=60)]))
    start = clock.time() + 1000
    recorder = EventRecorder(manager)
    await manager.reset_tracker("g", "n", ResetPolicy.LIMITER, now_ts=start)
    assert recorder.events[-1].event_ts == start
    allowed = [bool((await manager.track("g", {}, now=start + at)).dirtied) for at in (0, 60)]
    assert allowed == [True, True]
    assert (await manager.track("g", {}, now=start + 60.1)).limited
    await manager.reset_tracker("g", "n", ResetPolicy.LIMITER, now=datetime.fromtimestamp(start + 500, UTC))
    assert not (await manager.track("g", {}, now=start + 560)).limited


async def test_resets_survive_a_restart(file_place: Any) -> None:
    """A reset is as lasting as progress: the next manager finds the tracker reset."""
    async with file_place.manager() as manager:
        await manager.add_tracker("g", CountTracker("n", [2, 4], limiters=[CountLimiter(3)]))
        for _ in range(3):
            await manager.track("g", {})
        await manager.reset_tracker("g", "n", ResetPolicy.ALL)
        before = await state(manager)
    async with file_place.manager() as manager:
        after = await state(manager)
        assert after == before
        assert (after.progress, after.current_stage, after.limiters[0].remaining) == (0, 1, 3)
