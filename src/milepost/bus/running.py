"""Running a handler for an event: predicates, middleware, timeout, retries, and the end of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.to_thread

from milepost._clock import Clock
from milepost.bus.context import EventContext, SubjectLike
from milepost.bus.envelope import Envelope
from milepost.bus.handlers import Handler
from milepost.bus.ids import derived_id
from milepost.bus.middleware import Next, wrapped
from milepost.errors import CascadeLimit, CircuitOpen
from milepost.events.types import Event

if TYPE_CHECKING:
    from milepost.bus.bus import EventBus
    from milepost.bus.lines import Lines

__all__ = ["Deliverer", "Run", "current_run"]

_log = logging.getLogger("milepost")

T = TypeVar("T")

_THREADS: Final = 40
_FINAL: Final = (CascadeLimit, CircuitOpen)
"""Trying again cannot help against these."""

current_run: ContextVar[Run | None] = ContextVar("milepost_current_run", default=None)
"""The run that this code belongs to: what it emits was caused by that run's event."""


class Run:
    """One attempt of a handler at an event; or, without a handler, what wraps the event itself."""

    __slots__ = ("_event", "_failed", "_ordinal", "attempt", "bus", "ctx", "deliverer", "envelope", "handler", "held",
                 "over", "removed", "task")  # fmt: skip

    def __init__(self, deliverer: Deliverer, handler: Handler | None, envelope: Envelope, attempt: int) -> None:
        self.deliverer = deliverer
        self.bus = deliverer.bus
        self.handler = handler
        self.envelope = envelope
        self.attempt = attempt
        self.held: list[tuple[Envelope, float | None]] = []
        """What was emitted and leaves when the handler succeeds, each with the moment it is due."""
        self.over = False
        self.removed = False
        """Whether ``remove_job`` has ended it."""
        self.task: asyncio.Task[Any] | None = None
        self.ctx = EventContext(self)
        self._failed = False
        self._ordinal = 0
        self._event: Event | None = None

    # --- what contexts and middleware ask for ---------------------------------------------

    def event(self) -> Event:
        """Return the event with a payload that belongs to this run."""
        if self._event is None:
            self._event = self.envelope.event()
        return self._event

    def subject_of(self, name: str) -> SubjectLike:
        """Return the subject of a name."""
        return self.bus.subject_of(name)

    def now(self) -> float:
        """Return what time it is."""
        return self.deliverer.clock.time()

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait on the bus's clock."""
        return self.deliverer.clock.sleep(seconds)

    def parked(self, waiting: Awaitable[T]) -> Awaitable[T]:
        """Wait without taking the place of a run that could go on."""
        return self.deliverer.lines.parked(waiting)

    # --- emitting -------------------------------------------------------------------------

    async def emit(
        self,
        event_type: str,
        subject: SubjectLike | str | None,
        payload: Mapping[str, Any] | None,
        extra: Mapping[str, Any],
        delay: float | timedelta | None = None,
        at: float | datetime | None = None,
    ) -> str:
        """Emit an event that this run's event caused; see ``EventContext.emit``."""
        envelope = self.bus.envelope(event_type, subject, payload, extra)
        return await self.take(envelope, self.bus.due(delay, at), derive=True)

    async def take(self, envelope: Envelope, due: float | None, *, derive: bool) -> str:
        """Hold an event until this run succeeds; send it at once where the run is over.

        Args:
            envelope: the event.
            due: when to deliver it, epoch seconds; None for at once.
            derive: whether its id is to be derived; not for one that was given an id.

        Raises:
            CascadeLimit: when the chain of causes is too long.
        """
        cause = self.envelope
        if cause.depth >= self.bus.max_depth:
            raise CascadeLimit(self.bus.max_depth, [*await self.bus.chain_to(cause), envelope.type])
        if derive:
            who = "" if self.handler is None else self.handler.identity
            ordinal = f"{self.attempt} failed.{self._ordinal}" if self._failed else str(self._ordinal)
            envelope.id = derived_id(cause.id, who, ordinal, envelope.type)
            self._ordinal += 1
        envelope.caused_by(cause)
        if self.over:
            await self.bus.send([(envelope, due)])
        else:
            self.held.append((envelope, due))
        return envelope.id

    # --- the innermost call ---------------------------------------------------------------

    async def call(self) -> None:
        """Run the handler itself, within its timeout."""
        handler = self.handler
        if handler is None:
            raise AssertionError("what wraps an event has no handler to call")
        argument = self.event() if handler.takes_event else self.ctx
        try:
            if handler.timeout is not None:
                await self._within(handler.timeout, self._call(handler, argument))
            elif handler.is_async:
                await handler.function(argument)
            else:
                await self._call(handler, argument)
        except BaseException:
            self._failed = True
            self._ordinal = 0
            self.held.clear()  # what a handler emits goes with its success
            raise

    async def _call(self, handler: Handler, argument: Any) -> None:
        if handler.is_async:
            await handler.function(argument)
            return
        answer = await self.deliverer.in_thread(partial(handler.function, argument))
        if isawaitable(answer):
            await answer

    async def _within(self, seconds: float, work: Coroutine[Any, Any, None]) -> None:
        """Wait for work, on the bus's clock.

        Raises:
            TimeoutError: when it takes longer; it is cancelled.
        """
        working = asyncio.get_running_loop().create_task(work)
        timer = asyncio.ensure_future(self.sleep(seconds))
        try:
            await asyncio.wait({working, timer}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise TimeoutError(f"it took longer than {seconds:g} s")
            working.result()
        finally:
            timer.cancel()
            working.cancel()
            await asyncio.wait({working, timer})


class Deliverer:
    """Brings events to handlers: those of this process, or those of one durable consumer.

    Args:
        bus: whose handlers.
        lines: where the events come from.
        clock: what retries and timeouts go by.
        consumer: the durable consumer's name; None for the handlers of this process alone.
    """

    def __init__(self, bus: EventBus, lines: Lines[Any], clock: Clock, consumer: str | None) -> None:
        self.bus = bus
        self.lines = lines
        self.clock = clock
        self.consumer = consumer
        self.runs: set[Run] = set()
        """What is being run, or waits for its retry."""
        self._permits: dict[Handler, asyncio.Semaphore] = {}
        self._threads: anyio.CapacityLimiter | None = None

    async def in_thread(self, call: partial[Any]) -> Any:
        """Run a plain function in a thread; one that outlives its run goes on there, unheard."""
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(_THREADS)
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._threads)

    async def deliver_all(self, handlers: tuple[Handler, ...], envelope: Envelope) -> None:
        """Run several handlers for an event at the same time; return when all have come to their end."""
        if not handlers:
            return
        loop = asyncio.get_running_loop()
        others = [loop.create_task(self.deliver(handler, envelope)) for handler in handlers[1:]]
        try:
            await self.deliver(handlers[0], envelope)
            if others:
                await asyncio.wait(others)
        finally:
            for other in others:
                other.cancel()
        for other in others:
            other.result()

    async def deliver(self, handler: Handler, envelope: Envelope, before: int = 0) -> None:
        """Run a handler until it succeeds, or its retries are used up.

        Args:
            handler: the handler.
            envelope: the event.
            before: how many attempts were made before this delivery.
        """
        pauses: Iterator[float] | None = None
        attempt = before + 1
        while True:
            run = Run(self, handler, envelope, attempt)
            error = await self._limited(handler, run) if handler.concurrency else await self._attempt(handler, run)
            if error is None or run.removed:
                return
            policy = self.bus.retry if handler.retry is None else handler.retry
            pause = None
            if policy is not None and policy.wants(error) and not isinstance(error, _FINAL):
                pauses = policy.delays() if pauses is None else pauses
                pause = next(pauses, None)
            if pause is None:
                await self.bus.failing.give_up(self, handler, envelope, attempt, error)
                return
            _log.info("%s failed on %s of %s and is tried again in %g s: %r", handler.identity, envelope.type,
                      envelope.subject, pause, error)  # fmt: skip
            if not await self._pause(run, pause):
                return
            attempt += 1

    async def _limited(self, handler: Handler, run: Run) -> Exception | None:
        """Make an attempt when fewer than the handler's concurrency are being made."""
        permits = self._permits.get(handler)
        if permits is None:
            permits = self._permits[handler] = asyncio.Semaphore(handler.concurrency or 1)
        if permits.locked():
            await self.lines.parked(permits.acquire())
        else:
            await permits.acquire()
        try:
            return await self._attempt(handler, run)
        finally:
            permits.release()

    async def _pause(self, run: Run, seconds: float) -> bool:
        """Wait before a retry; return whether it is still wanted."""
        run.task = asyncio.current_task()
        self.runs.add(run)
        try:
            await self.lines.parked(self.clock.sleep(seconds))
        except asyncio.CancelledError:
            if not _was_removed(run):
                raise
        finally:
            self.runs.discard(run)
        return not run.removed

    async def _attempt(self, handler: Handler, run: Run) -> Exception | None:
        """Make one attempt; return what it raised. What was emitted is sent."""
        run.task = asyncio.current_task()
        runs = self.runs
        runs.add(run)
        token = current_run.set(run)
        failure: Exception | None = None
        try:
            if not handler.predicates or await _holds(handler, run.ctx):
                layers = self.bus.handler_layers
                if handler.breaker is not None:
                    layers = (*layers, handler.breaker)
                if layers:
                    await wrapped(layers, run.ctx, run.call)()
                else:
                    await run.call()
        except Exception as error:
            failure = error
        except asyncio.CancelledError:
            if not _was_removed(run):
                if run.task is not None and run.task.cancelling():
                    raise
                failure = RuntimeError("the handler cancelled itself")
        finally:
            run.over = True
            current_run.reset(token)
            runs.discard(run)
        return await self._send(handler, run, failure) if run.held else failure

    async def _send(self, handler: Handler, run: Run, failure: Exception | None) -> Exception | None:
        """Send what was emitted; that it cannot be sent is a failure too."""
        try:
            await self.bus.send(run.held, inside=True)
        except Exception as trouble:
            if failure is None:
                return trouble
            _log.exception("what middleware emitted after the failure of %s could not be sent", handler.identity)
        return failure

    async def wrap(self, envelope: Envelope, handle: Next) -> None:
        """Handle an event within the middleware that wraps events."""
        run = Run(self, None, envelope, 1)
        token = current_run.set(run)
        try:
            await wrapped(self.bus.event_layers, run.ctx, handle)()
        except Exception:
            _log.exception("a middleware failed on the event %s of %s", envelope.type, envelope.subject)
        finally:
            run.over = True
            current_run.reset(token)
        if run.held:
            await self.bus.send(run.held, inside=True)


async def _holds(handler: Handler, ctx: EventContext) -> bool:
    for predicate in handler.predicates:
        answer = predicate(ctx)
        if isawaitable(answer):
            answer = await answer
        if not answer:
            return False
    return True


def _was_removed(run: Run) -> bool:
    """Whether the cancellation that arrived was meant for the run, not for its task; if so, take it back."""
    if not run.removed or run.task is None:
        return False
    run.task.uncancel()
    return True
