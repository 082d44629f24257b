"""``flush`` deletes everything, and only when that was confirmed."""

from __future__ import annotations

import warnings

import pytest

from milepost import CountTracker, TrackingManager
from milepost.testing import EventRecorder
from tests.conftest import Place


async def test_without_confirmation_it_warns_and_does_nothing(manager: TrackingManager) -> None:
    """``flush()`` warns and deletes nothing; truthy is not confirmed."""
    await manager.add_tracker("g", CountTracker("n", 9))
    for confirm in (False, 1, "yes"):
        with pytest.warns(UserWarning, match=r"flush\(confirm=True\)"):
            assert await manager.flush(confirm=confirm) is False
    assert len(await manager.get_trackers("g")) == 1


async def test_a_confirmed_flush_deletes_everything(place: Place) -> None:
    """After ``flush(confirm=True)`` there are no groups, no event ids and no events, here and after a restart."""
    async with place.manager() as manager:
        for group in "gh":
            await manager.add_tracker(group, CountTracker("n", 9), expire=50)
            await manager.track(group, {}, event_id="e")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert await manager.flush(confirm=True) is True
        assert manager.status().backlog == 0
    async with place.manager() as manager:
        recorder = EventRecorder(manager)
        assert [group async for group in manager.groups()] == []
        assert await manager.get_trackers("g") == []
        assert await manager.data_store.outbox() == []
        assert not (await manager.track("g", {}, event_id="e")).duplicate
        await place.clock.advance(100)
        assert recorder.codes == []


async def test_a_flushed_manager_goes_on(place: Place) -> None:
    """The same names can be added at once, definitions that were known before included; declared ones begin anew."""
    tracker = CountTracker("n", 9)
    async with place.manager() as manager:
        manager.declare("*", CountTracker("declared", 9))
        await manager.add_tracker("g", tracker)
        await manager.track("g", {})
        await manager.flush(confirm=True)
        assert tracker.removed
        assert [(t.name, t.progress) for t in await manager.get_trackers("g")] == [("declared", 0)]
        await manager.add_tracker("g", CountTracker("n", 9))
        await manager.track("g", {})
    async with place.manager() as manager:
        assert {(t.name, t.progress) for t in await manager.get_trackers("g")} == {("declared", 1), ("n", 1)}


async def test_nobody_writes_the_past_back(clock: object, tmp_path: object) -> None:
    """A second process whose replica is from before a flush starts from nothing."""
    place = Place("sqlite through", clock, tmp_path)
    async with place.manager() as one, place.manager() as other:
        await one.add_tracker("g", CountTracker("n", 9))
        await other.track("g", {})
        await one.flush(confirm=True)
        assert (await other.track("g", {})).dirtied == []
        assert await other.get_trackers("g") == []
        await other.add_tracker("g", CountTracker("n", 9))
        assert [(t.progress) for t in await one.get_trackers("g")] == [0]
