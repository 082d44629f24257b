"""``event_id``: applied twice it counts once, within the deduplication window."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from milepost import CountTracker, KeyExists, TrackingManager
from milepost.testing import EventRecorder
from tests.conftest import Place


async def progress(manager: TrackingManager) -> Any:
    return [tracker.progress for tracker in await manager.get_trackers("g")]


async def test_a_known_event_id_changes_nothing_and_says_so(manager: TrackingManager, recorder: EventRecorder) -> None:
    """The second call with an id is a duplicate: not ok, nothing moved, nothing announced."""
    await manager.add_tracker("g", CountTracker("n", [1, 2]))
    first = await manager.track("g", {}, event_id="e")
    second = await manager.track("g", {}, event_id="e")
    assert (first.ok, first.duplicate) == (True, False)
    assert (second.ok, second.duplicate, second.dirtied, second.events) == (False, True, [], ())
    assert await progress(manager) == [1]
    assert recorder.codes == ["tracker.added", "tracker.stage_completed"]
    assert (await manager.track("g", {}, event_id="f")).ok


async def test_an_id_is_remembered_also_when_nothing_matched(manager: TrackingManager) -> None:
    """An id counts as applied although no tracker matched, or the group had none yet."""
    assert (await manager.track("g", {}, event_id="early")).ok
    await manager.add_tracker("g", CountTracker("n", 9, conditions=[KeyExists("k")]))
    assert (await manager.track("g", {}, event_id="unmatched")).ok
    for known in ("early", "unmatched"):
        assert (await manager.track("g", {"k": 1}, event_id=known)).duplicate
    assert await progress(manager) == [0]


async def test_ids_belong_to_a_group(manager: TrackingManager) -> None:
    """The same id in two groups is two events."""
    manager.declare("*", CountTracker("n", 9))
    assert (await manager.track("g", {}, event_id="e")).ok
    assert (await manager.track("h", {}, event_id="e")).ok


async def test_ids_are_known_after_a_restart(file_place: Place) -> None:
    """An id is known again after a restart, and after its trackers were removed and added again."""
    async with file_place.manager() as manager:
        await manager.add_tracker("g", CountTracker("n", 9))
        await manager.track("g", {}, event_id="e")
        await manager.track("unknown", {}, event_id="e")
    async with file_place.manager() as manager:
        assert (await manager.track("g", {}, event_id="e")).duplicate
        assert (await manager.track("unknown", {}, event_id="e")).duplicate
        await manager.remove_tracker("g")
        await manager.add_tracker("g", CountTracker("n", 9))
        assert (await manager.track("g", {}, event_id="e")).duplicate
        assert await progress(manager) == [0]


async def test_ids_are_known_after_eviction(file_place: Place) -> None:
    """An id is known although its group left memory meanwhile."""
    from milepost import MemoryDataCache

    async with file_place.manager(data_cache=MemoryDataCache(max_groups=1), flush_interval=0.001) as manager:
        manager.declare("*", CountTracker("n", 99))
        await manager.track("g", {}, event_id="e")
        for i in range(5):
            await manager.track(f"other {i}", {})
        await file_place.clock.advance(5)
        for _ in range(500):
            if not await manager.data_cache.is_cached("g"):
                break
            await asyncio.sleep(0.002)
            await file_place.clock.advance(1)
        assert not await manager.data_cache.is_cached("g")
        assert (await manager.track("g", {}, event_id="e")).duplicate
        assert await progress(manager) == [1]


async def test_the_window_is_as_long_as_it_says(place: Place) -> None:
    """A group remembers its last ``dedup_window`` ids, and forgets those before."""
    async with place.manager(dedup_window=3) as manager:
        await manager.add_tracker("g", CountTracker("n", 99))
        for i in range(5):
            await manager.track("g", {}, event_id=f"{i}")
    async with place.manager(dedup_window=3) as manager:
        assert [(await manager.track("g", {}, event_id=f"{i}")).duplicate for i in (4, 3, 2)] == [True] * 3
        assert (await manager.track("g", {}, event_id="1")).ok
        assert (await manager.track("g", {}, event_id="0")).ok
        assert await progress(manager) == [7]


async def test_concurrent_calls_with_one_id_count_once(manager: TrackingManager) -> None:
    """Twenty tasks with one id at the same moment: one is applied."""
    await manager.add_tracker("g", CountTracker("n", 99))
    results = await asyncio.gather(*(manager.track("g", {}, event_id="e") for _ in range(20)))
    assert sum(result.ok for result in results) == 1
    assert await progress(manager) == [1]


async def test_a_rejected_datum_is_applied_as_far_as_its_id_goes(manager: TrackingManager) -> None:
    """A datum that could move nothing was still applied: its id is known."""
    from milepost import AccumulationTracker

    await manager.add_tracker("g", AccumulationTracker("n", 9))
    first = await manager.track("g", {"amount": "x"}, event_id="e")
    assert (first.ok, len(first.rejected)) == (True, 1)
    assert (await manager.track("g", {"amount": 1}, event_id="e")).duplicate


@pytest.mark.parametrize("event_id", ["ü", "x" * 10_000, "\x00", "\ud800", " "])
async def test_an_id_may_be_any_text(event_id: str, manager: TrackingManager) -> None:
    """An id is any text that is not empty."""
    manager.declare("*", CountTracker("n", 99))
    seen = [(await manager.track("g", {}, event_id=event_id)).duplicate for _ in range(2)]
    assert seen == [False, True]


@pytest.mark.parametrize(("event_id", "error"), [(3, TypeError), (b"x", TypeError), ("", ValueError)])
async def test_what_is_no_id_is_refused(event_id: Any, error: type[Exception], in_memory: TrackingManager) -> None:
    """An id that is no text, or empty, raises and tracks nothing."""
    await in_memory.add_tracker("g", CountTracker("n", 99))
    with pytest.raises(error, match="event_id"):
        await in_memory.track("g", {}, event_id=event_id)
    assert await progress(in_memory) == [0]
