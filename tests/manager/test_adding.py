"""``add_tracker`` and ``add_trackers``: what a taken name does, and that several are added all or none."""

from __future__ import annotations

import pytest

from milepost import (
    ConflictingNameError,
    CountTracker,
    InvalidDefinition,
    KeyExists,
    TrackerAdded,
    TrackerRemoved,
    TrackingManager,
)
from milepost.testing import EventRecorder
from tests.conftest import Place


async def test_an_added_tracker_is_announced_and_returned(manager: TrackingManager, recorder: EventRecorder) -> None:
    """Adding returns the tracker as it is, at its start, and announces ADDED once."""
    added = await manager.add_tracker("g", CountTracker("n", [3, 5]))
    assert (added.name, added.progress, added.target, added.dirtied) == ("n", 0, 3, False)
    (event,) = recorder.of(TrackerAdded)
    assert (event.group_id, event.name, event.tracker) == ("g", "n", added)
    assert await manager.get_tracker("g", "n") == added


async def test_a_taken_name_overwrites_nothing(manager: TrackingManager, recorder: EventRecorder) -> None:
    """A second tracker of a name raises ConflictingNameError; definition and progress stay."""
    await manager.add_tracker("g", CountTracker("n", 5))
    await manager.track("g", {})
    with pytest.raises(ConflictingNameError, match=r"'g' already has a tracker named 'n'.*if_exists") as caught:
        await manager.add_tracker("g", CountTracker("n", 7))
    assert (caught.value.group_id, caught.value.name) == ("g", "n")
    assert isinstance(caught.value, ValueError)
    tracker = await manager.get_tracker("g", "n")
    assert tracker is not None
    assert (tracker.target, tracker.progress) == (5, 1)
    assert recorder.codes == ["tracker.added"]


async def test_a_completed_tracker_still_has_its_name(manager: TrackingManager) -> None:
    """A name is taken until its tracker is removed or expires, also when it is completed."""
    await manager.add_tracker("g", CountTracker("n", 1))
    await manager.track("g", {})
    with pytest.raises(ConflictingNameError):
        await manager.add_tracker("g", CountTracker("n", 1))


async def test_keep_leaves_what_is_there(manager: TrackingManager, recorder: EventRecorder) -> None:
    """``if_exists="keep"`` returns the tracker that is there, and announces nothing."""
    await manager.add_tracker("g", CountTracker("n", 5))
    await manager.track("g", {})
    recorder.clear()
    kept = await manager.add_tracker("g", CountTracker("n", 7), if_exists="keep")
    assert (kept.target, kept.progress) == (5, 1)
    assert recorder.events == []
    new = await manager.add_tracker("g", CountTracker("other", 7), if_exists="keep")
    assert (new.name, recorder.codes) == ("other", ["tracker.added"])


async def test_replace_begins_anew(manager: TrackingManager, recorder: EventRecorder) -> None:
    """``if_exists="replace"`` puts the new tracker in the old one's place, at its start."""
    await manager.add_tracker("g", CountTracker("n", 5))
    await manager.track("g", {})
    first = recorder.of(TrackerAdded)[0]
    replaced = await manager.add_tracker("g", CountTracker("n", 7), if_exists="replace")
    assert (replaced.target, replaced.progress) == (7, 0)
    assert len(await manager.get_trackers("g")) == 1
    assert recorder.of(TrackerAdded)[1].id != first.id


async def test_several_are_added_all_or_none(manager: TrackingManager, recorder: EventRecorder) -> None:
    """One taken name among several adds none of them."""
    await manager.add_tracker("g", CountTracker("b", 5))
    recorder.clear()
    with pytest.raises(ConflictingNameError, match="'b'"):
        await manager.add_trackers("g", [CountTracker("a", 1), CountTracker("b", 1), CountTracker("c", 1)])
    assert [tracker.name for tracker in await manager.get_trackers("g")] == ["b"]
    assert recorder.events == []


async def test_a_name_that_comes_twice_adds_none(manager: TrackingManager) -> None:
    """Two trackers of one name in one call are a conflict, and nothing is added."""
    with pytest.raises(ConflictingNameError, match="'a'"):
        await manager.add_trackers("g", [CountTracker("a", 1), CountTracker("a", 2)])
    assert await manager.get_trackers("g") == []


async def test_something_that_is_no_tracker_adds_none(manager: TrackingManager) -> None:
    """A list with something else in it raises TypeError and adds nothing."""
    with pytest.raises(TypeError, match="BaseTracker"):
        await manager.add_trackers("g", [CountTracker("a", 1), KeyExists("k")])
    assert await manager.get_trackers("g") == []


async def test_a_tracker_meant_for_another_group_is_refused(manager: TrackingManager) -> None:
    """A tracker with a ``group_id`` can be added to that group only."""
    await manager.add_tracker("g", CountTracker("n", 1, group_id="g"))
    with pytest.raises(InvalidDefinition, match=r"group_id='g'.*'other'"):
        await manager.add_tracker("other", CountTracker("n", 1, group_id="g"))


async def test_the_same_names_in_two_groups_have_nothing_to_do_with_each_other(manager: TrackingManager) -> None:
    """Names are unique in a group; groups do not see each other."""
    await manager.add_tracker("g", CountTracker("n", 5))
    await manager.add_tracker("h", CountTracker("n", 7))
    await manager.track("g", {})
    progress = [(await manager.get_trackers(group))[0].progress for group in ("g", "h")]
    assert progress == [1, 0]


async def test_what_was_added_is_there_after_a_restart(file_place: Place) -> None:
    """Trackers, their definitions and their progress are there for the next manager."""
    async with file_place.manager() as manager:
        await manager.add_trackers("g", [CountTracker("b", [2, 4]), CountTracker("a", 9, conditions=[KeyExists("k")])])
        for data in ({}, {"k": 1}, {"k": 2}):
            await manager.track("g", data)
        before = await manager.get_trackers("g")
    async with file_place.manager() as manager:
        after = await manager.get_trackers("g")
        assert after == before
        assert [tracker.definition for tracker in after] == [tracker.definition for tracker in before]
        with pytest.raises(ConflictingNameError):
            await manager.add_tracker("g", CountTracker("a", 1))


async def test_an_announced_removal_precedes_nothing_on_replace(
    manager: TrackingManager, recorder: EventRecorder
) -> None:
    """Replacing announces ADDED for the new one; the old one was not removed by hand."""
    await manager.add_tracker("g", CountTracker("n", 5))
    await manager.add_tracker("g", CountTracker("n", 6), if_exists="replace")
    assert recorder.codes == ["tracker.added", "tracker.added"]
    assert not recorder.of(TrackerRemoved)
