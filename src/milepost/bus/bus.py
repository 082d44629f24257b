"""``EventBus``: the face of the bus. Handlers are registered here, and events published."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import anyio

from milepost._clock import Clock, SystemClock
from milepost._tasks import Tasks
from milepost.bus.consumers import Consumers
from milepost.bus.consuming import Pace
from milepost.bus.context import SubjectSource
from milepost.bus.delays import DelayKeeper
from milepost.bus.delivering import Deliverer
from milepost.bus.envelope import Envelope
from milepost.bus.failing import Failing
from milepost.bus.handlers import Handler
from milepost.bus.hearing import Hearing
from milepost.bus.jobs import Jobs
from milepost.bus.lines import Lines
from milepost.bus.looking_back import LookingBack
from milepost.bus.parts import Again
from milepost.bus.relaying import Relay
from milepost.bus.run import current_run
from milepost.bus.streams import EventStream
from milepost.bus.transports.base import ImmediateTransport, Transport
from milepost.bus.transports.memory import MemoryTransport
from milepost.data_stores.base import RelayedOutbox
from milepost.errors import BackendUnavailable, InvalidDefinition, ManagerClosed, OutboxFull
from milepost.retries import RetryPolicy

__all__ = ["BusStatus", "EventBus"]

_log = logging.getLogger("milepost")


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
    lapsed: Mapping[str, int]
    """For each durable consumer up to how many events it has lost by being too far behind."""


class EventBus(Hearing, Consumers, Jobs, LookingBack):
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
        self._clock = SystemClock() if clock is None else clock
        super().__init__(self._clock)
        self.max_depth = max_depth
        self._capacity = capacity
        self._workers = workers
        self._pace = Pace() if pace is None else pace
        self._close_timeout = close_timeout
        self._relayed: RelayedOutbox | None = None
        self.authority: object = None
        """What decides the commits of subjects: a store, or a cache in front of it."""
        self.subjects: SubjectSource | None = None
        """Where the ``ctx.subject`` of handlers comes from; None where subjects have names and nothing else."""
        self._streams = ()
        self._starting = None
        self._former: list[tuple[Lines[Envelope | Again], Tasks]] = []
        self._left: list[Transport] = []
        """Transports that it went on from; their last handlers may need them until it is closed."""
        self.store: object = None
        """Where tracking has its outbox, which may be the transport's stream: the store, or a cache that decides."""
        self.offer: Callable[[], Transport] | None = None
        """Makes a transport that lasts, for when a durable consumer is declared and nobody has chosen a transport."""
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
        self._relay = None
        self._relaying: asyncio.Task[None] | None = None
        self._carries_outbox = False
        self._tasks = Tasks()
        self._lines = Lines(self._handle, self._tasks, self._workers)
        self._deliverer = Deliverer(self, self._lines, self._clock, None)
        self.failing = Failing(self, transport, self._clock)
        self._delays = DelayKeeper(transport, self._clock, self._accept_all, self._look_around, self._pace.poll)
        self._keeping: asyncio.Task[None] | None = None
        self._consumers = {}
        self._declared = {}
        self._declares = False
        self._outgoing.clear()
        self._is_sending = False
        self._running = False
        self._closed = False
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
        self.offer = None
        if self._running and self._consumers:
            raise RuntimeError("durable consumers are at work: close the bus before it gets another transport")
        carried: list[tuple[Envelope, float | None]] = []
        if self._running:
            carried += [(one, None) for one in self._lines.drop(lambda _: True) if isinstance(one, Envelope)]
            if self._immediate is not None:
                carried += self._immediate.take_delayed()
            self._former.append((self._lines, self._tasks))
            self._left.append(self.transport)
        else:
            carried += self._carried
        carried += [(one, None) for one in self._outgoing]
        for task in (self._keeping, self._relaying):
            if task is not None:
                task.cancel()
        if self._starting is not None and self._starting.done():
            self._starting = None
        self._arrange(transport, retry)
        self._carried = carried
        self._durable = durable
        if durable is not None:
            self._table.make_durable(durable)

    def _take_offer(self) -> None:
        """Go on with the transport on offer, if there is one."""
        offer, self.offer = self.offer, None
        if offer is not None:
            was_running = self._running
            self.use(offer(), retry=self.retry, durable=self._durable)
            if was_running:
                _ = self._tasks.spawn(self.start(), "starting again")

    # --- life -----------------------------------------------------------------------------

    def _prepare(self) -> None:
        if any(handler.durable for handler in self._table.handlers()):
            self._take_offer()

    async def _start(self) -> None:
        await self._open()
        self._running = True
        for name in {handler.durable for handler in self._table.handlers() if handler.durable}:
            self._consume(name)
        self._note_shape()
        if self.transport.lasting:
            self._keep_delays()

    async def _open(self) -> None:
        """Connect; where another transport is chosen meanwhile, go on with that one."""
        while True:
            transport = self.transport
            try:
                await transport.open(self._clock)
                await self.look_at_store()
                if self._relayed is not None:
                    await self._begin_relay(self._relayed)
                for consumer in list(self._declared.values()):
                    await transport.declare(consumer)
                self._prepare()  # a durable handler may have come meanwhile
                if transport is self.transport:
                    carried, self._carried = self._carried, []
                    if carried:  # first: what is published from now on comes after it
                        await self._send_on(carried)
                    return
            except BaseException:
                await transport.aclose()
                raise
            await transport.aclose()

    async def look_at_store(self) -> None:
        """Find out whether the transport's stream is the outbox of the store, which is open now; it was not, perhaps,
        when the bus was started.

        Raises:
            BackendUnavailable: when one of them does not answer.
        """
        self._carries_outbox = self.store is not None and await self.transport.carries(self.store)

    async def relay_from(self, outbox: RelayedOutbox) -> None:
        """Move on what is committed from now on, where the transport's stream is somewhere else than its outbox.

        Args:
            outbox: where it is committed; open.

        Raises:
            BackendUnavailable: when the store does not answer.
        """
        self._relayed = outbox
        if self._running:
            await self._begin_relay(outbox)

    async def _begin_relay(self, outbox: RelayedOutbox) -> None:
        if self.transport.lasting and not self._carries_outbox and outbox.keeps_events:
            await outbox.begin_relay()
            self._relay = Relay(outbox, self.transport, self._clock, self._wake_consumers)
            self._relaying = self._tasks.spawn(self._relay.run(), "relay")

    async def aclose(self) -> None:
        """Finish what was begun, and disconnect. Doing it twice is harmless.

        Events in memory that were not handled in ``close_timeout`` seconds are gone; durable consumers give
        their partitions back.

        Raises:
            RuntimeError: in a handler, which would wait for itself.
        """
        self.refuse_from_handler("aclose()")
        if self._carried and not self._closed:
            with suppress(BackendUnavailable):
                await self.start()  # to handle what was published before it got this transport
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
                    consumer.stop_reading()  # all, before one of them is waited for
                for consumer in self._consumers.values():
                    await consumer.drain()
                if self._relay is not None:
                    with suppress(BackendUnavailable, OutboxFull):  # what waits is moved on by who opens it next
                        await self._relay.move_all()
        finally:
            unhandled = sum(lines.pending for lines in (self._lines, *(lines for lines, _ in self._former)))
            if unhandled:
                _log.warning("%d events had not been handled when the bus was closed", unhandled)
            for tasks in (self._tasks, *(tasks for _, tasks in self._former)):
                await tasks.aclose()
            self._former.clear()
            for consumer in self._consumers.values():
                await consumer.aclose()
            for stream in self._streams:
                stream.close()
            left, self._left = self._left, []
            for transport in (self.transport, *left):
                await transport.aclose()

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
            BackendUnavailable: when events cannot be moved on from their outbox to the transport; they stay there.
        """
        self.refuse_from_handler("settle()")
        await self.start()
        before: tuple[int, ...] | None = None
        while before != (before := self._so_far()) or self._lines.pending or self._is_sending:
            for lines in (self._lines, *(lines for lines, _ in self._former)):
                await lines.settle()
            await asyncio.sleep(0)
            if self._relay is not None:
                await self._relay.move_all()
            for consumer in list(self._consumers.values()):
                await consumer.settle()

    def _so_far(self) -> tuple[int, ...]:
        """Return counts that stand still while nothing happens."""
        return (self._published, len(self._outgoing), *(consumer.handled for consumer in self._consumers.values()))

    # --- handlers -------------------------------------------------------------------------

    def _handler_added(self, handler: Handler) -> None:
        if handler.durable and self._running:
            self._take_offer()
        if handler.durable and self._running:
            self._consume(handler.durable)
        self.on_handlers_changed()

    def wants(self, event_type: str) -> bool:
        """Whether any handler, stream or middleware would notice an event of this type."""
        return (
            bool(self.event_layers)
            or any(self._table.matching(consumer, event_type) for consumer in self._table.consumers())
            or any(stream.wants_type(event_type) for stream in self._streams)
        )

    # --- from the stream to handlers ------------------------------------------------------

    def _accept_all(self, envelopes: Iterable[Envelope]) -> None:
        for envelope in envelopes:
            self._accept(envelope)

    def _accept(self, envelope: Envelope) -> None:
        for stream in self._streams:
            stream.offer(envelope)
        self._wake_consumers()
        if self._local[envelope.type] or self.event_layers:
            self._lines.accept(envelope)

    def _handle(self, item: Envelope | Again) -> Awaitable[None]:
        if isinstance(item, Again):
            return self._run_again(item)
        if self.event_layers:
            return self._deliverer.wrap(item, partial(self._deliver, item))
        handlers = self._local[item.type]
        if len(handlers) == 1:
            return self._deliverer.deliver(handlers[0], item, 0, self._lines.task)
        return self._deliverer.deliver_all(handlers, item)

    async def _run_again(self, again: Again) -> None:
        await self._deliverer.deliver(again.handler, again.envelope, again.job.attempts)
        await self.failing.concluded(again.job)

    def _deliver(self, envelope: Envelope) -> Awaitable[None]:
        return self._deliverer.deliver_all(self._local[envelope.type], envelope)

    def _keep_delays(self) -> None:
        if self._keeping is None:
            self._keeping = self._tasks.spawn(self._delays.run(), "delayed events")
        self._delays.note()

    async def _look_around(self) -> None:
        if self.transport.lasting:
            await self.failing.take_up()
            await self.failing.hold()

    # --- streams, and what is going on ------------------------------------------------------

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
            lapsed=await self.transport.lapsed(),
        )
