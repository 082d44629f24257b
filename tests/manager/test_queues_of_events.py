"""``subscribe`` and ``add_queue``: events through bounded queues, with honest counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from milepost import (
    AccumulationTracker,
    CountLimiter,
    CountTracker,
    InvalidDefinition,
    Overflow,
    QueueOverflow,
    TrackerAdded,
    TrackerAllCompleted,
    TrackerEvent,
    TrackerLimited,
    TrackingManager,
    UnknownEventError,
)


async def add(manager: TrackingManager, *names: str, group: str = "g") -> None:
    for name in names:
        await manager.add_tracker(group, CountTracker(name, 1))


async def test_a_subscription_is_an_iterator_over_events(manager: TrackingManager) -> None:
    """Events come in order, from the moment the subscription is entered, until the manager is closed."""
    await add(manager, "before")
    seen: list[str] = []
    async with manager.subscribe(TrackerAdded) as events:
        await add(manager, "a", "b")
        await manager.track("g", {})
        await manager.aclose()
        async for event in events:
            seen.append(event.name)
    assert seen == ["a", "b"]
    assert (events.delivered, events.dropped) == (2, 0)


@pytest.mark.parametrize(
    ("wanted", "codes"),
    [
        ((), ["added", "stage_completed", "all_completed", "limited", "removed"]),
        (("tracker.*",), ["added", "stage_completed", "all_completed", "limited", "removed"]),
        (("*",), ["added", "stage_completed", "all_completed", "limited", "removed"]),
        (("*completed",), ["stage_completed", "all_completed"]),
        (("tracker.added", TrackerLimited), ["added", "limited"]),
        ((TrackerAllCompleted,), ["all_completed"]),
        ((TrackerEvent,), ["added", "stage_completed", "all_completed", "limited", "removed"]),
    ],
    ids=str,
)
async def test_patterns_codes_and_classes_say_what_is_wanted(
    wanted: tuple[Any, ...], codes: list[str], in_memory: TrackingManager
) -> None:
    """Patterns of codes, codes and event classes can be mixed; none means all."""
    async with in_memory.subscribe(*wanted) as events:
        await in_memory.add_tracker("g", CountTracker("n", [1, 2], limiters=[CountLimiter(2)]))
        await in_memory.add_tracker("g", CountTracker("m", 9, limiters=[CountLimiter(2)]))
        for _ in range(2):
            await in_memory.track("g", {})
        await in_memory.remove_tracker("g", "m")
        seen = []
        while events.waiting:
            seen.append(events.get_nowait().code.removeprefix("tracker."))
    assert [code for code in dict.fromkeys(seen) if code != "progressed"] == codes


async def test_a_subscription_to_some_groups(manager: TrackingManager) -> None:
    """``group`` is a pattern of group ids; its other characters stand for themselves."""
    async with manager.subscribe(group="user:?") as some, manager.subscribe(group="a.b") as one:
        for group in ("user:1", "user:22", "shop:1", "a.b", "axb"):
            await add(manager, "n", group=group)
        assert [(await some.get()).group_id, some.waiting] == ["user:1", 0]
        assert [(await one.get()).group_id, one.waiting] == ["a.b", 0]


@pytest.mark.parametrize(
    ("overflow", "kept"),
    [(Overflow.DROP_OLDEST, ["c", "d"]), (Overflow.DROP_NEWEST, ["a", "b"]), ("drop_oldest", ["c", "d"])],
)
async def test_a_full_queue_drops_and_counts(overflow: Any, kept: list[str], manager: TrackingManager) -> None:
    """A queue that ran full drops by its policy, and the subscription and the status count what was dropped."""
    async with manager.subscribe(TrackerAdded, size=2, overflow=overflow) as events:
        await add(manager, "a", "b", "c", "d")
        assert [(await events.get()).name for _ in range(2)] == kept
        assert (events.delivered, events.dropped, events.waiting) == (2, 2, 0)
        assert manager.status().dropped == 2
    assert manager.status().dropped == 2
    status = manager.status()
    assert status.emitted == status.delivered + status.dropped + status.failed + status.undelivered


async def test_overflow_error_ends_the_subscription_loudly(manager: TrackingManager) -> None:
    """With ERROR the reader gets what fitted, then QueueOverflow; ``track`` is not harmed."""
    seen = []
    async with manager.subscribe(TrackerAdded, size=2, overflow=Overflow.ERROR) as events:
        await add(manager, "a", "b", "c", "d")
        with pytest.raises(QueueOverflow, match="2"):
            async for event in events:
                seen.append(event.name)
    assert seen == ["a", "b"]
    assert events.dropped == 2
    assert len(await manager.get_trackers("g")) == 4


async def test_overflow_block_makes_track_wait(manager: TrackingManager) -> None:
    """With BLOCK whoever causes an event waits until the reader made room; nothing is dropped."""
    async with manager.subscribe(TrackerAdded, size=1, overflow=Overflow.BLOCK) as events:
        adding = asyncio.ensure_future(add(manager, "a", "b", "c"))
        seen = []
        while len(seen) < 3:
            assert events.waiting <= 2
            seen.append((await events.get()).name)
        await adding
    assert (seen, events.dropped) == (["a", "b", "c"], 0)


async def test_leaving_a_blocking_subscription_frees_whoever_waits(manager: TrackingManager) -> None:
    """A reader that goes away leaves nobody waiting."""
    async with manager.subscribe(TrackerAdded, size=1, overflow=Overflow.BLOCK):
        adding = asyncio.ensure_future(add(manager, "a", "b"))
        async with asyncio.timeout(5):
            while manager.status().undelivered == 0:
                await asyncio.sleep(0)
        assert not adding.done()
    async with asyncio.timeout(5):
        await adding
    assert len(await manager.get_trackers("g")) == 2


async def test_nothing_is_heard_after_leaving(manager: TrackingManager) -> None:
    """A subscription that was left hears no more, and holds what it had."""
    async with manager.subscribe() as events:
        await add(manager, "a")
    await add(manager, "b")
    assert events.waiting == 1
    assert events.get_nowait().name == "a"
    with pytest.raises(LookupError):
        events.get_nowait()


async def test_a_queue_of_the_users_is_fed(manager: TrackingManager) -> None:
    """``add_queue`` feeds an asyncio.Queue; where it is full events are dropped and counted, by handle and status."""
    queue: asyncio.Queue[TrackerEvent] = asyncio.Queue(maxsize=2)
    handle = manager.add_queue(TrackerAdded, queue)
    await add(manager, "a", "b", "c")
    assert [queue.get_nowait().name for _ in range(2)] == ["a", "b"]
    assert (handle.delivered, handle.dropped) == (2, 1)
    assert manager.status().dropped == 1
    handle.remove()
    await add(manager, "d")
    assert queue.empty()


async def test_one_slow_reader_does_not_cost_another_its_events(manager: TrackingManager) -> None:
    """Queues are separate: one that is full takes nothing from its neighbour."""
    async with manager.subscribe("*ed", size=1) as slow, manager.subscribe(size=100) as quick:
        await manager.add_tracker("g", AccumulationTracker("n", [1, 2, 3, 4]))
        await manager.track("g", {"amount": 9})
        assert (slow.dropped, slow.waiting, quick.waiting, quick.dropped) == (5, 1, 6, 0)


async def test_what_cannot_be_subscribed_to_says_why(in_memory: TrackingManager) -> None:
    """Patterns that no event can match, sizes and policies that are none, and queues that are none are refused."""
    with pytest.raises(UnknownEventError, match=r"'tracker\.nothing'"):
        in_memory.subscribe("tracker.nothing")
    with pytest.raises(UnknownEventError, match="3"):
        in_memory.subscribe(3)
    with pytest.raises(InvalidDefinition, match="size must be a whole number of at least 1, got 0"):
        in_memory.subscribe(size=0)
    with pytest.raises(InvalidDefinition, match="overflow must be one of"):
        in_memory.subscribe(overflow="sometimes")
    with pytest.raises(TypeError, match="group must be a pattern, got 3"):
        in_memory.subscribe(group=3)
    with pytest.raises(TypeError, match=r"queue must be an asyncio\.Queue"):
        in_memory.add_queue(TrackerAdded, [])
    with pytest.raises(UnknownEventError):
        in_memory.add_queue("nothing", asyncio.Queue())
