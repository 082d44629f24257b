"""Events of the bus as an async iterator: those to come, or those since a cursor too."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from milepost._alarm import Alarm
from milepost._clock import Clock
from milepost._patterns import pattern_to_regex
from milepost.bus.envelope import Envelope
from milepost.bus.handlers import check_patterns
from milepost.bus.transports.base import BEGINNING, Entry, Position
from milepost.codec import dumps, loads
from milepost.errors import InvalidDefinition
from milepost.events.types import Event
from milepost.queues import BoundedQueue, Overflow

if TYPE_CHECKING:
    from milepost.bus.bus import EventBus

__all__ = ["EventStream", "cursor_of"]

_POLLS_WHERE_TOLD: Final = 10
"""How many times as long it takes until a stream looks that is told when there is something."""


def cursor_of(positions: dict[int, Position]) -> Position:
    """Return positions in all partitions as one text."""
    return dumps({str(partition): position for partition, position in positions.items()})


class EventStream:
    """Events from the moment it is entered, or from a cursor, until it is left.

    ::

        async with bus.subscribe("order.*", after=cursor) as events:
            async for event in events:
                ...
                cursor = events.cursor

    ``delivered`` and ``dropped`` count events. With ``after`` nothing is dropped: events are read from the
    transport as they are taken.
    """

    def __init__(
        self,
        bus: EventBus,
        patterns: tuple[str, ...],
        subject: str,
        size: int,
        overflow: Overflow | str,
        after: Position | None,
        clock: Clock,
        poll: float,
    ) -> None:
        self._bus = bus
        self._types = [pattern_to_regex(pattern) for pattern in check_patterns(patterns)]
        self._subject = None if subject == "*" else pattern_to_regex(subject)
        self._queue: BoundedQueue[Envelope] = BoundedQueue(size, overflow)
        self._full: asyncio.Future[None] | None = None
        self._entered = False
        self._positions = None if after is None else _positions(after, bus.transport.partitions)
        self._begins_first = after == BEGINNING
        self._taken = dict(self._positions or {})
        self._read: deque[Entry] = deque()
        self._delivered = 0
        self._alarm = Alarm(clock)
        self._poll = poll if bus.transport.lasting else None

    # --- being told -----------------------------------------------------------------------

    def wants_type(self, event_type: str) -> bool:
        """Whether events of a type are wanted, of some subject."""
        return any(pattern.fullmatch(event_type) for pattern in self._types)

    def _wants(self, envelope: Envelope) -> bool:
        return self.wants_type(envelope.type) and (
            self._subject is None or self._subject.fullmatch(envelope.subject or "") is not None
        )

    def offer(self, envelope: Envelope) -> None:
        """Take an event that was published."""
        if self._positions is not None:
            self._alarm.ring()
        elif self._wants(envelope):
            room = self._queue.put(envelope)
            if room is not None:
                self._full = room

    async def room(self) -> None:
        """Return when there is room; those that publish wait for it where ``overflow`` says so."""
        while self._full is not None and not self._full.done() and not self._queue.closed:
            await asyncio.shield(self._full)

    # --- reading --------------------------------------------------------------------------

    @property
    def cursor(self) -> Position:
        """Where to go on later: after the last event that was taken.

        Raises:
            LookupError: without ``after``; ``after=await bus.cursor()`` begins with the next event.
        """
        if self._positions is None:
            raise LookupError("a subscription has a cursor when it was begun with one: subscribe(after=...)")
        return cursor_of(self._taken)

    @property
    def delivered(self) -> int:
        """How many events were taken from it."""
        return self._queue.delivered + self._delivered

    @property
    def dropped(self) -> int:
        """How many events it had no room for."""
        return self._queue.dropped

    @property
    def waiting(self) -> int:
        """How many events are there to be taken."""
        return len(self._queue) + len(self._read)

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a subscription can be entered once; subscribe again")
        self._entered = True
        await self._bus.start()
        if self._begins_first:  # how many partitions there are may not have been known before
            self._positions = _positions(BEGINNING, self._bus.transport.partitions)
        if self._positions is not None and self._bus.transport.listen(self._alarm.ring) and self._poll is not None:
            self._poll *= _POLLS_WHERE_TOLD
        self._bus.add_stream(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bus.remove_stream(self)
        self._bus.transport.unlisten(self._alarm.ring)
        self.close()

    def close(self) -> None:
        """End after what it holds."""
        self._queue.close()
        self._alarm.ring()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await self.get()

    async def get(self) -> Event:
        """Return the next event.

        Raises:
            StopAsyncIteration: when the bus was closed and no event is left.
            QueueOverflow: with ``Overflow.ERROR``, when it ran full.
        """
        if not self._entered:
            raise RuntimeError("enter the subscription first: async with bus.subscribe(...) as events")
        if self._positions is None:
            return (await self._queue.get()).event()
        while not self._read:
            if self._queue.closed:
                raise StopAsyncIteration
            if not await self._read_on(self._positions):
                await self._alarm.sleep(self._poll)
        entry = self._read.popleft()
        self._taken[entry.partition] = entry.position
        if not self._read:
            self._taken = dict(self._positions)
        self._delivered += 1
        return entry.envelope.event()

    async def _read_on(self, positions: dict[int, Position]) -> bool:
        """Read the next events from the transport; return whether there were any, wanted or not."""
        batch = await self._bus.transport.read(positions, self._queue.size)
        positions.update(batch.reached)
        self._read.extend(entry for entry in batch.entries if self._wants(entry.envelope))
        if not self._read:
            self._taken = dict(positions)
        return bool(batch.entries)


def _positions(cursor: Any, partitions: int) -> dict[int, Position]:
    if cursor == BEGINNING:
        return dict.fromkeys(range(partitions), BEGINNING)
    try:
        return {int(partition): str(position) for partition, position in loads(cursor).items()}
    except (AttributeError, TypeError, ValueError):
        raise InvalidDefinition(f"after must be the cursor of a subscription, got {cursor!r}") from None
