"""Bounded queues with a named overflow policy and honest counts."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import StrEnum
from typing import Generic, TypeVar

from milepost.errors import InvalidDefinition, QueueOverflow

__all__ = ["BoundedQueue", "Overflow"]

T = TypeVar("T")


class Overflow(StrEnum):
    """What happens to an item for which a queue has no room."""

    DROP_OLDEST = "drop_oldest"
    """The oldest item makes room; it is counted as dropped."""
    DROP_NEWEST = "drop_newest"
    """The new item is dropped and counted."""
    BLOCK = "block"
    """Whoever delivers waits until there is room."""
    ERROR = "error"
    """The queue is closed; its reader gets what it holds, then ``QueueOverflow``."""


class BoundedQueue(Generic[T]):
    """A queue for one event loop.

    ``delivered + dropped + len(queue)`` is the number of items that were put.

    Args:
        size: how many items it holds, at least 1.
        overflow: what happens beyond that.

    Raises:
        InvalidDefinition: when the size or the policy is none.
    """

    def __init__(self, size: int = 1000, overflow: Overflow | str = Overflow.DROP_OLDEST) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InvalidDefinition(f"size must be a whole number of at least 1, got {size!r}")
        try:
            self.overflow = Overflow(overflow)
        except ValueError:
            allowed = ", ".join(repr(policy.value) for policy in Overflow)
            raise InvalidDefinition(f"overflow must be one of {allowed}, got {overflow!r}") from None
        self.size = size
        self.delivered = 0
        self.dropped = 0
        self.closed = False
        self.overflowed = False
        self.unfinished = 0
        """Items put and neither dropped nor declared done by :meth:`task_done`."""
        self._items: deque[T] = deque()
        self._getters: deque[asyncio.Future[None]] = deque()
        self._joiners: deque[asyncio.Future[None]] = deque()
        self._putters: deque[tuple[T, asyncio.Future[None]]] = deque()

    def __len__(self) -> int:
        return len(self._items) + len(self._putters)

    def put(self, item: T) -> asyncio.Future[None] | None:
        """Put an item; with ``Overflow.BLOCK`` return what to wait for where there is no room.

        The item has its place either way: whoever stops waiting does not take it back.
        """
        if self.closed:
            self.dropped += 1
            return None
        if len(self._items) < self.size:
            self.unfinished += 1
            self._items.append(item)
            _wake(self._getters)
            return None
        return self._put_beyond(item)

    def _put_beyond(self, item: T) -> asyncio.Future[None] | None:
        if self.overflow is Overflow.BLOCK:
            self.unfinished += 1
            room = asyncio.get_running_loop().create_future()
            self._putters.append((item, room))
            return room
        self.dropped += 1
        if self.overflow is Overflow.DROP_OLDEST:
            self._items.popleft()
            self._items.append(item)
        elif self.overflow is Overflow.ERROR:
            self.overflowed = True
            self.close()
        return None

    async def get(self) -> T:
        """Return the next item, as soon as there is one.

        Raises:
            StopAsyncIteration: when the queue is closed and empty.
            QueueOverflow: instead of that, when it was closed because it ran full.
        """
        while not self._items:
            if self.overflowed:
                raise QueueOverflow(f"the queue of {self.size} ran full; {self.dropped} items were dropped")
            if self.closed:
                raise StopAsyncIteration
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    _wake(self._getters)  # it was our turn: pass it on
                raise
        return self._take()

    def get_nowait(self) -> T:
        """Return the next item.

        Raises:
            LookupError: when there is none.
        """
        if not self._items:
            raise LookupError("the queue is empty")
        return self._take()

    def _take(self) -> T:
        item = self._items.popleft()
        self.delivered += 1
        if self._putters:
            waiting, room = self._putters.popleft()
            self._items.append(waiting)
            if not room.done():
                room.set_result(None)
            _wake(self._getters)
        return item

    def task_done(self) -> None:
        """Declare an item done that was taken."""
        self.unfinished -= 1
        if not self.unfinished:
            while self._joiners:
                _wake(self._joiners)

    async def join(self) -> None:
        """Return when every item that was put has been dropped or declared done."""
        while self.unfinished:
            joiner = asyncio.get_running_loop().create_future()
            self._joiners.append(joiner)
            await joiner

    def close(self) -> None:
        """Take no more items; readers get what is there, then the end."""
        self.closed = True
        while self._putters:
            item, room = self._putters.popleft()
            self._items.append(item)
            if not room.done():
                room.set_result(None)
        while self._getters:
            _wake(self._getters)


def _wake(waiters: deque[asyncio.Future[None]]) -> None:
    while waiters:
        waiter = waiters.popleft()
        if not waiter.done():
            waiter.set_result(None)
            return
