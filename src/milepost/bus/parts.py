"""What the parts of a bus know of each other: each part is a class of its own, and the bus is all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from milepost._clock import Clock
from milepost._life import Life
from milepost._tasks import Tasks
from milepost.bus.consuming import DurableConsumer, Pace
from milepost.bus.delivering import Deliverer
from milepost.bus.envelope import Envelope
from milepost.bus.failing import Failing
from milepost.bus.handlers import Handler
from milepost.bus.lines import Lines
from milepost.bus.relaying import Relay
from milepost.bus.streams import EventStream
from milepost.bus.transports.base import Consumer, FailedJob, ImmediateTransport, Transport

__all__ = ["Again", "BusParts"]


class Again:
    """A failed job in line, to be run again by its one handler."""

    __slots__ = ("envelope", "handler", "job", "subject")

    def __init__(self, job: FailedJob, handler: Handler) -> None:
        self.envelope = job.envelope
        self.subject = job.envelope.subject
        self.handler = handler
        self.job = job


class BusParts(Life):
    """What every part of a bus may ask for."""

    transport: Transport
    failing: Failing
    max_depth: int
    store: object
    authority: object
    _immediate: ImmediateTransport | None
    _relay: Relay | None
    _carries_outbox: bool
    _clock: Clock
    _pace: Pace
    _capacity: int
    _tasks: Tasks
    _lines: Lines[Envelope | Again]
    _deliverer: Deliverer
    _consumers: dict[str, DurableConsumer]
    _streams: tuple[EventStream, ...]

    _workers: int
    _declared: dict[str, Consumer]
    _declares: bool
    """Whether any durable consumer is known."""

    @abstractmethod
    def _note_shape(self) -> None: ...

    @abstractmethod
    def _take_offer(self) -> None: ...

    @abstractmethod
    def _accept(self, envelope: Envelope) -> None: ...

    @abstractmethod
    def _accept_all(self, envelopes: Iterable[Envelope]) -> None: ...

    @abstractmethod
    def _keep_delays(self) -> None: ...
