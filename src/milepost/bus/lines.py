"""Lines: the events of one subject one after the other, those of different subjects side by side.

A few worker tasks take events from those whose turn it is. Where handlers do not suspend, one
worker does everything without a task for each event; where one does, another worker is woken.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Final, Generic, Protocol, TypeVar

from milepost._tasks import Tasks

__all__ = ["Lines", "Queued"]

_log = logging.getLogger("milepost")

_PER_BREATH: Final = 256


class Queued(Protocol):
    """What can stand in a line."""

    @property
    def subject(self) -> str | None:
        """Whose line; None for nobody's."""
        ...


Q = TypeVar("Q", bound=Queued)
T = TypeVar("T")


class Lines(Generic[Q]):
    """Hands what was accepted to a coroutine.

    Args:
        handle: takes one item to its end, and does not raise.
        tasks: where workers run.
        limit: how many items may be worked on at a time; those that are parked do not count.
        ended: told of each item that came to its end.
    """

    def __init__(
        self,
        handle: Callable[[Q], Awaitable[None]],
        tasks: Tasks,
        limit: int,
        ended: Callable[[Q], None] | None = None,
    ) -> None:
        self._handle = handle
        self._tasks = tasks
        self._limit = limit
        self._ended = ended
        self._ready: deque[Q] = deque()
        self._lines: dict[str, deque[Q] | None] = {}
        self._running = 0
        self._waking = False
        self._context = copy_context()
        self._idle: asyncio.Future[None] | None = None
        self._room: deque[asyncio.Future[None]] = deque()
        self.task: asyncio.Task[None] | None = None
        """The worker that is about to handle an item: known to ``handle`` until it first suspends."""
        self.pending = 0
        """Items accepted that have not come to their end."""

    def accept(self, item: Q) -> None:
        """Take an item; it is handled when those of its subject that came before it are."""
        self.pending += 1
        subject = item.subject
        if subject is not None:
            lines = self._lines
            if subject in lines:
                line = lines[subject]
                if line is None:
                    line = lines[subject] = deque()
                line.append(item)
                return
            lines[subject] = None
        self._ready.append(item)
        if not self._waking:
            self._wake_soon()

    def _wake_soon(self) -> None:
        self._waking = True
        asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        if self._ready and self._running < self._limit and not self._tasks.closed:
            self._running += 1
            _ = self._tasks.spawn(self._work(), "event handlers", context=self._context.copy())

    async def _work(self) -> None:
        ready, handle = self._ready, self._handle
        clean = copy_context()
        task: asyncio.Task[None] | None = asyncio.current_task()
        done = 0
        try:
            while ready and self._running <= self._limit:
                item = ready.popleft()
                if ready and not self._waking:
                    self._wake_soon()  # it runs only if this worker suspends
                self.task = task
                try:
                    await handle(item)
                except Exception:
                    _log.exception("the handling of an event failed")
                self._end(item)
                if copy_context() != clean:
                    break  # a handler changed a context variable: the next one begins with a clean context
                done += 1
                if not done % _PER_BREATH:
                    await asyncio.sleep(0)
        finally:
            self._running -= 1
            if ready and not self._waking:
                self._wake_soon()

    def _end(self, item: Q) -> None:
        """Let the next of its subject have its turn, and tell who waits."""
        self.pending -= 1
        subject = item.subject
        if subject is not None:
            line = self._lines[subject]
            if line:
                self._ready.append(line.popleft())
            else:
                del self._lines[subject]
        if self._ended is not None:
            self._ended(item)
        if self._room:
            self._let_in()
        if not self.pending and self._idle is not None:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None

    def _let_in(self) -> None:
        """Tell one of those who wait for room that there is some."""
        while self._room:
            waiting = self._room.popleft()
            if not waiting.done():
                waiting.set_result(None)
                break

    async def parked(self, waiting: Awaitable[T]) -> T:
        """Wait for something within a handler's run without keeping others from running."""
        self._running -= 1
        if self._ready and not self._waking:
            self._wake_soon()
        try:
            return await waiting
        finally:
            self._running += 1

    async def room(self, capacity: int) -> None:
        """Return when fewer than that many items have not come to their end."""
        while self.pending >= capacity:
            waiting = asyncio.get_running_loop().create_future()
            self._room.append(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                if waiting.done() and not waiting.cancelled():
                    self._let_in()  # it was our turn: pass it on
                raise

    async def settle(self) -> None:
        """Return when every item has come to its end."""
        while self.pending:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def waiting(self) -> list[Q]:
        """Return the items that have not begun."""
        return [*self._ready, *(item for line in self._lines.values() if line for item in line)]

    def drop(self, wanted: Callable[[Q], bool]) -> list[Q]:
        """Take items out that have not begun; return them."""
        dropped = [item for item in self.waiting() if wanted(item)]
        for item in dropped:
            line = None if item.subject is None else self._lines.get(item.subject)
            if line is not None and item in line:
                line.remove(item)
                self.pending -= 1
                if self._ended is not None:
                    self._ended(item)
            else:
                self._ready.remove(item)
                self._end(item)
        return dropped
