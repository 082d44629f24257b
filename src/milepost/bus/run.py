"""One attempt of a handler at an event: what it emits, and the innermost call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from contextvars import ContextVar
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar

from milepost.bus.context import EventContext, SubjectSource
from milepost.bus.envelope import Envelope
from milepost.bus.handlers import Handler
from milepost.bus.ids import derived_id, work_id
from milepost.errors import CascadeLimit
from milepost.events.codes import SUBJECT_PROPERTY_CHANGED
from milepost.subjects.draft import Cause

if TYPE_CHECKING:
    from milepost.bus.bus import EventBus
    from milepost.bus.delivering import Deliverer
    from milepost.bus.publishing import Publishing

__all__ = ["Held", "Run", "current_cause", "current_run"]

Held = list[tuple[Envelope, float | None]]
"""Events that wait to be sent, each with the moment it is due."""

T = TypeVar("T")

current_run: ContextVar[Run | None] = ContextVar("milepost_current_run", default=None)
"""The run that this code belongs to: what it emits was caused by that run's event."""


class Run(EventContext):
    """One attempt of a handler at an event; or, without a handler, what wraps the event itself.

    Handlers get it as their context.
    """

    # On the class, so that a run that does nothing special is made of three attributes.
    over = False
    removed = False
    """Whether ``remove_job`` has ended it."""
    has_failed = False
    """Whether the handler raised; what was emitted since is middleware's."""
    _ordinal = 0

    def __init__(
        self, deliverer: Deliverer, handler: Handler | None, envelope: Envelope, task: asyncio.Task[Any] | None = None
    ) -> None:
        self.deliverer = deliverer
        self.task = task
        """The task that runs it, which ``remove_job`` cancels."""
        self.held: Held | None = None
        """What was emitted and leaves when the handler succeeds, each with the moment it is due."""
        self.held_for_others: list[tuple[Publishing, Envelope, float | None]] | None = None
        """The same for other buses than the one whose handler this is."""
        self._handler = handler  # what the base class would do, without a call for each event
        self._envelope = envelope

    @property
    def _run(self) -> Run:
        return self

    @property
    def handler(self) -> Handler | None:
        """The handler; None for what wraps the event itself."""
        return self._handler

    @property
    def envelope(self) -> Envelope:
        """The event."""
        return self._envelope

    @property
    def bus(self) -> EventBus:
        """The bus."""
        return self.deliverer.bus

    # --- what contexts and middleware ask for ---------------------------------------------

    @property
    def subjects(self) -> SubjectSource | None:
        """Where subjects come from; None for a bus without a manager."""
        return self.deliverer.bus.subjects

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

    async def take(self, bus: Publishing, envelope: Envelope, due: float | None, *, derive: bool) -> str:
        """Hold an event until this run succeeds; send it at once where the run is over.

        Args:
            bus: where it is to be sent; not always the bus whose handler this is.
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
            ordinal = f"{self.attempt} failed.{self._ordinal}" if self.has_failed else str(self._ordinal)
            envelope.id = derived_id(cause.id, self._who, ordinal, envelope.type)
            self._ordinal += 1
        envelope.caused_by(cause)
        if self.over:
            await bus.send([(envelope, due)])
        elif bus is not self.bus:
            self.held_for_others = [*(self.held_for_others or ()), (bus, envelope, due)]
        elif self.held is None:
            self.held = [(envelope, due)]
        else:
            self.held.append((envelope, due))
        return envelope.id

    async def let_leave(self) -> None:
        """Send what was held."""
        if self.held is not None:
            await self.bus.send(self.held, inside=True)
        for bus, envelope, due in self.held_for_others or ():
            await bus.send([(envelope, due)], inside=True)

    def handler_failed(self) -> None:
        """Drop what the handler emitted and did to its subject: that goes with its success.

        What is emitted from now on is sent.
        """
        self.has_failed = True
        self._ordinal = 0
        self.held = self.held_for_others = None
        self.release()

    @property
    def _who(self) -> str:
        return "" if self.handler is None else self.handler.identity

    # --- the subject ----------------------------------------------------------------------

    def must_load(self, source: SubjectSource) -> bool:
        """Whether the subject must be loaded before anybody sees it, because it cannot be when it is asked for."""
        handler = self.handler
        if source.is_quick and (handler is None or handler.is_async):
            return False
        return handler is None or not handler.takes_event or bool(handler.predicates or self.bus.handler_layers)

    async def commit(self) -> None:
        """Commit what was done to the subject, and with it what was emitted, unless the handler failed.

        Raises:
            CascadeLimit: when its events would make the chain of causes too long.
        """
        subject = self.loaded_subject
        if subject is None or self.has_failed or not subject.has_changes:
            return
        again = self.deliverer.consumer is not None  # a durable handler may be run again for what it has done
        try:
            if subject.announces and self.envelope.depth >= self.bus.max_depth:
                chain = await self.bus.chain_to(self.envelope)
                raise CascadeLimit(self.bus.max_depth, [*chain, SUBJECT_PROPERTY_CHANGED])
            riding = self.bus.riding(subject.name, self.held) if self.held else []
            if await subject.store_with(riding, work_id(self.envelope.id, self._who) if again else None):
                gone = {event.envelope for event in riding}
                self.held = [one for one in self.held or () if one[0] not in gone] or None
        except BaseException:
            self.handler_failed()
            raise

    def release(self) -> None:
        """Take back what was not committed."""
        subject = self.loaded_subject
        if subject is not None:
            subject.discard()

    # --- the innermost call ---------------------------------------------------------------

    async def call(self) -> None:
        """Run the handler itself, within its timeout."""
        handler = self._handler
        if handler is None:
            raise AssertionError("what wraps an event has no handler to call")
        try:
            if handler.is_plain:
                await handler.function(self)
                return
            argument = self.event if handler.takes_event else self
            if handler.timeout is None:
                await self._call(handler, argument)
            else:
                await self._within(handler.timeout, self._call(handler, argument))
        except BaseException:
            self.handler_failed()
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


def current_cause() -> Cause | None:
    """Return the event in whose handler this code runs; None outside of handlers."""
    run = current_run.get()
    if run is None or run.over:
        return None
    envelope = run.envelope
    return Cause(envelope.id, envelope.root or envelope.id, envelope.depth + 1)
