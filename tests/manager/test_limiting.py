"""Limiters: what they refuse, when they say so, and what opens them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost import (
    AccumulationTracker,
    CountLimiter,
    CountTracker,
    KeyValueEQ,
    ResetPolicy,
    TimeLimiter,
    TrackerLimited,
    TrackerSnapshot,
    TrackingManager,
)
from milepost.testing import EventRecorder, ManualClock
from tests.conftest import Place


async def state(manager: TrackingManager) -> TrackerSnapshot:
    tracker = await manager.get_tracker("g", "n")
    assert tracker is not None
    return tracker


async def test_the_last_allowed_match_counts_and_announces_limited(
    manager: TrackingManager, recorder: EventRecorder
) -> None:
    """The count-th match still counts and announces LIMITED, once; what follows is refused until a reset."""
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[CountLimiter(3)]))
    results = [await manager.track("g", {}) for _ in range(6)]
    assert [len(result.dirtied) for result in results] == [1, 1, 1, 0, 0, 0]
    assert [[t.name for t in result.limited] for result in results] == [[], [], ["n"], ["n"], ["n"], ["n"]]
    assert all(result.ok for result in results)
    assert [[event.code for event in result.events] for result in results][2:4] == [["tracker.limited"], []]
    (event,) = recorder.of(TrackerLimited)
    assert (event.tracker.progress, event.tracker.limited) == (3, True)
    assert isinstance(event.limiter, CountLimiter)
    assert (event.limiter.count, event.limiter.remaining, event.limiter.limited) == (3, 0, True)
    await manager.reset_tracker("g", "n", ResetPolicy.LIMITER)
    assert (await manager.track("g", {})).dirtied[0].progress == 4


async def test_only_matching_events_use_up_a_count_limiter(manager: TrackingManager) -> None:
    """Data that do not satisfy the conditions, or bring nothing to add, cost the limiter nothing."""
    await manager.add_tracker(
        "g",
        AccumulationTracker("n", 99, conditions=[KeyValueEQ("kind", "buy")], limiters=[CountLimiter(2)]),
    )
    for data in ({"kind": "look", "amount": 1}, {"amount": 1}, {"kind": "buy"}, {"kind": "buy", "amount": "x"}):
        result = await manager.track("g", data)
        assert (result.dirtied, result.limited) == ([], [])
    assert (await state(manager)).limiters[0].remaining == 2
    for _ in range(3):
        await manager.track("g", {"kind": "buy", "amount": 1})
    assert (await state(manager)).progress == 2


async def test_limited_names_matching_trackers_only(manager: TrackingManager) -> None:
    """``limited`` lists every matching tracker that is limited when the call ends, and no other."""
    await manager.add_trackers(
        "g",
        [
            CountTracker("a", 99, conditions=[KeyValueEQ("k", 1)], limiters=[CountLimiter(1)]),
            CountTracker("b", 99, conditions=[KeyValueEQ("k", 2)], limiters=[CountLimiter(1)]),
            CountTracker("c", 99, limiters=[CountLimiter(2)]),
        ],
    )
    lists = [[tracker.name for tracker in (await manager.track("g", {"k": k})).limited] for k in (1, 2, 1, 3)]
    assert lists == [["a"], ["b", "c"], ["a", "c"], ["c"]]


async def test_several_limiters_must_all_allow(manager: TrackingManager, recorder: EventRecorder) -> None:
    """One limiter's refusal refuses the datum, and costs the others nothing."""
    limiters = [CountLimiter(5), CountLimiter(2)]
    await manager.add_tracker("g", CountTracker("n", 99, limiters=limiters))
    for _ in range(4):
        await manager.track("g", {})
    assert [limiter.remaining for limiter in (await state(manager)).limiters] == [3, 0]
    assert [event.data["limiter"] for event in recorder.of(TrackerLimited)] == [1]


async def test_what_is_limited_already_is_not_announced_again(
    manager: TrackingManager, clock: ManualClock, recorder: EventRecorder
) -> None:
    """When a second limiter begins to refuse, LIMITED comes for that one and not again for the first."""
    limiters: list[Any] = [CountLimiter(1), TimeLimiter(seconds=60)]
    await manager.add_tracker("g", CountTracker("n", 99, limiters=limiters))
    for seconds in (0, 30, 61):
        await clock.advance(seconds)
        await manager.track("g", {})
    assert [event.data["limiter"] for event in recorder.of(TrackerLimited)] == [0, 1]


async def test_both_bounds_of_a_window_are_inside(manager: TrackingManager, clock: ManualClock) -> None:
    """A TimeLimiter lets data pass from its start to its end, both included."""
    start = clock.time() + 100
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[TimeLimiter(seconds=60, start_ts=start)]))
    seen = [bool((await manager.track("g", {}, now=start + at)).dirtied) for at in (0, 30, 60)]
    assert seen == [True, True, True]
    for at in (-0.001, 60.001):
        result = await manager.track("g", {}, now=start + at)
        assert result.limited
        assert (await state(manager)).progress == 3


@pytest.mark.parametrize("form", ["seconds", "interval", "end_ts", "aware"])
async def test_a_window_is_given_as_seconds_interval_or_end(
    form: str, manager: TrackingManager, clock: ManualClock
) -> None:
    """``seconds=60``, a timedelta and an end, as epoch seconds or aware datetime, make the same window."""
    end = clock.time() + 60
    limiter = {
        "seconds": TimeLimiter(seconds=60),
        "interval": TimeLimiter(interval=timedelta(minutes=1)),
        "end_ts": TimeLimiter(end_ts=end),
        "aware": TimeLimiter(end_ts=datetime.fromtimestamp(end, UTC)),
    }[form]
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[limiter]))
    clock.set(end)
    assert (await manager.track("g", {})).dirtied
    clock.set(end + 0.5)
    assert (await manager.track("g", {})).limited


async def test_a_window_starts_when_its_tracker_is_added(place: Place, clock: ManualClock) -> None:
    """A TimeLimiter without a start begins when its tracker is added; that is state, and lasts."""
    async with place.manager() as manager:
        await clock.advance(1000)
        await manager.add_tracker("g", CountTracker("n", 99, limiters=[TimeLimiter(seconds=60)]))
    await clock.advance(50)
    async with place.manager() as manager:
        assert (await manager.track("g", {})).dirtied
        await clock.advance(11)
        assert (await manager.track("g", {})).limited


async def test_a_time_limiter_is_not_latched(
    manager: TrackingManager, clock: ManualClock, recorder: EventRecorder
) -> None:
    """A TimeLimiter looks at the time each time: refused outside, allowed inside; LIMITED once per transition."""
    start = clock.time() + 10
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[TimeLimiter(seconds=60, start_ts=start)]))
    for moment in (start - 1, start - 0.5, start + 1, start + 61, start + 62, start + 2):
        await manager.track("g", {}, now=moment)
    tracker = await state(manager)
    assert (tracker.progress, tracker.limited) == (2, False)
    limited = recorder.of(TrackerLimited)
    assert [event.event_ts for event in limited] == [start - 1, start + 61]
    assert limited[0].id != limited[1].id


async def test_a_reset_starts_the_window_again(manager: TrackingManager, clock: ManualClock) -> None:
    """A reset begins a window of the same length, now; also where the window was given by its end."""
    for name, limiter in (("n", TimeLimiter(seconds=60)), ("end", TimeLimiter(end_ts=clock.time() + 60))):
        await manager.add_tracker("g", CountTracker(name, 99, limiters=[limiter]))
    await clock.advance(61)
    assert len((await manager.track("g", {})).limited) == 2
    for name in ("n", "end"):
        await manager.reset_tracker("g", name, ResetPolicy.LIMITER)
    assert not (await manager.get_trackers("g", "n"))[0].limited
    await clock.advance(60)
    assert len((await manager.track("g", {})).dirtied) == 2
    await clock.advance(1)
    assert len((await manager.track("g", {})).limited) == 2


async def test_session_monitoring_as_in_the_issue(in_memory: TrackingManager, clock: ManualClock) -> None:
    """70 calls 1.001 s apart with a window of 60 s and a reset after the first refusal: 69 allowed, 1 blocked."""
    await in_memory.add_tracker("g", CountTracker("n", 1000, limiters=[TimeLimiter(seconds=60)]))
    allowed = blocked = 0
    for _ in range(70):
        if (await in_memory.track("g", {})).limited:
            blocked += 1
            await in_memory.reset_tracker("g", "n", ResetPolicy.LIMITER)
        else:
            allowed += 1
        await clock.advance(1.001)
    assert (allowed, blocked) == (69, 1)


async def test_setting_the_clock_back_and_forward_does_not_reset_twice(
    manager: TrackingManager, clock: ManualClock, recorder: EventRecorder
) -> None:
    """An hour back and forward, as a clock may be set, neither reopens a used limiter nor moves a window."""
    start = clock.time()
    limiters: list[Any] = [CountLimiter(2), TimeLimiter(seconds=7200)]
    await manager.add_tracker("g", CountTracker("n", 99, limiters=limiters))
    await manager.track("g", {})
    clock.set(start - 3600)
    await manager.track("g", {})  # before the window: refused
    clock.set(start + 60)
    before = await state(manager)
    assert (before.progress, before.limiters[0].remaining, before.limiters[1].start) == (1, 1, start)
    await manager.track("g", {})
    clock.set(start + 3600)
    await manager.track("g", {})
    assert (await state(manager)).progress == 2
    count_limited = [event for event in recorder.of(TrackerLimited) if event.data["limiter"] == 0]
    assert len(count_limited) == 1


async def test_limiter_state_survives_a_restart(file_place: Place) -> None:
    """What a limiter has left, and that it is limited, are there for the next manager."""
    for used in range(1, 5):
        async with file_place.manager() as manager:
            limited = CountTracker("n", 99, limiters=[CountLimiter(3)])
            await manager.add_tracker("g", limited, if_exists="keep")
            await manager.track("g", {})
            tracker = await state(manager)
            assert tracker.limiters[0].remaining == max(3 - used, 0)
            assert tracker.limited is (used >= 3)
            assert limited.limited is tracker.limited


async def test_a_repeated_moment_gives_two_refusals_two_ids(manager: TrackingManager, recorder: EventRecorder) -> None:
    """Each time a limiter begins to refuse is a milestone of its own, also when ``now=`` says the same moment again."""
    await manager.add_tracker("g", CountTracker("n", 9, limiters=[TimeLimiter(seconds=10, start_ts=1010)]))
    for now in (1000, 1012, 1000, 1012, 1000):
        await manager.track("g", {}, now=now)
    ids = [event.id for event in recorder.of(TrackerLimited)]
    assert len(ids) == len(set(ids)) == 3


async def test_a_reset_to_nothing_announces_that_it_limits(manager: TrackingManager, recorder: EventRecorder) -> None:
    """``reset_count=0`` closes an open limiter: LIMITED follows RESET; where it was closed before, only RESET comes."""
    await manager.add_tracker("g", CountTracker("n", 9, limiters=[CountLimiter(5)]))
    for _ in range(2):
        await manager.reset_tracker("g", "n", ResetPolicy.LIMITER, reset_count=0)
    codes = [event.code for event in recorder.events]
    assert codes == ["tracker.added", "tracker.reset", "tracker.limited", "tracker.reset"]
    assert (await state(manager)).limited
    assert [t.name for t in (await manager.track("g", {})).limited] == ["n"]
    assert len(recorder.of(TrackerLimited)) == 1


async def test_a_window_that_was_over_before_it_began_cannot_be_started_again(manager: TrackingManager) -> None:
    """``end_ts`` before the tracker was added leaves no length to repeat: it stays limited, unless one is given."""
    await manager.add_tracker("g", CountTracker("n", 9, limiters=[TimeLimiter(end_ts=1000)]))
    assert not (await manager.track("g", {})).dirtied[0].progress
    await manager.reset_tracker("g", "n", ResetPolicy.LIMITER)
    assert (await state(manager)).limited
    await manager.reset_tracker("g", "n", ResetPolicy.LIMITER, reset_seconds=60)
    assert not (await state(manager)).limited
    assert (await manager.track("g", {})).dirtied[0].progress == 1
