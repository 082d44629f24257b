"""From observers, which are called in whatever thread made the change, to queues, which belong to one loop."""

from __future__ import annotations

import asyncio
import queue as queues
import threading
from collections import deque
from typing import Any, Final

from milepost.changes.entries import ChangeLogEntry
from milepost.errors import InvalidDefinition, QueueOverflow
from milepost.queues import Overflow

__all__ = ["QueueObserver", "async_queue_observer", "unblocking"]

_FULL: Final = (asyncio.QueueFull, queues.Full)


def unblocking(overflow: Overflow | str) -> Overflow:
    """Return an overflow policy by which nobody has to wait.

    Raises:
        InvalidDefinition: for ``block``, since a change cannot wait, and for what is no policy.
    """
    allowed = (Overflow.DROP_OLDEST, Overflow.DROP_NEWEST, Overflow.ERROR)
    if overflow not in allowed:
        names = ", ".join(repr(policy.value) for policy in allowed)
        raise InvalidDefinition(f"overflow must be one of {names}, got {str(overflow)!r}")
    return Overflow(overflow)


class QueueObserver:
    """Puts entries into a queue; see :func:`async_queue_observer`.

    ``delivered + dropped`` is the number of entries, once the loop has come round.
    """

    def __init__(self, queue: Any, size: int, overflow: Overflow | str) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InvalidDefinition(f"size must be a whole number of at least 1, got {size!r}")
        self.queue = queue
        self.size = size
        self.overflow = unblocking(overflow)
        self.delivered = 0
        self.dropped = 0
        self._loop = _running_loop()
        self._lock = threading.Lock()
        self._arriving: deque[ChangeLogEntry] = deque()
        self._awaited = False

    def __call__(self, entry: ChangeLogEntry) -> None:
        running = _running_loop()
        if self._loop is None:
            self._loop = running
        if self._loop is None or self._loop is running or not isinstance(self.queue, asyncio.Queue):
            self._offer(entry)
            return
        with self._lock:
            self._make_room(self._arriving)
            self._arriving.append(entry)
            awaited, self._awaited = self._awaited, True
        if not awaited:
            self._loop.call_soon_threadsafe(self._arrived)

    def _arrived(self) -> None:
        """Move what came from other threads into the queue; in the loop's thread."""
        with self._lock:
            entries, self._arriving = self._arriving, deque()
            self._awaited = False
        for entry in entries:
            try:
                self._offer(entry)
            except QueueOverflow:
                continue  # it was counted; there is no one left in this thread to tell

    def _make_room(self, arriving: deque[ChangeLogEntry]) -> None:
        """Keep what has not arrived yet within bounds: the loop may be busy."""
        if len(arriving) < self.size:
            return
        self.dropped += 1
        if self.overflow is Overflow.DROP_OLDEST:
            arriving.popleft()
        else:
            raise QueueOverflow(f"{self.size} entries wait for the queue's event loop; this one was dropped")

    def _offer(self, entry: ChangeLogEntry) -> None:
        if self._has_room():
            try:
                self._put(entry)
            except _FULL:
                pass
            else:
                self.delivered += 1
                return
        if self.overflow is Overflow.DROP_OLDEST and self._drop_oldest():
            self._put(entry)
            return
        self.dropped += 1
        if self.overflow is Overflow.ERROR:
            raise QueueOverflow(f"the queue of {self.size} is full; {self.dropped} entries were dropped")

    def _has_room(self) -> bool:
        length = getattr(self.queue, "qsize", None)
        return length is None or length() < self.size

    def _drop_oldest(self) -> bool:
        try:
            self.queue.get_nowait()
        except (AttributeError, asyncio.QueueEmpty, queues.Empty):
            return False
        if isinstance(self.queue, asyncio.Queue | queues.Queue):
            self.queue.task_done()  # nobody else will say so of this one
        self.dropped += 1
        return True

    def _put(self, entry: ChangeLogEntry) -> None:
        put = getattr(self.queue, "put_nowait", None) or self.queue.put
        put(entry)


def async_queue_observer(
    queue: Any, size: int = 1000, overflow: Overflow | str = Overflow.DROP_OLDEST
) -> QueueObserver:
    """Return an observer that puts entries into an ``asyncio.Queue``, from any thread.

    The queue's loop is the one that runs where this is called, else where the first change is made.

    Args:
        queue: an ``asyncio.Queue``, or anything else with ``put_nowait`` or ``put``.
        size: how many entries may wait, also where the queue itself has no bound.
        overflow: what happens beyond that: ``drop_oldest``, ``drop_newest``, or ``error``, which drops
            the new one too and is logged as an observer's failure. All are counted in ``dropped``.

    Raises:
        InvalidDefinition: when size or policy is none; ``block`` is none, since a change cannot wait.
    """
    return QueueObserver(queue, size, overflow)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
