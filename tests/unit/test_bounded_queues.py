"""Queues have bounds, policies have names, drops are counted."""

from __future__ import annotations

import asyncio

import pytest

from milepost import InvalidDefinition, Overflow, QueueOverflow
from milepost.queues import BoundedQueue


def filled(overflow: Overflow, items: int, size: int = 2) -> BoundedQueue[int]:
    queue: BoundedQueue[int] = BoundedQueue(size, overflow)
    for item in range(items):
        queue.put(item)
    return queue


async def drained(queue: BoundedQueue[int]) -> list[int]:
    taken = []
    while len(queue):
        taken.append(await queue.get())
    return taken


async def test_drop_oldest_keeps_the_newest() -> None:
    """With DROP_OLDEST the oldest item makes room and is counted."""
    queue = filled(Overflow.DROP_OLDEST, 5)
    assert queue.dropped == 3
    assert await drained(queue) == [3, 4]
    assert queue.delivered == 2


async def test_drop_newest_keeps_the_oldest() -> None:
    """With DROP_NEWEST the new item is dropped and counted."""
    queue = filled(Overflow.DROP_NEWEST, 5)
    assert queue.dropped == 3
    assert await drained(queue) == [0, 1]


async def test_block_makes_whoever_puts_wait() -> None:
    """With BLOCK nothing is dropped; what did not fit has its place in the order, and waits for room."""
    queue: BoundedQueue[int] = BoundedQueue(1, Overflow.BLOCK)
    assert queue.put(0) is None
    waits = [queue.put(1), queue.put(2)]
    assert all(wait is not None and not wait.done() for wait in waits)
    assert await queue.get() == 0
    assert [wait is not None and wait.done() for wait in waits] == [True, False]
    assert await drained(queue) == [1, 2]
    assert (queue.dropped, queue.delivered) == (0, 3)


async def test_error_gives_what_it_holds_and_then_says_that_it_ran_full() -> None:
    """With ERROR the reader gets what the queue holds, then QueueOverflow; nothing is taken after that."""
    queue = filled(Overflow.ERROR, 4)
    assert await drained(queue) == [0, 1]
    with pytest.raises(QueueOverflow, match="2"):
        await queue.get()
    assert queue.dropped == 2


async def test_a_closed_queue_ends_after_what_it_holds() -> None:
    """Closing a queue lets its reader have the rest, then the end; whoever waits is woken."""
    queue = filled(Overflow.DROP_OLDEST, 1)
    queue.close()
    queue.put(9)
    assert await queue.get() == 0
    with pytest.raises(StopAsyncIteration):
        await queue.get()
    empty: BoundedQueue[int] = BoundedQueue(1)

    async def waits_for_an_item() -> str:
        try:
            await empty.get()
        except StopAsyncIteration:
            return "the end"
        return "an item"

    waiting = asyncio.ensure_future(waits_for_an_item())
    await asyncio.sleep(0)
    empty.close()
    assert await waiting == "the end"


async def test_a_reader_that_is_cancelled_passes_its_turn_on() -> None:
    """An item that woke a reader who was cancelled at that moment goes to the next reader."""
    queue: BoundedQueue[int] = BoundedQueue(2)
    first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.put(1)
    first.cancel()
    assert await second == 1


@pytest.mark.parametrize("overflow", Overflow)
async def test_every_item_is_delivered_dropped_or_there(overflow: Overflow) -> None:
    """``delivered + dropped + len(queue)`` is the number of items that were put, with every policy."""
    queue = filled(overflow, 7, size=3)
    for _ in range(2):
        queue.get_nowait()
    assert queue.delivered + queue.dropped + len(queue) == 7


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None, "3"])
def test_a_queue_needs_a_size(size: object) -> None:
    """A size that is no whole number of at least 1 is refused by name."""
    with pytest.raises(InvalidDefinition, match="size must be a whole number of at least 1"):
        BoundedQueue(size)


def test_a_queue_needs_a_policy_that_exists() -> None:
    """A policy that does not exist is refused, and the message lists those that do."""
    with pytest.raises(InvalidDefinition, match="'drop_oldest', 'drop_newest', 'block', 'error'"):
        BoundedQueue(1, "explode")
