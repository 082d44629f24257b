"""Bringing events to handlers: predicates, middleware, concurrency, retries, and the end of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterator
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from milepost._clock import Clock
from milepost.bus.context import EventContext
from milepost.bus.envelope import Envelope
from milepost.bus.handlers import Handler
from milepost.bus.middleware import Next, through
from milepost.bus.run import Run, current_run
from milepost.bus.side_by_side import SideBySide
from milepost.errors import CascadeLimit, CircuitOpen

if TYPE_CHECKING:
    from milepost.bus.bus import EventBus
    from milepost.bus.lines import Lines

__all__ = ["Deliverer"]

_log = logging.getLogger("milepost")

_THREADS: Final = 40
_FINAL: Final = (CascadeLimit, CircuitOpen)
"""Trying again cannot help against these."""


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
        if len(handlers) == 1:
            await self.deliver(handlers[0], envelope)
        elif handlers:
            await SideBySide(handlers, partial(self.deliver, envelope=envelope)).run()

    def deliver(
        self, handler: Handler, envelope: Envelope, before: int = 0, task: asyncio.Task[Any] | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Run a handler until it succeeds, or its retries are used up.

        Args:
            handler: the handler.
            envelope: the event.
            before: how many attempts were made before this delivery.
            task: the task that will await it, where the caller knows it.
        """
        run = Run(self, handler, envelope, task)
        if before:
            run.attempt = before + 1
        if handler.concurrency is None:
            return self._attempt(handler, run, is_first=True)
        return self._deliver_limited(handler, run)

    async def _deliver_limited(self, handler: Handler, run: Run) -> None:
        failure = await self._limited(handler, run)
        if failure is not None and not run.removed:
            await self._try_again(handler, run, failure)

    async def _try_again(self, handler: Handler, run: Run, failure: Exception) -> None:
        """Make further attempts, as many as the policy has pauses; then give up."""
        policy = self.bus.retry if handler.retry is None else handler.retry
        pauses: Iterator[float] = iter(()) if policy is None else policy.delays()
        while policy is not None and policy.wants(failure) and not isinstance(failure, _FINAL):
            pause = next(pauses, None)
            if pause is None:
                break
            envelope = run.envelope
            _log.info("%s failed on %s of %s and is tried again in %g s: %r", handler.identity, envelope.type,
                      envelope.subject, pause, failure)  # fmt: skip
            if not await self._still_wanted_after(self.clock.sleep(pause), run):
                return
            following = Run(self, handler, envelope)
            following.attempt = run.attempt + 1
            run = following
            outcome = await self._limited(handler, run) if handler.concurrency else await self._attempt(handler, run)
            if outcome is None or run.removed:
                return
            failure = outcome
        await self.bus.failing.give_up(self, handler, run.envelope, run.attempt, failure)

    async def _limited(self, handler: Handler, run: Run) -> Exception | None:
        """Make an attempt when fewer than the handler's concurrency are being made."""
        permits = self._permits.get(handler)
        if permits is None:
            permits = self._permits[handler] = asyncio.Semaphore(handler.concurrency or 1)
        if not permits.locked():
            await permits.acquire()
        elif not await self._still_wanted_after(permits.acquire(), run):
            return None
        try:
            return await self._attempt(handler, run)
        finally:
            permits.release()

    async def _still_wanted_after(self, waiting: Awaitable[Any], run: Run) -> bool:
        """Wait, before an attempt or between two, in nobody's way; return whether the run was not removed meanwhile."""
        if run.task is None:
            run.task = asyncio.current_task()
        self.runs.add(run)
        try:
            await self.lines.parked(waiting)
        except asyncio.CancelledError:
            if not _was_removed(run):
                raise
        finally:
            self.runs.discard(run)
        return not run.removed

    async def _attempt(self, handler: Handler, run: Run, *, is_first: bool = False) -> Exception | None:
        """Make one attempt; return what it raised, or make further ones after the first. What was emitted is sent."""
        if run.task is None:
            run.task = asyncio.current_task()
        runs = self.runs
        runs.add(run)
        token = current_run.set(run)
        failure: Exception | None = None
        subjects = self.bus.subjects
        try:
            if subjects is not None and run.must_load(subjects):
                await run.load_subject()
            if not handler.predicates or await _holds(handler, run):
                layers = self.bus.handler_layers
                if handler.breaker is not None:
                    layers = (*layers, handler.breaker)
                if layers:
                    await through(layers, run, run.call)
                elif handler.is_plain:  # what it emitted is dropped below where it fails: nothing is around it
                    await handler.function(run)
                else:
                    await run.call()
                if subjects is not None and run.loaded_subject is not None:
                    await run.commit()
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
            if subjects is not None:
                run.release()
        if (run.held is not None or run.held_for_others is not None) and (failure is None or run.has_failed):
            failure = await self._let_leave(handler, run, failure)
        if is_first and failure is not None and not run.removed:
            await self._try_again(handler, run, failure)
        return failure

    async def _let_leave(self, handler: Handler, run: Run, failure: Exception | None) -> Exception | None:
        """Send what was emitted; that it cannot be sent is a failure too."""
        try:
            await run.let_leave()
        except Exception as trouble:
            if failure is None:
                return trouble
            _log.exception("what middleware emitted after the failure of %s could not be sent", handler.identity)
        return failure

    async def wrap(self, envelope: Envelope, handle: Next) -> None:
        """Handle an event within the middleware that wraps events."""
        run = Run(self, None, envelope)
        token = current_run.set(run)
        subjects = self.bus.subjects
        try:
            if subjects is not None and run.must_load(subjects):
                await run.load_subject()
            await through(self.bus.event_layers, run, handle)
            await run.commit()
        except Exception:
            _log.exception("a middleware failed on the event %s of %s", envelope.type, envelope.subject)
        finally:
            run.over = True
            current_run.reset(token)
            run.release()
        await run.let_leave()


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
