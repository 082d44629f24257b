"""``EventBus``: the face of the bus. Handlers are registered here, and events published."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, cycle, repeat
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar, Unpack

import anyio

from milepost._clock import Clock, SystemClock, epoch_seconds
from milepost._tasks import Tasks
from milepost.bus.consuming import DurableConsumer, Pace
from milepost.bus.context import NamedSubject, SubjectLike, SubjectOf
from milepost.bus.decorators import Decorators
from milepost.bus.delays import DelayKeeper
from milepost.bus.delivering import Deliverer
from milepost.bus.envelope import EMPTY, Envelope
from milepost.bus.failed import FailedDelivery
from milepost.bus.failing import Failing
from milepost.bus.handlers import Handler, HandlerTable, HowToRun, Predicate, check_patterns
from milepost.bus.ids import fresh_ids, job_id
from milepost.bus.lines import Lines
from milepost.bus.middleware import Middleware, Scope, as_middleware
from milepost.bus.payloads import checked_payload
from milepost.bus.run import current_run
from milepost.bus.streams import EventStream, cursor_of
from milepost.bus.trace import TraceNode, tree_of
from milepost.bus.transports.base import Consumer, FailedJob, ImmediateTransport, Position, Transport
from milepost.bus.transports.memory import MemoryTransport
from milepost.errors import BackendUnavailable, CascadeLimit, InvalidDefinition, ManagerClosed, QueueOverflow
from milepost.events.types import Event
from milepost.queues import Overflow
from milepost.retries import RetryPolicy

__all__ = ["BusStatus", "EventBus", "PendingJob"]

_log = logging.getLogger("milepost")

_PAUSE_AFTER_TROUBLE: Final = 1.0
_EMITS_PER_BREATH: Final = 128
_BEYOND: Final = 10
"""How many times its capacity a bus takes of what handlers emit, who cannot wait for themselves."""

F = TypeVar("F", bound=Callable[..., Any])


class BusStatus(NamedTuple):
    """What is going on in a bus."""

    published: int
    """Events accepted in this process."""
    pending: int
    """Events accepted whose handlers have not come to their end."""
    running: int
    """Handlers that are being run, or wait for a retry."""
    failed: int
    """Deliveries that failed for good, in this process."""
    lags: Mapping[str, int]
    """For each durable consumer about how many events it has not acknowledged."""


class PendingJob(NamedTuple):
    """Work that has not come to its end: delayed, waiting for its turn, or running."""

    id: str
    """What ``remove_job`` knows it by."""
    state: str
    """``"delayed"``, ``"waiting"`` or ``"running"``."""
    event: Event
    handler: str | None
    """The handler's identity, of a running one."""
    due: float | None
    """Of a delayed one: when it is delivered, epoch seconds."""


class _Again:
    """A failed job in line, to be run again by its one handler."""

    __slots__ = ("envelope", "handler", "job", "subject")

    def __init__(self, job: FailedJob, handler: Handler) -> None:
        self.envelope = job.envelope
        self.subject = job.envelope.subject
        self.handler = handler
        self.job = job


class EventBus(Decorators):
    """Carries events from those who publish them to handlers, in one process or across many.

    ::

        on, when, middleware, emit = bus.handlers()


        @on("order.submitted")
        async def validate(ctx):
            if ctx.payload["total"] > 0:
                await ctx.emit("order.validated")


        await emit("order.submitted", "order:1", {"total": 12})

    Handlers can be registered before the start and without a loop; the first awaited call starts
    a bus that was not started.

    Args:
        transport: where events are kept; by default memory.
        clock: what time it is; by default the machine's.
        retry: the policy of handlers that have none of their own; by default a failure is final.
        max_depth: how many causes a chain of events may have.
        capacity: how many events may be accepted and not handled; whoever publishes waits for room.
        workers: how many handlers may be running at a time.
        pace: how durable consumers share work.
        close_timeout: for how many seconds ``aclose`` waits for handlers.

    Raises:
        InvalidDefinition: when a setting is wrong.
    """

    def __init__(
        self,
        transport: Transport | None = None,
        *,
        clock: Clock | None = None,
        retry: RetryPolicy | None = None,
        max_depth: int = 64,
        capacity: int = 10_000,
        workers: int = 1000,
        pace: Pace | None = None,
        close_timeout: float = 10.0,
    ) -> None:
        for name, value in (("max_depth", max_depth), ("capacity", capacity), ("workers", workers)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidDefinition(f"{name} must be a whole number of at least 1, got {value!r}")
        self._clock: Clock = SystemClock() if clock is None else clock
        self._time = self._clock.time
        self.max_depth = max_depth
        self._capacity = capacity
        self._workers = workers
        self._pace = Pace() if pace is None else pace
        self._close_timeout = close_timeout
        self.subject_of: SubjectOf = NamedSubject
        """Makes the ``ctx.subject`` of a name."""
        self._table = HandlerTable()
        self._local = self._table.local
        self.handler_layers: tuple[Middleware, ...] = ()
        self.event_layers: tuple[Middleware, ...] = ()
        self._ids = fresh_ids()
        self._breath = cycle(chain(repeat(False, _EMITS_PER_BREATH - 1), (True,)))
        self._streams: tuple[EventStream, ...] = ()
        self._published = 0
        self._former: list[tuple[Lines[Envelope | _Again], Tasks]] = []
        self._durable: str | None = None
        self.authority: object = None
        """Who commits what tracking does; its outbox may be the transport's stream."""
        self.on_handlers_changed: Callable[[], None] = lambda: None
        self._arrange(MemoryTransport() if transport is None else transport, retry)

    def _arrange(self, transport: Transport, retry: RetryPolicy | None) -> None:
        """Set up all that depends on the transport."""
        if not isinstance(transport, Transport):
            raise InvalidDefinition(f"bus must be an EventBus or a Transport, got {transport!r}")
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise InvalidDefinition(f"retry must be a RetryPolicy, got {retry!r}")
        self.transport = transport
        self.retry = retry
        self._immediate = transport if isinstance(transport, ImmediateTransport) else None
        self._carries_outbox = False
        """Whether the transport's stream is the outbox that tracking writes, so that its events are there already."""
        self._tasks = Tasks()
        self._lines: Lines[Envelope | _Again] = Lines(self._handle, self._tasks, self._workers)
        self._deliverer = Deliverer(self, self._lines, self._clock, None)
        self.failing = Failing(self, transport, self._clock)
        self._delays = DelayKeeper(transport, self._clock, self._accept_all, self._look_around, self._pace.poll)
        self._keeping: asyncio.Task[None] | None = None
        self._consumers: dict[str, DurableConsumer] = {}
        self._declared: dict[str, Consumer] = {}
        self._outgoing: deque[Envelope] = deque()
        self._is_sending = False
        self._running = False
        self._closed = False
        self._starting: asyncio.Task[None] | None = None
        self._note_shape()
        self._carried: list[tuple[Envelope, float | None]] = []
        """Events that were published before this transport was there."""

    def use(self, transport: Transport, *, retry: RetryPolicy | None = None, durable: str | None = None) -> None:
        """Go on with another transport; what is registered stays. What was published before is still handled.

        Args:
            transport: where events are kept from now on.
            retry: the policy of handlers that have none of their own.
            durable: the durable consumer of handlers that name none.

        Raises:
            InvalidDefinition: when a setting is wrong.
            RuntimeError: when durable consumers are at work already.
        """
        if self._running and self._consumers:
            raise RuntimeError("durable consumers are at work: close the bus before it gets another transport")
        carried: list[tuple[Envelope, float | None]] = []
        if self._running:
            carried += [(one, None) for one in self._lines.drop(lambda _: True) if isinstance(one, Envelope)]
            if self._immediate is not None:
                carried += self._immediate.take_delayed()
            if self._keeping is not None:
                self._keeping.cancel()
            self._former.append((self._lines, self._tasks))
        self._arrange(transport, retry)
        self._carried = carried
        self._durable = durable
        if durable is not None:
            self._table.make_durable(durable)

    # --- life -----------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Connect and begin to consume. Doing it twice is harmless.

        Raises:
            ManagerClosed: after ``aclose``.
            BackendUnavailable: when the transport does not answer.
        """
        if self._closed:
            raise ManagerClosed
        if self._running:
            return
        if self._starting is None:  # a task of its own: a cancelled caller leaves nothing half open
            self._starting = asyncio.get_running_loop().create_task(self._start())
        starting = self._starting
        try:
            await asyncio.shield(starting)
        finally:
            if starting.done():
                self._starting = None

    async def _start(self) -> None:
        await self.transport.open(self._clock)
        self._carries_outbox = self.authority is not None and await self.transport.carries(self.authority)
        self._running = True
        for consumer in self._declared.values():
            await self.transport.declare(consumer)
        for name in {handler.durable for handler in self._table.handlers() if handler.durable}:
            self._consume(name)
        self._note_shape()
        if self.transport.lasting:
            self._keep_delays()
        carried, self._carried = self._carried, []
        if carried:
            await self.send(carried, inside=True)

    async def aclose(self) -> None:
        """Finish what was begun, and disconnect. Doing it twice is harmless.

        Events in memory that were not handled in ``close_timeout`` seconds are gone; durable consumers give
        their partitions back.

        Raises:
            RuntimeError: in a handler, which would wait for itself.
        """
        self.refuse_from_handler("aclose()")
        self._closed = True
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if not self._running:
            return
        self._running = False
        self._note_shape()
        try:
            with anyio.move_on_after(self._close_timeout):
                for lines, _ in self._former:
                    await lines.settle()
                await self._lines.settle()
                for consumer in self._consumers.values():
                    await consumer.drain()
        finally:
            for tasks in (self._tasks, *(tasks for _, tasks in self._former)):
                await tasks.aclose()
            self._former.clear()
            for consumer in self._consumers.values():
                await consumer.aclose()
            for stream in self._streams:
                stream.close()
            await self.transport.aclose()

    def refuse_from_handler(self, call: str) -> None:
        """Raise if the present task runs a handler: it would wait for itself.

        Raises:
            RuntimeError: then.
        """
        run = current_run.get()
        if run is not None and not run.over and run.task is asyncio.current_task():
            raise RuntimeError(f"{call} waits for handlers to end, so a handler cannot await it")

    async def settle(self) -> None:
        """Wait until all that was published here has been handled: by handlers and by durable consumers.

        Delayed events, and what other processes own, are not waited for.

        Raises:
            RuntimeError: in a handler, which would wait for itself.
        """
        self.refuse_from_handler("settle()")
        await self.start()
        before: tuple[int, ...] | None = None
        while before != (before := self._so_far()) or self._lines.pending or self._is_sending:
            for lines in (self._lines, *(lines for lines, _ in self._former)):
                await lines.settle()
            await asyncio.sleep(0)
            for consumer in list(self._consumers.values()):
                await consumer.settle()

    def _so_far(self) -> tuple[int, ...]:
        """Return counts that stand still while nothing happens."""
        return (self._published, len(self._outgoing), *(consumer.handled for consumer in self._consumers.values()))

    # --- handlers -------------------------------------------------------------------------

    def register(
        self,
        function: Callable[..., Any],
        patterns: str | Sequence[str],
        filters: Iterable[Predicate] = (),
        *,
        takes_event: bool = False,
        **how: Unpack[HowToRun],
    ) -> Handler:
        """Register a handler.

        Args:
            function: plain or async; takes a context. A plain one runs in a thread.
            patterns: which events it wants: ``*`` is anything, dots included, ``?`` one character.
            filters: predicates that must hold besides, plain or async.
            takes_event: whether it gets the event instead of a context.
            **how: ``retry``, a ``RetryPolicy``; ``timeout``, seconds for each attempt; ``concurrency``, how many
                runs of it at a time; ``durable``, the name of a durable consumer it belongs to; ``breaker``, a
                ``CircuitBreaker``; ``name``, what it is known by instead of the function's name.

        Returns:
            The registration.

        Raises:
            InvalidDefinition: when a pattern or a setting is wrong.
        """
        wanted = check_patterns((patterns,) if isinstance(patterns, str) else patterns)
        handler = Handler(function, wanted, tuple(filters), takes_event, self._how(how))
        self._table.add(handler)
        self._handler_added(handler)
        return handler

    def _how(self, how: HowToRun) -> HowToRun:
        return how if self._durable is None or "durable" in how else {**how, "durable": self._durable}

    def _decorated(self, function: Callable[..., Any], handler: Handler) -> None:
        self._table.decorate(function, handler)
        self._handler_added(handler)

    def _filtered(self, function: Callable[..., Any], predicates: tuple[Predicate, ...]) -> None:
        self._table.filter(function, predicates)

    def _handler_added(self, handler: Handler) -> None:
        if handler.durable and self._running:
            self._consume(handler.durable)
        self.on_handlers_changed()

    def unregister(self, name: str | Callable[..., Any]) -> int:
        """Remove handlers.

        Args:
            name: their name or identity, or the function.

        Returns:
            How many were removed.
        """
        removed = self._table.remove(lambda handler: name in (handler.name, handler.identity, handler.function))
        self.on_handlers_changed()
        return removed

    def unregister_all(self) -> int:
        """Remove all handlers; middleware stays. Return how many there were."""
        removed = self._table.remove(lambda handler: True)
        self.on_handlers_changed()
        return removed

    def add_middleware(self, function: Callable[..., Any], scope: Scope = "handler") -> None:
        """Add a middleware; the first one is outermost.

        Args:
            function: takes a context and ``next``; plain or async.
            scope: ``"handler"``: around each run of a handler; ``"event"``: around each event that is published
                here, once, whether or not anybody handles it.

        Raises:
            InvalidDefinition: when it cannot be called, or the scope is none.
        """
        if scope == "handler":
            self.handler_layers = (*self.handler_layers, as_middleware(function))
        elif scope == "event":
            self.event_layers = (*self.event_layers, as_middleware(function))
        else:
            raise InvalidDefinition(f'scope must be "handler" or "event", got {scope!r}')

    def wants(self, event_type: str) -> bool:
        """Whether any handler, stream or middleware would notice an event of this type."""
        return (
            bool(self.event_layers)
            or any(self._table.matching(consumer, event_type) for consumer in self._table.consumers())
            or any(stream.wants_type(event_type) for stream in self._streams)
        )

    def handler_identities(self) -> list[str]:
        """Return what the handlers are known by."""
        return [handler.identity for handler in self._table.handlers()]

    def handler_of(self, identity: str) -> Handler | None:
        """Return a handler by its identity."""
        return self._table.known(identity)

    def matching(self, consumer: str, event_type: str) -> tuple[Handler, ...]:
        """Return a durable consumer's handlers for a type of event."""
        return self._table.matching(consumer, event_type)

    # --- publishing -----------------------------------------------------------------------

    async def emit(
        self,
        event_type: str,
        subject: SubjectLike | str | None = None,
        payload: Mapping[str, Any] | None = None,
        *,
        delay: float | timedelta | None = None,
        at: float | datetime | None = None,
        **extra: Any,
    ) -> str:
        """Emit an event. Returns when it is accepted, not when it is handled.

        Within a handler it is one of the handler's own, as with ``ctx.emit``: it leaves when that succeeds.

        Args:
            event_type: what happened.
            subject: what it happened to, or its name; None for nothing in particular.
            payload: JSON values; copied.
            delay: seconds, or a timedelta, before it is delivered.
            at: when to deliver it, epoch seconds or an aware datetime.
            **extra: metadata that travels with it.

        Returns:
            The event's id.

        Raises:
            TypeError: when the payload is not made of JSON values.
            ManagerClosed: after ``aclose``.
            OutboxFull: when a durable consumer that refuses to lapse is too far behind.
            BackendUnavailable: when the transport does not answer.
        """
        keep = self._keep
        if (
            keep is None
            or extra
            or delay is not None
            or at is not None
            or event_type.__class__ is not str
            or not event_type
            or self._lines.pending >= self._capacity
            or current_run.get() is not None
        ):
            return await self._emit_any(self.envelope(event_type, subject, payload, extra), self.due(delay, at))
        if subject is not None and subject.__class__ is not str:
            subject = subject_name(subject)
        id = next(self._ids)
        envelope = Envelope(id, event_type, subject, checked_payload(payload), self._time())
        self._published += 1
        keep(envelope)
        if self._local.find(event_type) or self.event_layers:
            self._lines.accept(envelope)
        if next(self._breath):
            await asyncio.sleep(0)  # let handlers run: who emits in a loop waits for nothing else
        return id

    async def _emit_any(self, envelope: Envelope, due: float | None) -> str:
        """Emit an event to which there may be more: a cause, a delay, a transport that takes time."""
        run = current_run.get()
        if run is not None and not run.over:
            return await run.take(envelope, due, derive=True)
        await self.send([(envelope, due)])
        return envelope.id

    def _note_shape(self) -> None:
        """Note whether an event needs no more than to be kept in memory and shown to handlers of this process."""
        immediate = self._immediate
        bare = immediate is not None and self._running and not self._declared and not self._streams
        self._keep = immediate.append_new if immediate is not None and bare else None

    async def publish(
        self, event: Event, *, delay: float | timedelta | None = None, at: float | datetime | None = None
    ) -> str:
        """Publish an event. Returns when it is accepted, not when it is handled.

        An event whose id is in the stream already is not published again.

        Args:
            event: the event.
            delay: seconds, or a timedelta, before it is delivered.
            at: when to deliver it, epoch seconds or an aware datetime.

        Returns:
            The event's id.

        Raises:
            TypeError: for something that is no event, or a payload that is not made of JSON values.
            ManagerClosed: after ``aclose``.
            OutboxFull: when a durable consumer that refuses to lapse is too far behind.
            BackendUnavailable: when the transport does not answer.
        """
        (id,) = await self.publish_many([event], delay=delay, at=at)
        return id

    async def publish_many(
        self, events: Iterable[Event], *, delay: float | timedelta | None = None, at: float | datetime | None = None
    ) -> list[str]:
        """Publish events in order, with one round trip. Otherwise like :meth:`publish`.

        Returns:
            The events' ids.
        """
        due = self.due(delay, at)
        given = list(events)
        envelopes = [self._envelope_of(event) for event in given]
        run = current_run.get()
        if run is not None and not run.over:
            return [
                await run.take(envelope, due, derive="id" not in event.model_fields_set)
                for event, envelope in zip(given, envelopes, strict=True)
            ]
        await self.send([(envelope, due) for envelope in envelopes])
        return [envelope.id for envelope in envelopes]

    def envelope(
        self,
        event_type: str,
        subject: SubjectLike | str | None,
        payload: Mapping[str, Any] | None,
        extra: Mapping[str, Any],
    ) -> Envelope:
        """Return an event of these parts that nothing caused.

        Raises:
            TypeError: when one of them is of the wrong type.
        """
        if event_type.__class__ is not str and not isinstance(event_type, str):
            raise TypeError(f"event_type must be text, got {event_type!r}")
        if not event_type:
            raise ValueError("event_type must not be empty")
        if subject is not None and subject.__class__ is not str:
            subject = subject_name(subject)
        made = Envelope(next(self._ids), event_type, subject, checked_payload(payload), self._time())
        if extra:
            made.metadata = checked_payload(extra, "extra")
        return made

    def _envelope_of(self, event: Any) -> Envelope:
        if not isinstance(event, Event):
            raise TypeError(f"event must be an Event, got {event!r}")
        time = event.time.timestamp() if "time" in event.model_fields_set else self._time()
        made = Envelope(event.id, event.type, event.subject, checked_payload(event.data, "data"), time)
        made.metadata = checked_payload(event.metadata, "metadata") if event.metadata else EMPTY
        made.source = event.source
        made.cause, made.root, made.depth = event.cause, event.root, event.depth
        made.change = event.change
        return made

    def due(self, delay: float | timedelta | None, at: float | datetime | None) -> float | None:
        """Return when an event is to be delivered, epoch seconds; None for at once.

        Raises:
            TypeError: when both are given, or one is of the wrong type.
            ValueError: for a delay below 0.
        """
        if delay is None:
            return None if at is None else epoch_seconds(at, "at")
        if at is not None:
            raise TypeError("give delay or at, not both")
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"delay must be seconds or a timedelta, got {delay!r}")
        if not 0 <= seconds < 1e11:
            raise ValueError(f"delay must be a number of seconds of at least 0, got {delay!r}")
        return epoch_seconds(self._time() + seconds, "delay")

    async def send(self, envelopes: Sequence[tuple[Envelope, float | None]], *, inside: bool = False) -> None:
        """Have events accepted, each with the moment it is due; None for at once.

        Args:
            envelopes: the events.
            inside: whether a handler waits for it, who must not be waited for in turn.

        Raises:
            QueueOverflow: when handlers emit far more than can be handled.
        """
        if not self._running and not (inside and not self._tasks.closed):
            await self.start()
        if not inside:
            await self._lines.room(self._capacity)
            for stream in self._streams:
                await stream.room()
        elif self._lines.pending > _BEYOND * self._capacity:
            raise QueueOverflow(f"{self._lines.pending} events wait to be handled; handlers emit more than they handle")
        now = [envelope for envelope, due in envelopes if due is None]
        for envelope, due in envelopes:
            if due is not None:
                await self.transport.delay(envelope, due)
                self._keep_delays()
        if now:
            new = await self.transport.append(now)
            self._published += len(now)
            self._accept_all([envelope for envelope, is_new in zip(now, new, strict=True) if is_new])

    async def cancel(self, event_id: str) -> bool:
        """Cancel a delayed event.

        Args:
            event_id: what ``emit`` or ``publish`` returned.

        Returns:
            Whether it was still waiting.
        """
        await self.start()
        return await self.transport.cancel(event_id)

    def hear(self, events: Sequence[Event]) -> None:
        """Take tracker events that were committed; who waits for their commit does not wait for their handlers."""
        run = current_run.get()
        for event in events:
            envelope = Envelope.of(event)
            if run is not None and not run.over:
                envelope.caused_by(run.envelope)
                if envelope.depth > self.max_depth:
                    _log.error("%s", CascadeLimit(self.max_depth, [f"... {run.envelope.type}", envelope.type]))
                    continue
            if self._carries_outbox:
                self._accept(envelope)
            elif self._immediate is not None:
                self._immediate.append_now(envelope)
                self._accept(envelope)
            else:
                self._outgoing.append(envelope)
                if not self._is_sending:
                    self._is_sending = True
                    _ = self._tasks.spawn(self._send_out(), "tracker events")

    async def _send_out(self) -> None:
        """Send tracker events to a transport that is somewhere else than their outbox."""
        try:
            await self.start()
            while self._outgoing:
                batch = [self._outgoing.popleft() for _ in range(min(len(self._outgoing), 500))]
                new = await self._persistently(batch)
                self._accept_all([envelope for envelope, is_new in zip(batch, new, strict=True) if is_new])
        finally:
            self._is_sending = False

    async def _persistently(self, batch: Sequence[Envelope]) -> list[bool]:
        while True:
            try:
                return await self.transport.append(batch)
            except BackendUnavailable as error:
                _log.warning("tracker events wait for their transport: %s", error)
                await self._clock.sleep(_PAUSE_AFTER_TROUBLE)

    # --- from the stream to handlers ------------------------------------------------------

    def _accept_all(self, envelopes: Iterable[Envelope]) -> None:
        for envelope in envelopes:
            self._accept(envelope)

    def _accept(self, envelope: Envelope) -> None:
        for stream in self._streams:
            stream.offer(envelope)
        for consumer in self._consumers.values():
            consumer.wake()
        if self._local.find(envelope.type) or self.event_layers:
            self._lines.accept(envelope)

    def _handle(self, item: Envelope | _Again) -> Awaitable[None]:
        if isinstance(item, _Again):
            return self._run_again(item)
        if self.event_layers:
            return self._deliverer.wrap(item, partial(self._deliver, item))
        handlers = self._local.find(item.type)
        if len(handlers) == 1:
            return self._deliverer.deliver(handlers[0], item, 0, self._lines.task)
        return self._deliverer.deliver_all(handlers, item)

    async def _run_again(self, again: _Again) -> None:
        await self._deliverer.deliver(again.handler, again.envelope, again.job.attempts)
        await self.failing.concluded(again.job)

    def _deliver(self, envelope: Envelope) -> Awaitable[None]:
        return self._deliverer.deliver_all(self._local.find(envelope.type), envelope)

    def _keep_delays(self) -> None:
        if self._keeping is None:
            self._keeping = self._tasks.spawn(self._delays.run(), "delayed events")
        self._delays.note()

    async def _look_around(self) -> None:
        if self.transport.lasting:
            await self.failing.take_up()
            await self.failing.hold()

    # --- durable consumers ----------------------------------------------------------------

    async def declare_consumer(self, consumer: Consumer) -> None:
        """Say how a durable consumer is kept up with; without it, one has the defaults.

        Args:
            consumer: its name, where it begins, its largest lag and what happens beyond that.
        """
        self._declared[consumer.name] = consumer
        self._note_shape()
        if self._running:
            await self.transport.declare(consumer)
        else:
            await self.start()

    async def forget_consumer(self, name: str) -> bool:
        """Let a durable consumer go for good, so that nothing is kept for it; return whether it was known."""
        await self.start()
        self._declared.pop(name, None)
        self._note_shape()
        gone = self._consumers.pop(name, None)
        if gone is not None:
            await gone.aclose()
        return await self.transport.forget(name)

    def _consume(self, name: str) -> None:
        if name not in self._consumers:
            settings = self._declared.setdefault(name, Consumer(name))
            self._note_shape()
            consumer = DurableConsumer(self, settings, self.transport, self._clock, self._workers, self._pace)
            self._consumers[name] = consumer
            consumer.begin()

    # --- work that failed, waits or runs --------------------------------------------------

    async def get_failed_jobs(self, pattern: str = "*") -> list[FailedDelivery]:
        """Return the deliveries that failed for good, the oldest first.

        Args:
            pattern: of their events' types.
        """
        await self.start()
        return await self.failing.jobs(pattern)

    async def retry_job(self, id: str) -> None:
        """Have a failed delivery run again, with all its retries; it leaves the list when it succeeds.

        Args:
            id: the failed delivery's id.

        Raises:
            JobNotFound: when there is none.
        """
        await self.start()
        await self.failing.ask_one(id)

    async def retry_jobs(self, pattern: str = "*") -> int:
        """Have all failed deliveries of a pattern run again; return how many."""
        await self.start()
        return await self.failing.ask_matching(pattern)

    def run_again(self, job: FailedJob, handler: Handler) -> None:
        """Put a failed job in line."""
        consumer = self._consumers.get(job.consumer)
        if consumer is None:
            self._lines.accept(_Again(job, handler))
        else:
            consumer.run_again(job, handler)

    async def get_jobs(self) -> list[PendingJob]:
        """Return the work that has not come to its end: delayed events, and what waits or runs in this process."""
        await self.start()
        delayed = await self.transport.delayed()
        jobs = [PendingJob(envelope.id, "delayed", envelope.event(), None, due) for due, envelope in delayed]
        waiting = [one if isinstance(one, Envelope) else one.envelope for one in self._lines.waiting()]
        jobs += [PendingJob(envelope.id, "waiting", envelope.event(), None, None) for envelope in waiting]
        for deliverer in self._deliverers():
            for run in deliverer.runs:
                if run.handler is not None:
                    id = job_id(run.envelope.id, run.handler.identity, deliverer.consumer or "")
                    jobs.append(PendingJob(id, "running", run.envelope.event(), run.handler.identity, None))
        return jobs

    def _deliverers(self) -> list[Deliverer]:
        return [self._deliverer, *(consumer.deliverer for consumer in self._consumers.values())]

    async def remove_job(self, id: str) -> bool:
        """Remove work: a failed delivery, a delayed or waiting event, or a running handler, which is cancelled.

        Args:
            id: of a failed delivery, of one of ``get_jobs``, or of an event: then all its work.

        Returns:
            Whether there was any.
        """
        await self.start()
        ended = self._end_runs(id)
        dropped = self._lines.drop(
            lambda one: id in ((one.job.id, one.envelope.id) if isinstance(one, _Again) else (one.id,))
        )
        for consumer in self._consumers.values():
            ended += consumer.drop(id)
        cancelled = await self.transport.cancel(id)
        removed = await self.failing.remove([id])
        return bool(ended or dropped or cancelled or removed)

    def _end_runs(self, id: str) -> int:
        ended = 0
        for deliverer in self._deliverers():
            for run in list(deliverer.runs):
                if run.handler is None or run.task is None or run.removed:
                    continue
                job = job_id(run.envelope.id, run.handler.identity, deliverer.consumer or "")
                if id in (run.envelope.id, job):
                    run.removed = True
                    run.task.cancel()
                    ended += 1
        return ended

    async def remove_jobs(self, pattern: str = "*") -> int:
        """Remove all failed deliveries of a pattern; return how many."""
        await self.start()
        return await self.failing.remove_matching(pattern)

    # --- looking back ---------------------------------------------------------------------

    async def history(
        self,
        pattern: str = "*",
        *,
        subject: str = "*",
        since: float | datetime | None = None,
        until: float | datetime | None = None,
    ) -> AsyncIterator[Event]:
        """Iterate over the events that are kept, the oldest first.

        Args:
            pattern: of their types.
            subject: a pattern of their subjects.
            since: not before, epoch seconds or an aware datetime.
            until: before, likewise.
        """
        await self.start()
        begin = None if since is None else epoch_seconds(since, "since")
        end = None if until is None else epoch_seconds(until, "until")
        async for envelope in self.transport.history(pattern, subject, begin, end):
            yield envelope.event()

    async def trace(self, event_id: str) -> TraceNode | None:
        """Return an event that is kept, with all that it caused; None where it is not.

        Args:
            event_id: the event's id.
        """
        await self.start()
        found = await self.transport.find(event_id)
        if found is None:
            return None
        return tree_of(event_id, await self.transport.chain(found.root or found.id))

    async def chain_to(self, envelope: Envelope) -> list[str]:
        """Return the types of the events that led to one, the first one first."""
        known = {one.id: one for one in await self.transport.chain(envelope.root or envelope.id)}
        types = [envelope.type]
        at: Envelope | None = envelope
        while at is not None and at.cause is not None and len(types) <= self.max_depth:
            at = known.get(at.cause)
            types.append("…" if at is None else at.type)
        return types[::-1]

    async def cursor(self) -> Position:
        """Return where the stream ends now, for ``subscribe(after=...)``."""
        await self.start()
        return cursor_of(await self.transport.end())

    def subscribe(
        self,
        *patterns: str,
        subject: str = "*",
        size: int = 1000,
        overflow: Overflow | str = Overflow.DROP_OLDEST,
        after: Position | None = None,
    ) -> EventStream:
        """Return a bounded queue of events, an async context manager and iterator.

        Args:
            *patterns: of event types; none for all.
            subject: a pattern of subjects.
            size: how many events it holds.
            overflow: what happens to an event for which there is no room.
            after: the ``cursor`` of an earlier subscription: what was published since then comes too, from every
                process; ``""`` begins with the first event that is kept. None for what this process publishes from
                now on.

        Raises:
            InvalidDefinition: when a setting is wrong.
        """
        return EventStream(self, patterns or ("*",), subject, size, overflow, after, self._clock, self._pace.poll)

    def add_stream(self, stream: EventStream) -> None:
        """Let a stream hear from now on."""
        if self._closed:
            raise ManagerClosed
        self._streams = (*self._streams, stream)
        self._note_shape()
        self.on_handlers_changed()

    def remove_stream(self, stream: EventStream) -> None:
        """Let a stream hear no more."""
        self._streams = tuple(other for other in self._streams if other is not stream)
        self._note_shape()
        self.on_handlers_changed()

    async def status(self) -> BusStatus:
        """Return what is going on."""
        await self.start()
        return BusStatus(
            published=self._published,
            pending=self._lines.pending + sum(consumer.pending for consumer in self._consumers.values()),
            running=sum(len(deliverer.runs) for deliverer in self._deliverers()),
            failed=self.failing.count,
            lags=await self.transport.lags(),
        )


def subject_name(subject: Any) -> str:
    """Return the name of a subject that was handed in.

    Raises:
        TypeError: when it has none.
    """
    name = subject if isinstance(subject, str) else getattr(subject, "name", None)
    if not isinstance(name, str):
        raise TypeError(f"subject must be a name, or something with a name, got {subject!r}")
    return name
