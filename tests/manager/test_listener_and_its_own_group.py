"""A listener may track the group whose event it hears: nobody waits for itself, and order is kept."""

from __future__ import annotations

import asyncio

from milepost import CountTracker, KeyExists, TrackerAdded, TrackerAllCompleted, TrackerEvent, TrackingManager
from milepost.testing import EventRecorder


async def test_a_listener_tracks_its_own_group(manager: TrackingManager, recorder: EventRecorder) -> None:
    """What a listener tracks in its own group is applied, in commit order, and nothing waits for ever."""
    order: list[str] = []

    async def cascade(event: TrackerEvent) -> None:
        order.append(f"begin {event.name}")
        if event.name == "a":
            result = await manager.track("g", {"b": 1})
            order.append(f"tracked {[tracker.name for tracker in result.completed]}")
        order.append(f"end {event.name}")

    manager.add_listener(TrackerAllCompleted, cascade)
    await manager.add_trackers(
        "g", [CountTracker("a", 1, conditions=[KeyExists("a")]), CountTracker("b", 1, conditions=[KeyExists("b")])]
    )
    async with asyncio.timeout(5):
        await manager.track("g", {"a": 1})
        await manager.settle()
    assert order == ["begin a", "tracked ['b']", "end a", "begin b", "end b"]
    assert [event.name for event in recorder.of(TrackerAllCompleted)] == ["a", "b"]


async def test_a_listener_may_do_everything_to_its_own_group(manager: TrackingManager) -> None:
    """Adding, updating, resetting, removing and reading inside a listener work as anywhere."""
    done: list[object] = []

    async def busy(event: TrackerEvent) -> None:
        if event.name == "first":
            await manager.add_tracker("g", CountTracker("second", 5))
            await manager.update_tracker("g", CountTracker("second", 6))
            await manager.reset_tracker("g", "first", 3)
            done.append([(t.name, t.target) for t in await manager.get_trackers("g")])
            await manager.remove_tracker("g", "first")

    manager.add_listener(TrackerAdded, busy)
    async with asyncio.timeout(5):
        await manager.add_tracker("g", CountTracker("first", 5))
        await manager.settle()
    assert done == [[("first", 5), ("second", 6)]]
    assert [tracker.name for tracker in await manager.get_trackers("g")] == ["second"]


async def test_a_chain_of_listeners_ends(manager: TrackingManager) -> None:
    """A tracker that tracks on at each completion runs through all its cycles, each heard once, in order."""
    cycles: list[int] = []

    async def again(event: TrackerAllCompleted) -> None:
        cycles.append(event.tracker.cycle)
        if len(cycles) < 50:
            await manager.track("g", {})

    manager.add_listener(TrackerAllCompleted, again)
    await manager.add_tracker("g", CountTracker("n", 1, loop_forever=True))
    async with asyncio.timeout(5):
        await manager.track("g", {})
        await manager.settle()
    assert len(cycles) == 50
    assert cycles == sorted(set(cycles))


async def test_two_groups_whose_listeners_track_each_other(manager: TrackingManager) -> None:
    """Two groups whose listeners track the other one do not wait for each other for ever."""

    async def other(event: TrackerAllCompleted) -> None:
        if event.tracker.cycle < 5:
            await manager.track("h" if event.group_id == "g" else "g", {})

    manager.add_listener(TrackerAllCompleted, other)
    for group in "gh":
        await manager.add_tracker(group, CountTracker("n", 1, loop_forever=True))
    async with asyncio.timeout(5):
        await asyncio.gather(manager.track("g", {}), manager.track("h", {}))
        await manager.settle()
    assert all([(await manager.get_trackers(group))[0].cycle >= 5 for group in "gh"])


async def test_tracking_in_tasks_that_a_listener_starts(manager: TrackingManager) -> None:
    """A listener that awaits tasks of its own which track its group does not wait for itself."""

    async def spread(event: TrackerEvent) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(manager.track("g", {"b": 1}))

    manager.add_listener(TrackerAllCompleted, spread)
    await manager.add_trackers(
        "g", [CountTracker("a", 1, conditions=[KeyExists("a")]), CountTracker("b", 9, conditions=[KeyExists("b")])]
    )
    async with asyncio.timeout(5):
        await manager.track("g", {"a": 1})
        await manager.settle()
    assert [tracker.progress for tracker in await manager.get_trackers("g")] == [1, 3]
