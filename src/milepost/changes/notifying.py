"""Observers: who is told of a container's changes, in which order, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

from milepost._tasks import Tasks
from milepost.changes.entries import ChangeLogEntry

__all__ = ["Observer", "Observers", "wants_init"]

_log = logging.getLogger("milepost")
_tasks = Tasks()

Observer = Callable[[ChangeLogEntry], Any]
"""Called with every entry; what it returns is awaited where it can be."""


class _Registered(NamedTuple):
    priority: int
    observer: Observer
    wants_init: bool
    loop: asyncio.AbstractEventLoop | None


def wants_init(observer: Any) -> bool:
    """Whether an observer asks for ``init`` entries, by a true attribute ``include_init_events``."""
    return bool(getattr(observer, "include_init_events", False))


class Observers:
    """The observers of one container, the lowest priority first, equal ones in the order of adding.

    Observers may be added and removed while others are being told.
    """

    __slots__ = ("failures", "registered")

    def __init__(self) -> None:
        self.registered: tuple[_Registered, ...] = ()
        self.failures = 0

    def add(self, observer: Observer, priority: int) -> None:
        """Add an observer, or give one that is there another priority.

        Raises:
            TypeError: when it is not callable, or the priority is no whole number.
        """
        if not callable(observer):
            raise TypeError(f"an observer must be callable, got {observer!r}")
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise TypeError(f"priority must be a whole number, got {priority!r}")
        self.remove(observer)
        one = _Registered(priority, observer, wants_init(observer), _running_loop())
        self.registered = tuple(sorted((*self.registered, one), key=lambda each: each.priority))

    def remove(self, observer: Observer) -> bool:
        """Remove an observer; return whether it was there."""
        left = tuple(one for one in self.registered if one.observer is not observer and one.observer != observer)
        found = len(left) < len(self.registered)
        self.registered = left
        return found

    def hear_init(self) -> bool:
        """Whether one of them asks for ``init`` entries."""
        return any(one.wants_init for one in self.registered)

    def tell(self, entry: ChangeLogEntry) -> None:
        """Call every observer. One that raises is logged and counted; the others and the writer are not harmed."""
        init = entry.action == "init"
        for one in self.registered:
            if init and not one.wants_init:
                continue
            try:
                answer = one.observer(entry)
                if inspect.isawaitable(answer):
                    self._schedule(answer, one)
            except Exception as error:
                self._report(one.observer, error)

    def _schedule(self, answer: Awaitable[Any], one: _Registered) -> None:
        work = self._fenced(answer, one.observer)
        running = _running_loop()
        if running is not None:
            _spawn(work)
            return
        try:
            if one.loop is None:
                raise RuntimeError(
                    "an async observer needs an event loop: add it, or make the change, in a running one"
                )
            one.loop.call_soon_threadsafe(_spawn, work)
        except RuntimeError:  # no loop, or one that is closed
            work.close()
            if isinstance(answer, Coroutine):
                answer.close()
            raise

    async def _fenced(self, answer: Awaitable[Any], observer: Observer) -> None:
        try:
            await answer
        except Exception as error:
            self._report(observer, error)

    def _report(self, observer: Observer, error: Exception) -> None:
        self.failures += 1
        _log.error("the observer %r failed; the change stands", observer, exc_info=error)


def _spawn(work: Coroutine[Any, Any, None]) -> None:
    _tasks.spawn(work, "observer")  # type: ignore[unused-awaitable]  # nobody waits for an observer


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
