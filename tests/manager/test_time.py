"""Time is a parameter: ``now`` dates a datum, the clock everything else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from milepost import CountTracker, TimeLimiter, TrackingManager
from milepost.testing import EventRecorder, ManualClock


async def test_now_may_be_epoch_seconds_or_an_aware_datetime(manager: TrackingManager, recorder: EventRecorder) -> None:
    """``now=`` dates the event and the completion; ``now_ts=`` is its older spelling; zones make no difference."""
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    zone = moment.astimezone(timezone(timedelta(hours=2)))
    spellings: list[dict[str, Any]] = [
        {"now": moment.timestamp()},
        {"now": moment},
        {"now": zone},
        {"now_ts": moment.timestamp()},
        {"now": int(moment.timestamp())},
    ]
    for i, when in enumerate(spellings):
        await manager.add_tracker("g", CountTracker(f"{i}", 1))
        await manager.track("g", {}, **when)
        tracker = await manager.get_tracker("g", f"{i}")
        assert tracker is not None
        assert tracker.completed_at == moment
    assert {event.time for event in recorder.events if event.code == "tracker.all_completed"} == {moment}


async def test_without_now_the_clock_says(
    manager: TrackingManager, clock: ManualClock, recorder: EventRecorder
) -> None:
    """Without ``now`` a datum is dated with the manager's clock."""
    await manager.add_tracker("g", CountTracker("n", 1))
    await clock.advance(77)
    await manager.track("g", {})
    assert recorder.events[-1].event_ts == clock.time()
    tracker = await manager.get_tracker("g", "n")
    assert tracker is not None
    assert (tracker.updated_at, tracker.added_at.timestamp()) == (clock.time(), clock.time() - 77)


async def test_an_ambiguous_hour_is_two_moments(manager: TrackingManager, clock: ManualClock) -> None:
    """The hour that a zone has twice when summer time ends is two different hours, for windows too."""
    summer, winter = timezone(timedelta(hours=2)), timezone(timedelta(hours=1))
    first, second = (datetime(2026, 10, 25, 2, 30, tzinfo=zone) for zone in (summer, winter))
    clock.set(first)
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[TimeLimiter(seconds=1800)]))
    assert (await manager.track("g", {}, now=first + timedelta(minutes=30))).dirtied
    assert (await manager.track("g", {}, now=second)).limited


@pytest.mark.parametrize(
    ("when", "error", "says"),
    [
        ({"now": "noon"}, TypeError, "now must be epoch seconds or an aware datetime, got 'noon'"),
        ({"now": True}, TypeError, "now must be epoch seconds or an aware datetime, got True"),
        ({"now": datetime(2026, 1, 1)}, ValueError, "now must know its time zone"),  # noqa: DTZ001
        ({"now": float("nan")}, ValueError, "now must"),
        ({"now": float("inf")}, ValueError, "now must"),
        ({"now": 10**400}, ValueError, "now must"),
        ({"now": 1e18}, ValueError, "now must"),
        ({"now_ts": "noon"}, TypeError, "now_ts must be"),
        ({"now": 1.0, "now_ts": 1.0}, TypeError, "now or now_ts, not both"),
    ],
    ids=str,
)
async def test_what_is_no_time_is_refused(
    when: dict[str, Any], error: type[Exception], says: str, in_memory: TrackingManager
) -> None:
    """A time that is none raises, says what is allowed, and tracks nothing."""
    await in_memory.add_tracker("g", CountTracker("n", 9))
    for call in (in_memory.track, in_memory.explain):
        with pytest.raises(error, match=says):
            await call("g", {}, **when)
    tracker = await in_memory.get_tracker("g", "n")
    assert tracker is not None
    assert tracker.progress == 0


async def test_the_clock_set_back_changes_no_order(manager: TrackingManager, clock: ManualClock) -> None:
    """Commits and additions go on in order when the machine's clock is set back."""
    await manager.add_tracker("g", CountTracker("a", 99))
    clock.set(clock.time() - 7200)
    await manager.add_tracker("g", CountTracker("b", 99))
    for _ in range(2):
        await manager.track("g", {})
    clock.set(clock.time() + 3600)
    await manager.track("g", {})
    assert [(tracker.name, tracker.progress) for tracker in await manager.get_trackers("g")] == [("a", 3), ("b", 3)]


async def test_the_end_of_time_is_refused_before_anything_happens(manager: TrackingManager) -> None:
    """A moment that no calendar has, also after rounding, raises; nothing moves, nothing is reset, no id is used up."""
    end = datetime.max.replace(tzinfo=UTC)
    await manager.add_tracker("g", CountTracker("n", 1))
    for refused in (
        manager.track("g", {}, now=end, event_id="e"),
        manager.reset_tracker("g", "n", now=end),
        manager.add_tracker("g", CountTracker("other", 1), expire_at=end),
    ):
        with pytest.raises(ValueError, match="must lie between the years 1 and 9999"):
            await refused
    assert [(t.name, t.progress, t.dirtied) for t in await manager.get_trackers("g")] == [("n", 0, False)]
    assert (await manager.track("g", {}, event_id="e")).completed
