"""A caller that is cancelled strands nobody and takes nothing with it."""

from __future__ import annotations

import asyncio

import pytest

from milepost import CountTracker, TrackerAllCompleted, TrackerEvent, TrackingManager
from milepost.testing import EventRecorder


async def test_a_caller_cancelled_while_its_commit_is_in_flight(
    manager: TrackingManager, recorder: EventRecorder
) -> None:
    """A cancelled call counts once or not at all; the others of the same commit count, and the events come."""
    await manager.add_tracker("g", CountTracker("n", [40, 1000]))
    for pause in range(12):  # cancelled ever later on its way
        calls = [asyncio.ensure_future(manager.track("g", {})) for _ in range(5)]
        for _ in range(pause):
            await asyncio.sleep(0)
        calls[2].cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert not [result for i, result in enumerate(done) if i != 2 and isinstance(result, BaseException)]
    await manager.settle()
    tracker = await manager.get_tracker("g", "n")
    assert tracker is not None
    assert 48 <= tracker.progress <= 60
    assert len([code for code in recorder.codes if code == "tracker.stage_completed"]) == 1
    assert manager.status().waiting == 0


async def test_a_listener_goes_on_although_the_caller_is_cancelled(manager: TrackingManager) -> None:
    """A listener that a cancelled caller waits for runs to its end, and so does everyone's after it."""
    begun, may_end = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def slow(event: TrackerEvent) -> None:
        begun.set()
        await may_end.wait()
        ended.append(event.name)

    manager.add_listener(TrackerAllCompleted, slow)
    manager.add_listener(TrackerAllCompleted, lambda event: ended.append("second"))
    await manager.add_tracker("g", CountTracker("n", 1))
    call = asyncio.ensure_future(manager.track("g", {}))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    may_end.set()
    async with asyncio.timeout(10):
        await manager.settle()
    assert ended == ["n", "second"]


async def test_one_of_two_that_wait_for_the_same_listener_is_cancelled(manager: TrackingManager) -> None:
    """Two callers whose events went out together: cancelling one leaves the other its answer."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(event: TrackerEvent) -> None:
        begun.set()
        await may_end.wait()

    manager.add_listener(TrackerAllCompleted, slow)
    await manager.add_tracker("g", CountTracker("n", 1, loop_forever=True))
    calls = [asyncio.ensure_future(manager.track("g", {})) for _ in range(3)]
    await begun.wait()
    calls[0].cancel()
    await asyncio.sleep(0)
    may_end.set()
    async with asyncio.timeout(10):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(len(result.completed) == 1 for result in results[1:])


async def test_a_timeout_around_track_leaves_the_manager_usable(manager: TrackingManager) -> None:
    """Calls under a timeout that has passed already do not wedge a group."""
    await manager.add_tracker("g", CountTracker("n", 1000))
    for _ in range(20):
        try:
            async with asyncio.timeout(0):
                await manager.track("g", {})
        except TimeoutError:
            pass
    before = (await manager.get_trackers("g"))[0].progress
    assert (await manager.track("g", {})).dirtied[0].progress == before + 1
