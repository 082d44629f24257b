"""What crosses the line to caches and stores: records, commits and their outcomes.

An adapter knows nothing of trackers. It keeps *records*: a key, a revision and named rows.
A :class:`Commit` names the revision it was computed from and is applied whole or not at
all. A revision is (incarnation, counter): a record that is removed and made again has a
higher incarnation, so it never goes back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from milepost._clock import Clock
from milepost.errors import BackendUnavailable, OutboxFull

__all__ = [
    "Authority",
    "CacheMark",
    "Commit",
    "Committed",
    "Conflict",
    "Duplicate",
    "ImmediateAuthority",
    "LoadedRecord",
    "Loss",
    "NeedDefinitions",
    "NotHeld",
    "OutboxEvent",
    "Outcome",
    "PostingAuthority",
    "Record",
    "RecordChange",
    "RecordState",
    "Revision",
    "Row",
    "Settled",
    "StaleEpoch",
    "Standing",
    "TooLarge",
    "Undecided",
]


class Revision(NamedTuple):
    """Where a record stands. Revisions of one key only ever grow."""

    incarnation: int
    counter: int


class Row(Protocol):
    """What an adapter may ask of a row."""

    @property
    def name(self) -> str:
        """Its name in the record."""
        ...

    @property
    def definition_hash(self) -> str:
        """The hash of the definition that the row needs."""
        ...

    def encoded(self) -> str:
        """Return the row as ASCII text."""
        ...


class OutboxEvent(Protocol):
    """What an adapter may ask of an event."""

    @property
    def id(self) -> str:
        """Stable: the same event has the same id when it is made again."""
        ...

    @property
    def type(self) -> str:
        """Such as ``tracker.limited``."""
        ...

    @property
    def time(self) -> datetime:
        """When it happened, UTC."""
        ...

    @property
    def subject(self) -> str | None:
        """What it happened to: events of one subject keep their order."""
        ...

    @property
    def root(self) -> str | None:
        """The id of the event that began the chain; None for one that nothing caused."""
        ...

    def encoded(self) -> str:
        """Return the event as JSON text."""
        ...


class Record:
    """A record in memory: a replica of what an authority holds, or the authority's own.

    ``counter`` is 0 where there is nothing stored yet. ``seen`` is None until an event id
    was remembered. ``plan`` belongs to whoever computes with the record.
    """

    __slots__ = (
        "broken",
        "counter",
        "deadline",
        "incarnation",
        "key",
        "plan",
        "quick",
        "rows",
        "seen",
        "serial",
    )

    def __init__(self, key: str, incarnation: int) -> None:
        self.key = key
        self.incarnation = incarnation
        self.counter = 0
        self.serial = 0
        self.deadline: float | None = None
        self.rows: dict[str, Any] = {}
        self.seen: dict[bytes, None] | None = None
        self.broken: dict[str, Exception] | None = None
        self.plan: Any = None
        self.quick: Any = None
        """The plan again, while a datum that only moves rows may be applied without ceremony."""

    @property
    def revision(self) -> Revision | None:
        """The revision, None where there is nothing stored."""
        return Revision(self.incarnation, self.counter) if self.counter else None

    def apply(self, commit: Commit, window: int) -> None:
        """Become what the commit made of the record.

        Args:
            commit: the commit, which the authority has accepted.
            window: how many event ids are remembered.
        """
        if commit.removes:
            self.rows = {}
            self.seen = None
            self.broken = None
            self.counter = 0
            self.serial = 0
        else:
            self.counter = self.counter + 1 if commit.incarnation == self.incarnation else 1
            self.rows.update(commit.puts)
            if self.broken:
                for name in commit.puts:
                    self.broken.pop(name, None)
            for name in commit.drops:
                self.rows.pop(name, None)
                if self.broken:
                    self.broken.pop(name, None)
            self.serial = commit.serial
            if commit.seen:
                self._remember(commit.seen, window)
        self.incarnation = commit.incarnation
        self.deadline = commit.deadline
        self.quick = None
        if commit.reshapes:
            self.plan = None

    def _remember(self, ids: Iterable[bytes], window: int) -> None:
        seen = self.seen
        if seen is None:
            seen = self.seen = {}
        seen.update(dict.fromkeys(ids))
        while len(seen) > window:
            del seen[next(iter(seen))]


@dataclass(slots=True)
class Commit:
    """One atomic change of one record.

    Args:
        key: the record's key.
        epoch: the epoch that it was computed in.
        base: the revision it was computed from; None where the record must not exist.
        incarnation: the incarnation that the record has afterwards.
        puts: rows to write, by name.
        drops: names of rows to drop.
        events: what to append to the outbox.
        seen: event ids to remember, 128-bit hashes.
        definitions: hashes of definitions that new rows need.
        serial: the highest serial number given to a row.
        deadline: the earliest moment at which a row expires, epoch seconds.
        removes: the record holds nothing afterwards and goes away.
        reshapes: which trackers the record holds changes.
        id: random, remembered by the authority for a while; empty where no reply can be lost.
    """

    key: str
    epoch: int
    base: Revision | None
    incarnation: int
    puts: Mapping[str, Any] = field(default_factory=dict)
    drops: Sequence[str] = ()
    events: Sequence[OutboxEvent] = ()
    seen: Sequence[bytes] = ()
    definitions: Sequence[str] = ()
    serial: int = 0
    deadline: float | None = None
    removes: bool = False
    reshapes: bool = False
    id: bytes = b""

    @property
    def changes_nothing(self) -> bool:
        """Whether it only asks if the base revision still stands."""
        return not (self.puts or self.drops or self.events or self.seen or self.removes)


@dataclass(slots=True)
class RecordChange:
    """What happened to a record since the store last saw it, for a store that follows a cache.

    Args:
        key: the record's key.
        revision: where the record stands; an older one than the store has is ignored.
        serial: the highest serial number given to a row.
        deadline: the earliest moment at which a row expires.
        puts: rows that are new or changed.
        drops: names of rows that are gone.
        whole: ``puts`` is everything there is; what else the store has of the record goes.
        removed: the record holds nothing any more.
        seen: all event ids that the record remembers.
        events: what was appended to the outbox.
        definitions: the definitions that the rows need, text by hash.
    """

    key: str
    revision: Revision
    serial: int
    deadline: float | None
    puts: Mapping[str, Any]
    drops: Sequence[str]
    whole: bool
    removed: bool
    seen: Sequence[bytes]
    events: Sequence[OutboxEvent]
    definitions: Mapping[str, str]


class RecordState(NamedTuple):
    """A record's numbers, apart from its rows."""

    revision: Revision | None
    serial: int = 0
    deadline: float | None = None


class Standing(NamedTuple):
    """Where a store has a record; ``removed`` where it knows that the record was removed there."""

    revision: Revision
    removed: bool


class CacheMark(NamedTuple):
    """What a store remembers of the cache that it follows: its latest epoch, and how many flushes there were."""

    epoch: int
    generation: int


class Loss(NamedTuple):
    """That a cache was restarted, replaced or emptied, and may have lost data.

    Args:
        epoch_before: the epoch that ended.
        epoch: the epoch that began.
        partitions: which partitions it concerns.
        empty: whether a cache in which there had been something was found empty.
    """

    epoch_before: int
    epoch: int
    partitions: tuple[int, ...]
    empty: bool


class Settled(NamedTuple):
    """What comparing a cache with its store has come to, in this process.

    Args:
        restored: how many records were older than the store's and were brought back from there.
        removed: how many had been removed since.
        done: whether every record is known to be as new as the store's.
    """

    restored: int
    removed: int
    done: bool


class LoadedRecord(NamedTuple):
    """A record, or what changed in it, as an adapter read it.

    ``rows`` are rows of the engine's own (memory) or text that :meth:`Row.encoded` made.
    ``whole`` says whether rows that are not here are not there; otherwise ``drops`` names
    those that are gone.
    """

    state: RecordState
    rows: Mapping[str, Any]
    seen: Sequence[bytes] = ()
    whole: bool = True
    drops: Sequence[str] = ()


class Committed(NamedTuple):
    """The commit is applied, now or when it was sent the first time."""


class Conflict(NamedTuple):
    """The base revision no longer stands; here is what changed since (everything, where it is missing)."""

    now: LoadedRecord


class Duplicate(NamedTuple):
    """Some of the event ids are remembered already; nothing was applied."""

    ids: frozenset[bytes]


class NeedDefinitions(NamedTuple):
    """These definitions must be put first; nothing was applied."""

    hashes: frozenset[str]


class StaleEpoch(NamedTuple):
    """Everything was flushed, or data were lost; forget all replicas and begin again."""

    epoch: int


class TooLarge(NamedTuple):
    """The record would outgrow what the authority can keep; nothing was applied."""

    reason: str


class NotHeld(NamedTuple):
    """The record has to be read from the store first; nothing was applied."""


class Undecided(NamedTuple):
    """For this record the backend did not answer, while it did for others; ``error`` says what that means.

    ``CommitUncertain``: it may have been applied. Otherwise nothing was changed, and with ``OutboxFull`` will not be.
    """

    error: BackendUnavailable | OutboxFull


Outcome = Committed | Conflict | Duplicate | NeedDefinitions | StaleEpoch | TooLarge | NotHeld | Undecided


class Authority(ABC):
    """What decides commits: the cache, or with ``write="through"`` the store.

    All of its methods raise ``CacheUnavailable`` or ``StoreUnavailable`` when the backend
    does not answer, and then nothing was changed; ``CommitUncertain`` when that cannot be told.
    """

    rounds: int = 1
    """How many batches of commits it can usefully work on at a time."""

    @abstractmethod
    async def open(self, clock: Clock, window: int) -> None:
        """Connect.

        Args:
            clock: what deadlines go by where the backend has no clock of its own.
            window: how many event ids a record remembers.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Disconnect; what was opened by URL or path is closed, what was handed in is not."""

    @abstractmethod
    async def load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        """Read records; those that do not exist are absent from the result.

        Args:
            keys: the records' keys, each once.
        """

    @abstractmethod
    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Apply commits, each whole or not at all; outcomes in order.

        Args:
            commits: at most one for each key.
        """

    @abstractmethod
    async def definitions(self, hashes: Iterable[str]) -> dict[str, str]:
        """Read definitions; unknown hashes are absent from the result."""

    @abstractmethod
    async def put_definitions(self, definitions: Mapping[str, str]) -> None:
        """Keep definitions, text by hash; known ones stay as they are."""

    @abstractmethod
    async def epoch(self) -> int:
        """Return the present epoch."""

    @abstractmethod
    async def flush(self) -> int:
        """Delete everything of milepost's, advance the epoch and return it."""

    @abstractmethod
    def keys(self, pattern: str = "*") -> AsyncIterator[str]:
        """Iterate over the keys of records that hold rows.

        Args:
            pattern: ``*`` is anything, ``?`` one character.
        """

    @abstractmethod
    async def due(self, now: float, limit: int = 1000) -> list[str]:
        """Return keys of records whose deadline has come, the earliest first.

        Args:
            now: epoch seconds.
            limit: how many to return at most.
        """

    @abstractmethod
    async def next_deadline(self) -> float | None:
        """Return the earliest deadline of all, epoch seconds."""

    @abstractmethod
    async def outbox(self, after: int = 0, limit: int = 1000) -> list[tuple[int, str]]:
        """Return kept events, position and JSON text of each, in commit order.

        Args:
            after: the position after which to begin; 0 for the oldest that is kept.
            limit: how many to return at most.
        """


class PostingAuthority(Authority):
    """An authority that commits can be sent to without waiting, while there is a connection."""

    @abstractmethod
    def post(
        self, commits: Sequence[Commit], done: Callable[[Callable[[], Awaitable[list[Outcome]]] | None], None]
    ) -> bool:
        """Send commits.

        Args:
            commits: as for :meth:`commit`.
            done: called when the reply is there: with None where all are committed, otherwise with what
                returns their outcomes. It must not raise.

        Returns:
            Whether they were sent; otherwise ``done`` is not called.
        """


class ImmediateAuthority(Authority):
    """An authority in this process's memory: it decides without waiting."""

    @abstractmethod
    def new_incarnation(self) -> int:
        """Return a number above all incarnations that there were."""

    @abstractmethod
    def peek(self, key: str) -> Record | None:
        """Return the authority's own record; an empty one where there is none; None if it must be loaded first."""

    @abstractmethod
    def commit_now(self, commit: Commit, onto: Record | None = None) -> Outcome:
        """Apply one commit; ``onto`` is the empty record to fill and keep where there is none."""

    @abstractmethod
    def keep_definitions(self, definitions: Mapping[str, str]) -> None:
        """Keep definitions, text by hash; known ones stay as they are."""

    @abstractmethod
    def note_deadline(self, record: Record, deadline: float | None) -> None:
        """File a record under the moment at which its next row expires."""

    @property
    @abstractmethod
    def epoch_now(self) -> int:
        """The present epoch."""

    @abstractmethod
    def begin(self, record: Record, rows: dict[str, Any], definitions: Mapping[str, str]) -> None:
        """Apply a commit that fills an empty record from :meth:`peek` with just these rows."""

    followed: bool = False
    """Whether a store follows, which must be told what changed."""
    full: bool = False
    """Whether that store is so far behind that not every commit is taken: ``Undecided`` says which are not."""

    def moved(self, record: Record, rows: Sequence[Row]) -> None:
        """Note for the store that follows that the record was moved on to these rows."""
