"""``declare``: the same trackers for every group of a pattern, without a row until something happens."""

from __future__ import annotations

import pytest

from milepost import (
    AccumulationTracker,
    ConflictingNameError,
    CountLimiter,
    CountTracker,
    InvalidDefinition,
    KeyExists,
    ResetPolicy,
    TimeLimiter,
    TrackingManager,
)
from milepost.testing import EventRecorder, ManualClock
from tests.conftest import Place

LOGINS = "logins"


async def progress(manager: TrackingManager, group: str) -> list[tuple[str, object]]:
    return [(tracker.name, tracker.progress) for tracker in await manager.get_trackers(group)]


def goal(target: int = 3) -> CountTracker:
    return CountTracker(LOGINS, target, conditions=[KeyExists("login")])


async def test_a_declared_tracker_moves_in_every_group_of_its_pattern(manager: TrackingManager) -> None:
    """A group whose id matches tracks what was declared; others do not."""
    manager.declare("user:*", goal())
    for group in ("user:1", "user:2", "shop:1"):
        await manager.track(group, {"login": True})
    await manager.track("user:2", {"login": True})
    assert await progress(manager, "user:1") == [(LOGINS, 1)]
    assert await progress(manager, "user:2") == [(LOGINS, 2)]
    assert await progress(manager, "shop:1") == []


async def test_no_row_is_written_before_a_tracker_moves(manager: TrackingManager, recorder: EventRecorder) -> None:
    """Declaring, reading and data that do not match write nothing; the first move writes a row."""
    manager.declare("*", goal())
    assert await progress(manager, "g") == [(LOGINS, 0)]
    assert (await manager.track("g", {"logout": 1})).dirtied == []
    await manager.explain("g", {"login": 1})
    assert [group async for group in manager.groups()] == []
    await manager.track("g", {"login": 1})
    assert [group async for group in manager.groups()] == ["g"]
    assert recorder.codes == []


async def test_a_declared_tracker_reaches_its_target_in_one_datum(manager: TrackingManager) -> None:
    """The first datum of a group may complete a declared tracker; stages are announced as ever."""
    manager.declare("*", AccumulationTracker("spend", [1, 5]))
    result = await manager.track("g", {"amount": 7})
    assert [event.code for event in result.events] == ["tracker.stage_completed", "tracker.all_completed"]
    assert [tracker.name for tracker in result.completed] == ["spend"]
    assert not (await manager.track("g", {"amount": 7})).dirtied


async def test_get_trackers_shows_them_at_their_start(manager: TrackingManager) -> None:
    """Declared trackers that have not moved are there, before the group's own, in the order of declaring."""
    manager.declare("*", CountTracker("b", 9, init_progress=4), CountTracker("a", 9))
    await manager.add_tracker("g", CountTracker("own", 9))
    manager.declare("g", CountTracker("late", 9))
    assert await progress(manager, "g") == [("b", 4), ("a", 0), ("late", 0), ("own", 0)]
    assert await manager.get_tracker("other", "a") is not None
    assert await manager.get_tracker("other", "late") is None


async def test_an_existing_row_keeps_its_definition(place: Place) -> None:
    """A row keeps the definition it began with when something else is declared under its name later."""
    async with place.manager() as manager:
        manager.declare("*", goal(3))
        await manager.track("old", {"login": 1})
    async with place.manager() as manager:
        manager.declare("*", goal(7))
        await manager.track("old", {"login": 1})
        await manager.track("new", {"login": 1})
        old, new = await manager.get_tracker("old", LOGINS), await manager.get_tracker("new", LOGINS)
        assert old is not None
        assert new is not None
        assert (old.progress, old.target, new.progress, new.target) == (2, 3, 1, 7)


async def test_a_removal_stays(place: Place) -> None:
    """A declared tracker that was removed from a group, moved or not, stays away from it, also after a restart."""
    for run in range(2):
        async with place.manager() as manager:
            manager.declare("*", goal())
            if run == 0:
                await manager.track("moved", {"login": 1})
                assert await manager.remove_tracker("moved", LOGINS) is True
                assert await manager.remove_tracker("unmoved", LOGINS) is True
            for group in ("moved", "unmoved"):
                assert (await manager.track(group, {"login": 1})).dirtied == []
                assert await progress(manager, group) == []
                assert await manager.remove_tracker(group, LOGINS) is False
                assert await manager.reset_tracker(group, LOGINS) is False
                assert (await manager.explain(group, {"login": 1})).trackers == ()
            assert await progress(manager, f"other {run}") == [(LOGINS, 0)]


async def test_what_was_removed_can_be_added(manager: TrackingManager) -> None:
    """A name that is declared is taken; removed, it can be added, as a tracker of the group's own."""
    manager.declare("*", goal())
    with pytest.raises(ConflictingNameError):
        await manager.add_tracker("g", CountTracker(LOGINS, 1))
    await manager.remove_tracker("g", LOGINS)
    await manager.add_tracker("g", CountTracker(LOGINS, 1))
    assert (await manager.track("g", {})).completed
    await manager.add_tracker("h", CountTracker(LOGINS, 1), if_exists="replace")
    assert (await manager.track("h", {})).completed
    kept = await manager.add_tracker("i", CountTracker(LOGINS, 1), if_exists="keep")
    assert kept.target == 3


async def test_a_declared_tracker_can_be_reset_and_updated(manager: TrackingManager, recorder: EventRecorder) -> None:
    """What can be done to a tracker can be done to a declared one, moved or not; then it has a row."""
    manager.declare("*", goal())
    assert await manager.reset_tracker("g", LOGINS, ResetPolicy.ALL) is True
    assert recorder.codes == ["tracker.reset"]
    updated = await manager.update_tracker("h", goal(9))
    assert updated.target == 9
    await manager.track("h", {"login": 1})
    assert [(tracker.target, tracker.progress) for tracker in await manager.get_trackers("h")] == [(9, 1)]


async def test_a_limited_declared_tracker_has_a_row(place: Place) -> None:
    """Limiters of declared trackers count per group, and their state lasts."""
    async with place.manager() as manager:
        manager.declare("*", CountTracker("n", 99, limiters=[CountLimiter(2)]))
        for _ in range(3):
            await manager.track("a", {})
        await manager.track("b", {})
    async with place.manager() as manager:
        manager.declare("*", CountTracker("n", 99, limiters=[CountLimiter(2)]))
        assert await progress(manager, "a") == [("n", 2)]
        assert not (await manager.track("a", {})).dirtied
        assert (await manager.track("b", {})).dirtied


async def test_a_declared_time_window_starts_when_the_tracker_begins(
    manager: TrackingManager, clock: ManualClock
) -> None:
    """A TimeLimiter of a declared tracker starts in each group with the first datum that moves it."""
    manager.declare("*", CountTracker("n", 99, limiters=[TimeLimiter(seconds=60)]))
    await clock.advance(1000)
    assert (await manager.track("g", {})).dirtied
    await clock.advance(61)
    assert (await manager.track("g", {})).limited
    assert (await manager.track("h", {})).limited == []


async def test_declaring_works_before_the_start_and_while_running(place: Place) -> None:
    """Trackers can be declared without a loop, before the start, and later; groups in memory get them too."""
    manager = place.manager()
    manager.declare("*", CountTracker("early", 9))
    async with manager:
        await manager.track("g", {})
        manager.declare("*", CountTracker("late", 9))
        await manager.track("g", {})
        assert await progress(manager, "g") == [("early", 2), ("late", 1)]


async def test_on_completed_remove_stays_removed(manager: TrackingManager) -> None:
    """A declared tracker that removes itself when completed does not begin again."""
    manager.declare("*", CountTracker("once", 1, on_completed="remove"))
    assert (await manager.track("g", {})).completed
    assert (await manager.track("g", {})).dirtied == []
    assert await progress(manager, "g") == []


def test_what_cannot_be_declared_says_why() -> None:
    """A pattern that is no text, something that is no tracker and a name that comes twice are refused."""
    manager = TrackingManager()
    with pytest.raises(TypeError, match="pattern"):
        manager.declare(3, goal())
    with pytest.raises(TypeError, match="BaseTracker"):
        manager.declare("*", KeyExists("a"))
    with pytest.raises(InvalidDefinition, match=LOGINS):
        manager.declare("*", goal(), goal(4))


async def test_a_row_without_its_declaration_goes_on(place: Place) -> None:
    """A row of a declared tracker moves on in a process that does not declare it; a removed one stays removed."""
    async with place.manager() as manager:
        manager.declare("*", goal())
        await manager.track("a", {"login": 1})
        await manager.remove_tracker("b", LOGINS)
    async with place.manager() as manager:
        await manager.track("a", {"login": 1})
        await manager.track("b", {"login": 1})
        assert await progress(manager, "a") == [(LOGINS, 2)]
        assert await progress(manager, "b") == []


def test_a_tracker_of_one_group_cannot_be_declared_for_all() -> None:
    """``group_id`` names the only group that a tracker is for, so a pattern that means others is refused."""
    manager = TrackingManager()
    with pytest.raises(InvalidDefinition, match=r"group_id='user:1'.*'user:\*'"):
        manager.declare("user:*", CountTracker("n", 9, group_id="user:1"))
    manager.declare("user:1", CountTracker("n", 9, group_id="user:1"))
