"""``update_tracker``: a changed definition under the same name; what was committed stays."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import (
    CountLimiter,
    CountTracker,
    KeyExists,
    TimeLimiter,
    TrackerNotFound,
    TrackerSnapshot,
    TrackingManager,
)
from milepost.testing import EventRecorder
from tests.conftest import Place


async def state(manager: TrackingManager) -> TrackerSnapshot:
    tracker = await manager.get_tracker("g", "n")
    assert tracker is not None
    return tracker


async def test_progress_and_stage_stay(manager: TrackingManager, recorder: EventRecorder) -> None:
    """Conditions, targets ahead and the rest change; progress and stage stay, and nothing is announced."""
    await manager.add_tracker("g", CountTracker("n", [2, 5]))
    for _ in range(3):
        await manager.track("g", {})
    recorder.clear()
    updated = await manager.update_tracker("g", CountTracker("n", [2, 6, 9], conditions=[KeyExists("k")]))
    assert (updated.progress, updated.target, updated.current_stage) == (3, 6, 2)
    assert recorder.events == []
    assert not (await manager.track("g", {})).dirtied
    assert (await manager.track("g", {"k": 1})).dirtied[0].progress == 4


async def test_limiters_of_the_same_kind_keep_their_state(manager: TrackingManager) -> None:
    """A limiter of the same kind in the same place keeps what it has left; a new one starts."""
    await manager.add_tracker("g", CountTracker("n", 99, limiters=[CountLimiter(5)]))
    for _ in range(2):
        await manager.track("g", {})
    updated = await manager.update_tracker(
        "g", CountTracker("n", 99, limiters=[CountLimiter(5), TimeLimiter(seconds=9)])
    )
    assert updated.limiters[0].remaining == 3
    assert updated.limiters[1].start is not None


async def test_a_limiter_keeps_its_state_wherever_it_stands(manager: TrackingManager) -> None:
    """Limiters put before or in another order leave the state of those that stay; the same definition goes first."""
    used_up, other = CountLimiter(2), CountLimiter(5)
    await manager.add_tracker("g", CountTracker("n", 9, limiters=[used_up, other]))
    for _ in range(2):
        await manager.track("g", {})
    for limiters, remaining in (
        ([TimeLimiter(seconds=60), CountLimiter(2), CountLimiter(5)], [None, 0, 3]),
        ([CountLimiter(5), CountLimiter(2)], [3, 0]),
        ([CountLimiter(7), CountLimiter(2)], [3, 0]),
    ):
        changed = await manager.update_tracker("g", CountTracker("n", 9, limiters=limiters))
        assert [getattr(limiter, "remaining", None) for limiter in changed.limiters] == remaining
        assert [limiter.limited for limiter in changed.limiters][remaining.index(0)]
        assert [t.name for t in (await manager.track("g", {})).limited] == ["n"]


async def test_add_targets_extends_a_tracker(manager: TrackingManager) -> None:
    """``add_targets`` and ``update_tracker`` together set targets ahead of a tracker, a completed one too."""
    tracker = CountTracker("n", 2)
    await manager.add_tracker("g", tracker)
    for _ in range(3):
        await manager.track("g", {})
    assert tracker.completed
    tracker.add_targets(4, [6])
    await manager.update_tracker("g", tracker)
    now = await state(manager)
    assert (now.completed, now.progress, now.target, now.multi_target) == (False, 2, 4, (6,))
    assert (tracker.progress, tracker.target) == (2, 4)
    codes = [event.code for _ in range(4) for event in (await manager.track("g", {})).events]
    assert codes == ["tracker.stage_completed", "tracker.all_completed"]


async def test_an_update_completes_nothing_silently(manager: TrackingManager, recorder: EventRecorder) -> None:
    """A tracker that has not reached its last target is not completed by an update that leaves it fewer targets."""
    await manager.add_tracker("g", CountTracker("n", [2, 5, 9]))
    for _ in range(3):
        await manager.track("g", {})
    updated = await manager.update_tracker("g", CountTracker("n", [100]))
    assert (updated.progress, updated.completed) == (3, False)
    assert (await manager.track("g", {})).dirtied[0].progress == 4
    assert "tracker.all_completed" not in recorder.codes


async def test_only_what_is_there_can_be_updated(manager: TrackingManager) -> None:
    """Updating a tracker that is not there raises TrackerNotFound, a LookupError, and adds nothing."""
    with pytest.raises(TrackerNotFound, match="group 'g' has no tracker named 'n'") as caught:
        await manager.update_tracker("g", CountTracker("n", 5))
    assert isinstance(caught.value, LookupError)
    assert (caught.value.group_id, caught.value.name) == ("g", "n")
    assert await manager.get_trackers("g") == []


async def test_an_update_lasts(file_place: Place) -> None:
    """The next manager finds the changed definition with the state it had."""
    async with file_place.manager() as manager:
        await manager.add_tracker("g", CountTracker("n", 5))
        await manager.track("g", {})
        updated = await manager.update_tracker("g", CountTracker("n", 7, conditions=[KeyExists("k")]))
    async with file_place.manager() as manager:
        assert await state(manager) == updated
        assert (await manager.track("g", {})).dirtied == []


async def test_milestones_keep_their_ids_through_an_update(manager: TrackingManager, recorder: EventRecorder) -> None:
    """An update makes no other tracker of it: adding time and order stay."""
    await manager.add_trackers("g", [CountTracker("n", 5), CountTracker("m", 5)])
    before = await state(manager)
    await manager.update_tracker("g", CountTracker("n", 6))
    after = await state(manager)
    assert (after.added_at, after.life.incarnation, after.life.serial) == (
        before.added_at,
        before.life.incarnation,
        before.life.serial,
    )
    assert [tracker.name for tracker in await manager.get_trackers("g")] == ["n", "m"]


@pytest.mark.parametrize("wrong", [None, "n", 3, KeyExists("k")], ids=str)
async def test_what_is_no_tracker_cannot_update_one(wrong: Any, in_memory: TrackingManager) -> None:
    """Something that is no tracker raises TypeError."""
    await in_memory.add_tracker("g", CountTracker("n", 5))
    with pytest.raises(TypeError, match="BaseTracker"):
        await in_memory.update_tracker("g", wrong)
