"""``loop_forever``: after the last target a tracker begins again, with what exceeds it."""

from __future__ import annotations

import pytest

from milepost import (
    AccumulationTracker,
    CountTracker,
    ResetPolicy,
    TrackerAllCompleted,
    TrackerSnapshot,
    TrackingManager,
)
from milepost.testing import EventRecorder


async def state(manager: TrackingManager) -> TrackerSnapshot:
    tracker = await manager.get_tracker("g", "n")
    assert tracker is not None
    return tracker


async def test_the_next_cycle_begins_with_what_exceeds_the_last_target(manager: TrackingManager) -> None:
    """A looping tracker is never completed; it carries the excess into its next cycle."""
    await manager.add_tracker("g", AccumulationTracker("n", [4, 10], loop_forever=True))
    result = await manager.track("g", {"amount": 13})
    assert [event.code for event in result.events] == ["tracker.stage_completed", "tracker.all_completed"]
    assert [tracker.name for tracker in result.completed] == ["n"]
    tracker = await state(manager)
    assert (tracker.progress, tracker.cycle, tracker.current_stage, tracker.completed) == (3, 1, 1, False)


async def test_what_exceeds_may_pass_the_first_stages_of_the_next_cycle(manager: TrackingManager) -> None:
    """Overshoot reaches into the next cycle: its first targets are announced by the same datum."""
    await manager.add_tracker("g", AccumulationTracker("n", [4, 10], loop_forever=True))
    result = await manager.track("g", {"amount": 17})
    codes = [event.code for event in result.events]
    assert codes == ["tracker.stage_completed", "tracker.all_completed", "tracker.stage_completed"]
    assert len({event.id for event in result.events}) == 3
    tracker = await state(manager)
    assert (tracker.progress, tracker.current_stage) == (7, 2)


async def test_a_thousand_cycles_in_one_datum_are_one_event(manager: TrackingManager, recorder: EventRecorder) -> None:
    """Several whole cycles in one datum are one ALL_COMPLETED that says how many times."""
    await manager.add_tracker("g", AccumulationTracker("n", 10, loop_forever=True))
    result = await manager.track("g", {"amount": 10_003})
    (event,) = recorder.of(TrackerAllCompleted)
    assert event.times == 1000
    assert event.data["times"] == 1000
    assert list(result.events) == [event]
    tracker = await state(manager)
    assert (tracker.progress, tracker.cycle) == (3, 1000)


async def test_an_ordinary_cycle_happens_once(manager: TrackingManager, recorder: EventRecorder) -> None:
    """``times`` is 1 where one cycle was completed, and each cycle's event has an id of its own."""
    await manager.add_tracker("g", CountTracker("n", 2, loop_forever=True))
    for _ in range(6):
        await manager.track("g", {})
    events = recorder.of(TrackerAllCompleted)
    assert [event.times for event in events] == [1, 1, 1]
    assert len({event.id for event in events}) == 3
    assert (await state(manager)).cycle == 3


async def test_cycles_add_up_the_same_however_they_arrive(in_memory: TrackingManager) -> None:
    """A hundred small data and one large one lead to the same cycle and the same progress."""
    await in_memory.add_tracker("g", AccumulationTracker("n", [3, 7], loop_forever=True))
    await in_memory.add_tracker("whole", AccumulationTracker("n", [3, 7], loop_forever=True))
    for amount in range(100):
        await in_memory.track("g", {"amount": amount})
    await in_memory.track("whole", {"amount": sum(range(100))})
    one, other = await state(in_memory), await in_memory.get_tracker("whole", "n")
    assert other is not None
    assert (one.progress, one.cycle, one.current_stage) == (other.progress, other.cycle, other.current_stage)
    assert (one.cycle, one.progress) == divmod(sum(range(100)), 7)


async def test_a_loop_that_resets_its_progress_starts_at_init_progress(manager: TrackingManager) -> None:
    """With ResetPolicy.PROGRESS the next cycle begins at init_progress, and each stage costs a datum at least."""
    await manager.add_tracker(
        "g", AccumulationTracker("n", 10, loop_forever=True, init_progress=2, reset_policy=ResetPolicy.PROGRESS)
    )
    result = await manager.track("g", {"amount": 9})
    assert len(result.completed) == 1
    tracker = await state(manager)
    assert (tracker.progress, tracker.cycle) == (2, 1)


@pytest.mark.parametrize("amount", [0.25, 1.75, 1000.5])
async def test_floats_loop_too(amount: float, in_memory: TrackingManager) -> None:
    """A float that exceeds a target leaves the remainder that floats give."""
    await in_memory.add_tracker("g", AccumulationTracker("n", 0.5, loop_forever=True))
    await in_memory.track("g", {"amount": amount})
    tracker = await state(in_memory)
    assert (tracker.cycle, tracker.progress) == divmod(amount, 0.5)


async def test_more_cycles_than_can_be_kept_are_refused_whole(
    manager: TrackingManager, recorder: EventRecorder
) -> None:
    """A datum worth more than 2**63 cycles moves nothing of its tracker and is reported; siblings and id stand."""
    await manager.add_trackers("g", [CountTracker("sibling", 99), AccumulationTracker("loop", 100, loop_forever=True)])
    huge = await manager.track("g", {"amount": "1e25"}, event_id="huge")
    assert ([t.name for t in huge.dirtied], [item.name for item in huge.rejected]) == (["sibling"], ["loop"])
    assert "cycles" in huge.rejected[0].reason
    assert (await manager.track("g", {"amount": "1e25"}, event_id="huge")).duplicate
    assert (await manager.explain("g", {"amount": "1e25"}))["loop"].outcome == "rejected"
    assert (await manager.track("g", {"amount": 250})).completed[0].cycle == 1
    assert await manager.remove_tracker("g", "loop")
    assert [event.code for event in recorder.events if event.name == "loop"][1:] == [
        "tracker.all_completed",
        "tracker.removed",
    ]
