"""Durable consumers: every event at least once, in order for each subject, by many processes that share a name.

Each partition has one owner at a time, by a lease that a heartbeat renews. What is done is acknowledged
in order: as far as there is no gap. An owner whose lease was taken over cannot acknowledge any more.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from milepost._alarm import Alarm
from milepost._clock import Clock
from milepost._tasks import Tasks
from milepost.bus.delivering import Deliverer
from milepost.bus.envelope import Envelope
from milepost.bus.handlers import Handler
from milepost.bus.ids import derived_id
from milepost.bus.lines import Lines
from milepost.bus.transports.base import Batch, Claim, Consumer, FailedJob, Position, Transport
from milepost.errors import InvalidDefinition, MilepostError

if TYPE_CHECKING:
    from milepost.bus.bus import EventBus

__all__ = ["DurableConsumer", "Pace"]

_log = logging.getLogger("milepost")

EVENT_LAPSED: Final = "consumer.lapsed"

_PAUSE_AFTER_TROUBLE: Final = 1.0
_BEATS_PER_LEASE: Final = 5
_POLLS_WHERE_TOLD: Final = 10
"""How many times as long it takes until a consumer looks that is told when there is something."""
_FINISHED_BEYOND: Final = 10
"""How many times as many events as may be unfinished may be finished behind one that is not."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How durable consumers share their work.

    Args:
        lease: within how many seconds the work of a process that died is taken over.
        poll: how often to look for what other processes published, in seconds; a tenth as often where the transport
            tells of it.
        in_flight: how many events a consumer may have read in one process and not finished.

    Raises:
        InvalidDefinition: when a number is out of its range.
    """

    lease: float = 10.0
    poll: float = 0.1
    in_flight: int = 1000

    def __post_init__(self) -> None:
        for name in ("lease", "poll"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise InvalidDefinition(f"{name} must be a number of seconds greater than 0, got {value!r}")
        if isinstance(self.in_flight, bool) or not isinstance(self.in_flight, int) or self.in_flight < 1:
            raise InvalidDefinition(f"in_flight must be a whole number of at least 1, got {self.in_flight!r}")

    @property
    def beat(self) -> float:
        """Seconds between heartbeats."""
        return self.lease / _BEATS_PER_LEASE

    @property
    def held_for(self) -> float:
        """For how many seconds a heartbeat holds: the next one to come round is in time to take over."""
        return self.lease - 2 * self.beat


class _Flight:
    """An event that was read and not finished."""

    __slots__ = ("again", "done", "envelope", "handler", "partition", "position", "subject")

    def __init__(
        self,
        envelope: Envelope,
        partition: _Partition | None,
        position: Position,
        handler: Handler | None = None,
        again: FailedJob | None = None,
    ) -> None:
        self.envelope = envelope
        self.subject = envelope.subject
        self.partition = partition
        self.position = position
        self.handler = handler
        self.again = again
        self.done = False


class _Partition:
    """A partition that is owned here."""

    __slots__ = ("acknowledged", "done_to", "flights", "giving_up", "number", "read_to", "token", "unfinished")

    def __init__(self, claim: Claim) -> None:
        self.number = claim.partition
        self.token = claim.token
        self.read_to = self.done_to = self.acknowledged = claim.position
        self.flights: deque[_Flight] = deque()
        """What was read and cannot be acknowledged yet: it is not finished, or something before it is not."""
        self.unfinished = 0
        self.giving_up = False

    def advance(self) -> bool:
        """Note what is done without a gap; return whether that is more than before."""
        flights, before = self.flights, self.done_to
        while flights and flights[0].done:
            self.done_to = flights.popleft().position
        if not flights:
            self.done_to = self.read_to
        return self.done_to != before


class DurableConsumer:
    """This process's part in the work of a durable consumer.

    Args:
        bus: whose handlers do the work.
        settings: the consumer as it is declared.
        transport: where events come from.
        clock: what polling and heartbeats go by.
        workers: how many handlers may be running at a time.
        pace: how work is shared.
    """

    def __init__(
        self, bus: EventBus, settings: Consumer, transport: Transport, clock: Clock, workers: int, pace: Pace
    ) -> None:
        self.name = settings.name
        self._bus = bus
        self.settings = settings
        """May be changed before and after it was declared."""
        self._transport = transport
        self._clock = clock
        self._pace = pace
        self._owner = uuid.uuid4().hex
        self._tasks = Tasks()
        self._lines: Lines[_Flight] = Lines(self._handle, self._tasks, workers, self._ended)
        self.deliverer = Deliverer(bus, self._lines, clock, self.name)
        self._partitions: dict[int, _Partition] = {}
        self._poll = pace.poll if transport.lasting else None
        self._share_most = max(1, pace.in_flight // 4)
        """Of one partition, so that a subject that is stuck leaves room for others."""
        self._flights_most = _FINISHED_BEYOND * pace.in_flight
        self._news = Alarm(clock)
        self._progress = Alarm(clock)
        self._begun: asyncio.Future[None] | None = None
        self._stopping = False
        self._lapsed = 0
        self.handled = 0
        """Events that came to their end here."""

    # --- life -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin to work."""
        if self._transport.listen(self.wake):
            self._poll = _POLLS_WHERE_TOLD * self._pace.poll
        self._begun = asyncio.get_running_loop().create_future()
        _ = self._tasks.spawn(self._keep_leases(), f"leases of {self.name}")
        _ = self._tasks.spawn(self._keep_reading(), f"reading for {self.name}")
        _ = self._tasks.spawn(self._keep_acknowledging(), f"acknowledging for {self.name}")

    def stop_reading(self) -> None:
        """Read no more."""
        self._stopping = True

    async def drain(self) -> None:
        """Finish what was read."""
        await self._lines.settle()

    async def aclose(self) -> None:
        """Acknowledge what is done, and give everything back."""
        self._stopping = True
        self._transport.unlisten(self.wake)
        await self._tasks.aclose()
        try:
            await self._acknowledge(list(self._partitions.values()))
            held = {partition.number: partition.token for partition in self._partitions.values()}
            self._partitions.clear()
            await self._transport.release_partitions(self.name, held)
            await self._transport.leave(self.name, self._owner)
        except (MilepostError, LookupError) as error:
            _log.warning("the partitions of %r are given back when their leases run out: %s", self.name, error)

    async def settle(self) -> None:
        """Return when everything in the partitions that are owned here has been handled and acknowledged."""
        if self._begun is not None:
            await asyncio.shield(self._begun)
        while True:
            await self._lines.settle()
            positions = {one.number: one.read_to for one in self._partitions.values() if not one.giving_up}
            batch = await self._transport.read(positions, 1)
            if not batch.entries and not self._lines.pending:
                break
            self._news.ring()
            await asyncio.sleep(0)
        await self._acknowledge(list(self._partitions.values()))

    def wake(self) -> None:
        """Look for new events."""
        self._news.ring()

    @property
    def pending(self) -> int:
        """How many events were read and not finished."""
        return self._lines.pending

    # --- leases ---------------------------------------------------------------------------

    async def _keep_leases(self) -> None:
        declared = False
        while True:
            try:
                if not declared:
                    await self._transport.declare(self.settings)
                    declared = True
                await self._beat()
                await self._announce_lapse()
            except MilepostError as error:
                _log.warning("the leases of %r could not be renewed: %s", self.name, error)
            else:
                if self._begun is not None and not self._begun.done():
                    self._begun.set_result(None)
            await self._clock.sleep(self._pace.beat if declared else _PAUSE_AFTER_TROUBLE)

    async def _beat(self) -> None:
        """Renew leases, and have a fair share of the partitions."""
        held = {partition.number: partition.token for partition in self._partitions.values()}
        members, lost = await self._transport.beat(self.name, self._owner, self._pace.held_for, held)
        for number in lost:
            self._lose(number)
        fair = -(-self._transport.partitions // max(1, members))
        keeping = [partition for partition in self._partitions.values() if not partition.giving_up]
        for partition in keeping[fair:]:
            partition.giving_up = True
        await self._acknowledge(list(self._partitions.values()))
        await self._give_back()
        most = fair - len(self._partitions)
        if most > 0 and not self._stopping:
            for claim in await self._transport.claim(self.name, self._owner, self._pace.held_for, most):
                self._partitions[claim.partition] = _Partition(claim)
            self._news.ring()

    async def _announce_lapse(self) -> None:
        """Say so, once among all processes, where the consumer was too far behind and lost events."""
        lapsed = (await self._transport.lapsed()).get(self.name, 0)
        if lapsed > self._lapsed:
            lost, self._lapsed = lapsed - self._lapsed, lapsed
            _log.warning("the durable consumer %r was too far behind and has lost %d events", self.name, lost)
            payload = {"consumer": self.name, "lost": lost, "lost_in_all": lapsed}
            envelope = self._bus.envelope(EVENT_LAPSED, None, payload, {})
            envelope.id = derived_id(self.name, "", str(lapsed), EVENT_LAPSED)
            await self._bus.send([(envelope, None)], inside=True)

    async def _give_back(self) -> None:
        """Give up those partitions that others should have and of which all is done and acknowledged."""
        free = [
            one
            for one in self._partitions.values()
            if one.giving_up and not one.flights and one.done_to == one.acknowledged
        ]
        if free:
            for partition in free:
                self._partitions.pop(partition.number, None)
            await self._transport.release_partitions(self.name, {one.number: one.token for one in free})

    def _lose(self, number: int) -> None:
        """Do no more for a partition that another process has taken over."""
        partition = self._partitions.pop(number, None)
        if partition is not None:
            _log.warning("partition %d of %r was taken over by another process", number, self.name)
            self._lines.drop(lambda flight: flight.partition is partition)

    # --- reading --------------------------------------------------------------------------

    async def _keep_reading(self) -> None:
        while True:
            try:
                found = await self._read_once()
            except MilepostError as error:
                _log.warning("the consumer %r cannot read and waits: %s", self.name, error)
                await self._clock.sleep(_PAUSE_AFTER_TROUBLE)
                continue
            if not found:
                await self._news.sleep(self._poll)

    async def _read_once(self) -> bool:
        """Read what there is room for; return whether there was anything."""
        room = self._pace.in_flight - self._lines.pending
        wanted = {
            one.number: one
            for one in self._partitions.values()
            if not one.giving_up and one.unfinished < self._share_most and len(one.flights) < self._flights_most
        }
        if room <= 0 or not wanted or self._stopping:
            return False
        batch = await self._transport.read({number: one.read_to for number, one in wanted.items()}, room)
        if self._stopping:
            return False  # a handler that began now would be cancelled halfway
        self._take(batch, wanted)
        return bool(batch.entries)

    def _take(self, batch: Batch, wanted: dict[int, _Partition]) -> None:
        for number, position, envelope in batch.entries:
            partition = wanted[number]
            if self._partitions.get(number) is not partition:
                continue  # it was taken over while we read
            flight = _Flight(envelope, partition, position)
            partition.flights.append(flight)
            partition.read_to = position
            if self._bus.matching(self.name, envelope.type):
                partition.unfinished += 1
                self._lines.accept(flight)
            else:
                flight.done = True
        for number, position in batch.reached.items():
            wanted[number].read_to = position
            wanted[number].advance()

    # --- working --------------------------------------------------------------------------

    async def _handle(self, flight: _Flight) -> None:
        if flight.handler is not None and flight.again is not None:
            await self.deliverer.deliver(flight.handler, flight.envelope, flight.again.attempts)
            await self._bus.failing.concluded(flight.again)
            return
        handlers = self._bus.matching(self.name, flight.envelope.type)
        if len(handlers) == 1:
            await self.deliverer.deliver(handlers[0], flight.envelope)
        elif handlers:
            await self.deliverer.deliver_all(handlers, flight.envelope)

    def _ended(self, flight: _Flight) -> None:
        self.handled += 1
        flight.done = True
        partition = flight.partition
        if partition is not None:
            partition.unfinished -= 1
            if partition.advance():
                self._progress.ring()
            if partition.unfinished == self._share_most // 2:
                self._news.ring()
        if not self._lines.pending or self._lines.pending == self._pace.in_flight // 2:
            self._news.ring()

    def run_again(self, job: FailedJob, handler: Handler) -> None:
        """Put a failed job in line."""
        self._lines.accept(_Flight(job.envelope, None, "", handler, job))

    def drop(self, id: str) -> int:
        """Take an event's work out that has not begun; return how much it was."""
        return len(self._lines.drop(lambda flight: flight.envelope.id == id))

    # --- acknowledging --------------------------------------------------------------------

    async def _keep_acknowledging(self) -> None:
        while True:
            await self._progress.sleep(None)
            try:
                await self._acknowledge([one for one in self._partitions.values() if one.done_to != one.acknowledged])
            except MilepostError as error:
                _log.warning("what %r has done could not be acknowledged yet: %s", self.name, error)
                await self._clock.sleep(_PAUSE_AFTER_TROUBLE)
                self._progress.ring()

    async def _acknowledge(self, partitions: list[_Partition]) -> None:
        done = {one.number: (one.token, one.done_to) for one in partitions if one.done_to != one.acknowledged}
        if not done:
            return
        refused = await self._transport.acknowledge(self.name, done)
        for one in partitions:
            if one.number in refused:
                if self._partitions.get(one.number) is one:
                    self._lose(one.number)
            elif one.number in done:
                one.acknowledged = done[one.number][1]
