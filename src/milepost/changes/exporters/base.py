"""What all exporters share: a bounded buffer, batches, retries, an orderly end."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from milepost._clock import Clock, SystemClock
from milepost.changes.entries import ChangeLogEntry
from milepost.changes.exporters.working import Worker
from milepost.changes.feeding import unblocking
from milepost.errors import InvalidDefinition, MilepostError, QueueOverflow
from milepost.queues import Overflow
from milepost.retries import RetryPolicy

__all__ = ["Exporter", "FailedExport", "RefusedExport"]

_log: Final = logging.getLogger("milepost")


class RefusedExport(MilepostError):
    """The other side will not take this batch, however often it is sent."""


@dataclass(frozen=True, slots=True)
class FailedExport:
    """A batch that was given up."""

    entries: tuple[ChangeLogEntry, ...]
    attempts: int
    error: Exception


class Exporter(Worker):
    """An observer that hands entries on in batches, from a buffer that never grows beyond its capacity.

    It starts with the first entry, or as a context manager: ``async with JsonLinesExporter(path) as exporter``.
    Where an event loop runs, its work is a task there; in a program without one (``with`` instead of
    ``async with``) a thread does it. Changes may come from any thread.

    Delivery is at least once: a batch whose answer was lost is sent again. Entries have ids.
    ``exported + failed + dropped + waiting`` is the number of entries that came.

    Args:
        batch_size: how many entries are sent at a time, at most.
        interval: how many seconds an entry may wait for others.
        capacity: how many entries the buffer holds.
        overflow: what happens beyond that: ``drop_oldest``, ``drop_newest``, or ``error``, which drops the
            new one too and is logged as an observer's failure.
        retries: the pauses before a failed batch is sent again.
        on_failure: called with a :class:`FailedExport` when a batch is given up; by default it is logged.
        clock: what waits.

    Raises:
        InvalidDefinition: when a setting is none.
    """

    def __init__(
        self,
        *,
        batch_size: int = 100,
        interval: float = 1.0,
        capacity: int = 10_000,
        overflow: Overflow | str = Overflow.DROP_OLDEST,
        retries: RetryPolicy | None = None,
        on_failure: Callable[[FailedExport], Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = _whole("batch_size", batch_size)
        self.capacity = _whole("capacity", capacity)
        if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 <= interval < float("inf"):
            raise InvalidDefinition(f"interval must be a finite number of seconds of at least 0, got {interval!r}")
        self.interval = interval
        self.overflow = unblocking(overflow)
        self.retries = RetryPolicy.exponential() if retries is None else retries
        self._on_failure = on_failure
        self._clock = SystemClock() if clock is None else clock
        self.exported = 0
        self.failed = 0
        self.dropped = 0
        self._came = 0
        self._buffer: deque[ChangeLogEntry] = deque()
        self._flushers: list[asyncio.Future[None]] = []
        self._opened = False
        self._sending = 0
        self._hurried = False

    @property
    def waiting(self) -> int:
        """How many entries have been neither exported nor given up."""
        return len(self._buffer) + self._sending

    @abstractmethod
    async def send(self, entries: Sequence[ChangeLogEntry]) -> None:
        """Send a batch.

        Raises:
            RefusedExport: when it is no use to try again.
            Exception: anything else is tried again.
        """

    async def open(self) -> None:
        """Get ready; called before the first batch, in the loop that does the work, until it succeeds."""
        return

    async def release(self) -> None:
        """Let go of what :meth:`open` got; called once, after the last batch."""
        return

    def __call__(self, entry: ChangeLogEntry) -> None:
        """Take an entry.

        Raises:
            QueueOverflow: when the buffer is full and the policy is ``error``.
        """
        with self._lock:
            self._came += 1
            if self._closing:
                self.dropped += 1
                return
            if len(self._buffer) >= self.capacity:
                self.dropped += 1
                if self.overflow is Overflow.DROP_NEWEST:
                    return
                if self.overflow is Overflow.ERROR:
                    raise QueueOverflow(f"the buffer of {self.capacity} is full; {self.dropped} entries were dropped")
                self._buffer.popleft()
            self._buffer.append(entry)
            length = len(self._buffer)
        if not self._started:
            self._start_somewhere()
        elif length in (1, self.batch_size):
            self._rouse()

    async def flush(self) -> None:
        """Send what is in the buffer now, without waiting for more; return when that was sent or given up."""
        loop = self._loop
        if loop is None or not self.waiting:
            return
        if loop is asyncio.get_running_loop():
            await self._flushed()
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._flushed(), loop))

    async def _flushed(self) -> None:
        came = self._came
        while self.exported + self.failed + self.dropped < came:
            self._hurried = True
            self._rouse()
            settled = asyncio.get_running_loop().create_future()
            self._flushers.append(settled)
            await settled

    async def _work(self) -> None:
        try:
            while not (self._closing and not self._buffer):
                await self._gather()
                batch = self._take()
                if batch:
                    await self._deliver(batch)
                self._tell_flushers()
        except asyncio.CancelledError:
            left = self._take(everything=True)
            self.failed += self._sending
            self._sending = 0
            if left:
                _log.error("%s was stopped with %d entries unsent", type(self).__name__, len(left))
            raise
        finally:
            self._tell_flushers()
            if self._opened:
                await self.release()

    def _tell_flushers(self) -> None:
        while self._flushers:
            settled = self._flushers.pop()
            if not settled.done():
                settled.set_result(None)

    async def _gather(self) -> None:
        """Return when there is a batch, or enough waiting was done for one."""
        wake = self._wake
        assert wake is not None
        while not self._buffer and not self._closing:
            wake.clear()
            if not self._buffer and not self._closing:
                await wake.wait()
        if self._is_due() or not self.interval:
            return
        lingering = asyncio.ensure_future(self._clock.sleep(self.interval))
        try:
            while not self._is_due() and not lingering.done():
                wake.clear()
                if self._is_due():
                    break
                waking = asyncio.ensure_future(wake.wait())
                await asyncio.wait({lingering, waking}, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
        finally:
            lingering.cancel()

    def _is_due(self) -> bool:
        return len(self._buffer) >= self.batch_size or self._closing or self._hurried

    def _take(self, everything: bool = False) -> list[ChangeLogEntry]:
        with self._lock:
            number = len(self._buffer) if everything else min(len(self._buffer), self.batch_size)
            batch = [self._buffer.popleft() for _ in range(number)]
            self._sending += number
            if not self._buffer:
                self._hurried = False
        return batch

    async def _deliver(self, batch: list[ChangeLogEntry]) -> None:
        attempts = 0
        delays = self.retries.delays()
        while True:
            attempts += 1
            try:
                if not self._opened:
                    await self.open()
                    self._opened = True
                await self.send(batch)
            except Exception as error:
                delay = None if isinstance(error, RefusedExport) else next(delays, None)
                if delay is None:
                    self.failed += len(batch)
                    self._sending -= len(batch)
                    self._give_up(FailedExport(tuple(batch), attempts, error))
                    return
                await self._clock.sleep(delay)
            else:
                self.exported += len(batch)
                self._sending -= len(batch)
                return

    def _give_up(self, failure: FailedExport) -> None:
        if self._on_failure is None:
            _log.error(
                "%s gave up %d entries after %d attempts",
                type(self).__name__, len(failure.entries), failure.attempts, exc_info=failure.error,
            )  # fmt: skip
            return
        try:
            self._on_failure(failure)
        except Exception:
            _log.exception("on_failure of %s failed", type(self).__name__)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidDefinition(f"{name} must be a whole number of at least 1, got {value!r}")
    return value
