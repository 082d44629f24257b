"""What a transport is: streams in partitions, positions and leases of consumers, delayed and failed events.

A transport knows nothing of handlers. It keeps one stream for each partition; positions in it are
opaque text, and ``""`` is before everything. SQLite keeps all partitions in one table, Redis each in a
stream of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, NamedTuple

from milepost._clock import Clock
from milepost.bus.envelope import Envelope
from milepost.errors import InvalidDefinition

__all__ = [
    "BEGINNING",
    "Batch",
    "Claim",
    "Consumer",
    "Entry",
    "FailedJob",
    "ImmediateTransport",
    "News",
    "Position",
    "Transport",
]

News = Literal["events", "work"]
"""What a transport can tell of."""

Position = str
"""Where something stands in a stream. Positions are compared by their transport alone."""

BEGINNING: Final = ""


class Entry(NamedTuple):
    """An event in a stream."""

    partition: int
    position: Position
    envelope: Envelope


class Batch(NamedTuple):
    """What was read, and how far each partition has been read with it."""

    entries: Sequence[Entry]
    reached: Mapping[int, Position]


class Claim(NamedTuple):
    """A partition that a process owns for a while."""

    partition: int
    token: int
    """Higher with each owner: an acknowledgement with an older one is refused."""
    position: Position
    """How far the consumer has come."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """A durable consumer as it is declared.

    Args:
        name: what processes that share its work call it.
        start: where it begins when it is declared for the first time: ``"kept"`` with the first event that is
            kept, ``"now"`` with the next one.
        max_lag: how many events are kept for it behind the newest; None for any number.
        on_lag: what happens beyond that: it ``"lapse"``s, loudly, or what is published is ``"refuse"``d.

    Raises:
        InvalidDefinition: when a setting is wrong.
    """

    name: str
    start: Literal["kept", "now"] = "kept"
    max_lag: int | None = 1_000_000
    on_lag: Literal["lapse", "refuse"] = "lapse"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidDefinition(f"a durable consumer needs a name, got {self.name!r}")
        if self.start not in ("kept", "now"):
            raise InvalidDefinition(f'start must be "kept" or "now", got {self.start!r}')
        if self.on_lag not in ("lapse", "refuse"):
            raise InvalidDefinition(f'on_lag must be "lapse" or "refuse", got {self.on_lag!r}')
        lag = self.max_lag
        if lag is not None and (isinstance(lag, bool) or not isinstance(lag, int) or lag < 1):
            raise InvalidDefinition(f"max_lag must be a whole number of at least 1, got {lag!r}")


@dataclass(slots=True)
class FailedJob:
    """A handler's work on an event that failed for good, as a transport keeps it."""

    id: str
    envelope: Envelope
    handler: str
    consumer: str
    attempts: int
    reason: str
    traceback: str
    failed_at: float
    retrying: bool = False
    error: BaseException | None = field(default=None, compare=False)
    """What was raised, in the process that saw it."""


class Transport(ABC):
    """Keeps what is published, for those who consume it.

    Every method raises ``BackendUnavailable`` when the backend does not answer, and then nothing
    was changed; ``CommitUncertain`` where that cannot be told. All may be sent again.
    """

    lasting: ClassVar[bool] = False
    """Whether events outlive the process, and other processes can consume them."""

    partitions: int = 16
    """How many partitions there are."""

    @abstractmethod
    async def open(self, clock: Clock) -> None:
        """Connect.

        Args:
            clock: what delays and leases go by where the backend has no clock of its own.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Disconnect."""

    async def carries(self, store: object) -> bool:
        """Whether the outbox of a store IS this stream, so that its events need not be sent here."""
        return False

    def listen(self, heard: Callable[[], None], what: News = "events") -> bool:
        """Have somebody told when it is worth looking, because another process may have done something.

        Args:
            heard: called then; it may be missed now and then.
            what: whether that is about events in the stream, or about work: delayed events, and jobs to run again.

        Returns:
            Whether that will be done. Otherwise whoever waits has to look from time to time.
        """
        return False

    def unlisten(self, heard: Callable[[], None]) -> None:
        """Tell somebody no more."""
        return

    # --- the stream -----------------------------------------------------------------------

    @abstractmethod
    async def append(self, envelopes: Sequence[Envelope]) -> list[bool]:
        """Append events in order, all or none.

        Returns:
            For each whether it is new; one whose id is in the stream already is not appended.

        Raises:
            OutboxFull: when a consumer that refuses to lapse is too far behind; nothing was appended.
        """

    @abstractmethod
    async def read(self, positions: Mapping[int, Position], limit: int) -> Batch:
        """Read what follows positions, in order for each partition.

        Args:
            positions: where each partition is to be read from.
            limit: about how many events to read.
        """

    @abstractmethod
    async def end(self) -> dict[int, Position]:
        """Return where each partition ends."""

    @abstractmethod
    def history(
        self,
        pattern: str = "*",
        subject: str = "*",
        since: float | None = None,
        until: float | None = None,
    ) -> AsyncIterator[Envelope]:
        """Iterate over the events that are kept, the oldest first.

        Args:
            pattern: of their types.
            subject: of their subjects.
            since: not before, epoch seconds.
            until: before, epoch seconds.
        """

    @abstractmethod
    async def find(self, id: str) -> Envelope | None:
        """Return an event that is kept."""

    @abstractmethod
    async def chain(self, root: str) -> list[Envelope]:
        """Return the events that are kept of one chain: the first, and all whose root it is."""

    # --- delayed events -------------------------------------------------------------------

    @abstractmethod
    async def delay(self, envelope: Envelope, due: float) -> None:
        """Keep an event until it is due, epoch seconds; one of the same id is replaced."""

    @abstractmethod
    async def cancel(self, id: str) -> bool:
        """Forget a delayed event; return whether it was there."""

    @abstractmethod
    async def release(self, now: float, limit: int = 100) -> list[Envelope]:
        """Move delayed events that are due into the stream; return those that were moved."""

    @abstractmethod
    async def next_due(self) -> float | None:
        """Return when the next delayed event is due."""

    @abstractmethod
    async def delayed(self, limit: int = 1000) -> list[tuple[float, Envelope]]:
        """Return delayed events with the moments they are due, the earliest first."""

    # --- consumers ------------------------------------------------------------------------

    @abstractmethod
    async def declare(self, consumer: Consumer) -> None:
        """Make a consumer known; one that is known keeps its positions and gets these settings."""

    @abstractmethod
    async def forget(self, consumer: str) -> bool:
        """Let a consumer go, so that nothing is kept for it; return whether it was known."""

    @abstractmethod
    async def beat(self, consumer: str, owner: str, ttl: float, held: Mapping[int, int]) -> tuple[int, set[int]]:
        """Say that a process works for a consumer, and renew its leases.

        Args:
            consumer: the consumer's name.
            owner: the process.
            ttl: for how many seconds that holds.
            held: the tokens of the partitions it owns.

        Returns:
            How many processes work for the consumer, and which partitions are no longer this one's.
        """

    @abstractmethod
    async def claim(self, consumer: str, owner: str, ttl: float, most: int) -> list[Claim]:
        """Take partitions that nobody owns, or whose owner has not been heard of in time.

        Args:
            consumer: the consumer's name.
            owner: the process.
            ttl: for how many seconds they are owned.
            most: how many to take.
        """

    @abstractmethod
    async def acknowledge(self, consumer: str, done: Mapping[int, tuple[int, Position]]) -> set[int]:
        """Note how far a consumer has come.

        Args:
            consumer: the consumer's name.
            done: for each partition the token and the position.

        Returns:
            The partitions for which that was refused, because they have another owner now.
        """

    @abstractmethod
    async def release_partitions(self, consumer: str, held: Mapping[int, int]) -> None:
        """Give partitions up, tokens by partition; those that have another owner are left alone."""

    @abstractmethod
    async def leave(self, consumer: str, owner: str) -> None:
        """Say that a process works for a consumer no more."""

    @abstractmethod
    async def lags(self) -> dict[str, int]:
        """Return for each consumer about how many events it has not acknowledged."""

    @abstractmethod
    async def lapsed(self) -> dict[str, int]:
        """Return for each consumer up to how many events it has lost by being too far behind."""

    # --- failed deliveries ----------------------------------------------------------------

    @abstractmethod
    async def put_failed(self, job: FailedJob) -> None:
        """Keep a job that failed; one of the same id is replaced."""

    @abstractmethod
    async def failed(self, id: str | None = None) -> list[FailedJob]:
        """Return failed jobs, or the one of an id, the oldest first."""

    @abstractmethod
    async def ask_retry(self, ids: Sequence[str]) -> int:
        """Mark failed jobs to be run again; return how many there were."""

    @abstractmethod
    async def take_retries(self, handlers: Sequence[str], ttl: float) -> list[FailedJob]:
        """Take jobs that were marked, for these handlers; one that is not concluded in time can be taken again."""

    @abstractmethod
    async def keep_retries(self, ids: Sequence[str], ttl: float) -> None:
        """Go on holding jobs that were taken."""

    @abstractmethod
    async def remove_failed(self, ids: Sequence[str]) -> int:
        """Remove failed jobs; return how many there were."""

    @abstractmethod
    async def flush(self) -> None:
        """Forget every event, delayed and failed ones too; consumers stay known."""


class ImmediateTransport(Transport):
    """A transport in this process's memory: it appends without waiting."""

    @abstractmethod
    def append_new(self, envelope: Envelope) -> None:
        """Append an event whose id nobody else can have."""

    @abstractmethod
    def append_now(self, envelope: Envelope) -> bool:
        """Append an event; return whether it is new."""

    @abstractmethod
    def take_delayed(self) -> list[tuple[Envelope, float]]:
        """Return all delayed events with the moments they are due, and keep them no longer."""
