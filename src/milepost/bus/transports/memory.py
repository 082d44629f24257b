"""The transport in memory: as fast as a list, and gone with the process."""

from __future__ import annotations

import heapq
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import count
from typing import Final

from milepost._clock import Clock
from milepost._partitions import partition_of
from milepost._patterns import pattern_to_regex
from milepost.bus.envelope import Envelope
from milepost.bus.transports.base import (
    BEGINNING,
    Batch,
    Claim,
    Consumer,
    Entry,
    FailedJob,
    ImmediateTransport,
    Position,
)
from milepost.errors import InvalidDefinition, OutboxFull

__all__ = ["MemoryTransport"]

_log = logging.getLogger("milepost")

_WIDTH: Final = 20
"""Positions are numbers of this many digits."""

_LAPSES_BY: Final = 10
"""One that lapses gives up a tenth of its largest lag at once, so that it does not lapse with every event."""
_KEPT_FAILURES: Final = 100_000
_TRIMMED_AT_ONCE: Final = 128
"""So few that, between two looks of the garbage collector, as many objects go as come: it has no reason to look."""


class MemoryTransport(ImmediateTransport):
    """Keeps events in this process.

    Args:
        size: how many events are kept for reading back; more while a durable consumer has not passed them.
        partitions: among how many partitions the processes that share a consumer divide its work.

    Raises:
        InvalidDefinition: when a setting is wrong.
    """

    def __init__(self, size: int = 10_000, partitions: int = 16) -> None:
        for name, value in (("size", size), ("partitions", partitions)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidDefinition(f"{name} must be a whole number of at least 1, got {value!r}")
        self.partitions = partitions
        self._size = size
        self._beyond = min(size, _TRIMMED_AT_ONCE)
        self._trim_at = size + self._beyond
        self._consumers: dict[str, _Consuming] = {}
        self._numbers = count()
        self._first = 1
        """The number of the first event in the log."""
        self._log: list[Envelope] = []
        self._forget()

    def _forget(self) -> None:
        self._first += len(self._log)
        self._log.clear()
        self._ids: dict[str, int] = {}
        """Where events are whose ids may come again."""
        self._delayed: dict[str, tuple[float, Envelope]] = {}
        self._due: list[tuple[float, int, str]] = []
        self._failed: dict[str, FailedJob] = {}
        self._asked: set[str] = set()
        self._taken: dict[str, float] = {}

    async def open(self, clock: Clock) -> None:
        self._clock = clock

    async def aclose(self) -> None:
        return

    # --- the stream -----------------------------------------------------------------------

    def append_new(self, envelope: Envelope) -> None:
        self._log.append(envelope)
        if len(self._log) >= self._trim_at:
            self._trim()

    def append_now(self, envelope: Envelope) -> bool:
        if envelope.id in self._ids:
            return False
        self._ids[envelope.id] = self._first + len(self._log)
        self.append_new(envelope)
        return True

    async def append(self, envelopes: Sequence[Envelope]) -> list[bool]:
        self.refuse_if_full(len(envelopes))
        return [self.append_now(envelope) for envelope in envelopes]

    def refuse_if_full(self, more: int) -> None:
        for consuming in self._consumers.values():
            most = consuming.settings.max_lag
            if consuming.settings.on_lag == "refuse" and most is not None:
                lag = self._last - consuming.slowest
                if lag + more > most:
                    raise OutboxFull(
                        f"the durable consumer {consuming.settings.name!r} is {lag} events behind, "
                        f"and {most} are kept for it"
                    )

    @property
    def _last(self) -> int:
        return self._first + len(self._log) - 1

    def _trim(self) -> None:
        """Forget what is beyond the size and behind the slowest consumer."""
        last = self._last
        keep_from = last - self._size + 1
        for consuming in self._consumers.values():
            most = consuming.settings.max_lag
            slowest = consuming.slowest + 1
            if most is not None and last - slowest + 1 > most and consuming.settings.on_lag == "lapse":
                lost = consuming.lapse_to(last - most + most // _LAPSES_BY)
                _log.error("the durable consumer %r was too far behind and lost up to %d events",
                           consuming.settings.name, lost)  # fmt: skip
                slowest = consuming.slowest + 1
            keep_from = min(keep_from, slowest)
        dropped = keep_from - self._first
        if dropped > 0:
            for envelope in self._log[:dropped]:
                self._ids.pop(envelope.id, None)
            del self._log[:dropped]
            self._first = keep_from
        self._trim_at = len(self._log) + self._beyond

    async def read(self, positions: Mapping[int, Position], limit: int) -> Batch:
        starts = {partition: _number(position) for partition, position in positions.items()}
        entries: list[Entry] = []
        at = max(min(starts.values(), default=self._last) + 1, self._first)
        for envelope in self._log[at - self._first :]:
            partition = partition_of(envelope.key, self.partitions)
            if partition in starts and at > starts[partition]:
                entries.append(Entry(partition, _position(at), envelope))
            at += 1
            if len(entries) >= limit:
                break
        reached = {partition: _position(max(at - 1, start)) for partition, start in starts.items()}
        return Batch(entries, reached)

    async def end(self) -> dict[int, Position]:
        return dict.fromkeys(range(self.partitions), _position(self._last))

    async def history(
        self, pattern: str = "*", subject: str = "*", since: float | None = None, until: float | None = None
    ) -> AsyncIterator[Envelope]:
        for envelope in _among(list(self._log), pattern, subject, since, until):
            yield envelope

    async def find(self, id: str) -> Envelope | None:
        number = self._ids.get(id)
        if number is not None:
            return self._log[number - self._first]
        return next((envelope for envelope in reversed(self._log) if envelope.id == id), None)

    async def chain(self, root: str) -> list[Envelope]:
        return [envelope for envelope in self._log if envelope.root == root or envelope.id == root]

    # --- delayed events -------------------------------------------------------------------

    async def delay(self, envelope: Envelope, due: float) -> None:
        self._delayed[envelope.id] = (due, envelope)
        heapq.heappush(self._due, (due, next(self._numbers), envelope.id))

    async def cancel(self, id: str) -> bool:
        return self._delayed.pop(id, None) is not None

    async def release(self, now: float, limit: int = 100) -> list[Envelope]:
        moved: list[Envelope] = []
        while self._earliest() is not None and self._due[0][0] <= now and len(moved) < limit:
            _, _, id = heapq.heappop(self._due)
            _, envelope = self._delayed.pop(id)
            if self.append_now(envelope):
                moved.append(envelope)
        return moved

    async def next_due(self) -> float | None:
        return self._earliest()

    def _earliest(self) -> float | None:
        """Return when the next one is due; those that were cancelled or moved since are dropped on the way."""
        while self._due:
            due, _, id = self._due[0]
            known = self._delayed.get(id)
            if known is not None and known[0] == due:
                return due
            heapq.heappop(self._due)
        return None

    async def delayed(self, limit: int = 1000) -> list[tuple[float, Envelope]]:
        return sorted(self._delayed.values(), key=lambda pair: pair[0])[:limit]

    def take_delayed(self) -> list[tuple[Envelope, float]]:
        taken = [(envelope, due) for due, envelope in self._delayed.values()]
        self._delayed.clear()
        return taken

    # --- consumers ------------------------------------------------------------------------

    async def declare(self, consumer: Consumer) -> None:
        known = self._consumers.get(consumer.name)
        if known is None:
            start = self._last if consumer.start == "now" else self._first - 1
            self._consumers[consumer.name] = _Consuming(consumer, self.partitions, start)
        else:
            known.settings = consumer

    async def forget(self, consumer: str) -> bool:
        return self._consumers.pop(consumer, None) is not None

    async def beat(self, consumer: str, owner: str, ttl: float, held: Mapping[int, int]) -> tuple[int, set[int]]:
        now = self._clock.time()
        consuming = self._consumers[consumer]
        consuming.members[owner] = now + ttl
        lost: set[int] = set()
        for partition, token in held.items():
            share = consuming.shares[partition]
            if share.token == token:
                share.until = now + ttl
            else:
                lost.add(partition)
        return sum(until > now for until in consuming.members.values()), lost

    async def claim(self, consumer: str, owner: str, ttl: float, most: int) -> list[Claim]:
        now = self._clock.time()
        claims: list[Claim] = []
        for partition, share in enumerate(self._consumers[consumer].shares):
            if len(claims) < most and (share.owner is None or share.until <= now):
                share.owner, share.until, share.token = owner, now + ttl, share.token + 1
                claims.append(Claim(partition, share.token, _position(share.position)))
        return claims

    async def acknowledge(self, consumer: str, done: Mapping[int, tuple[int, Position]]) -> set[int]:
        shares = self._consumers[consumer].shares
        refused: set[int] = set()
        for partition, (token, position) in done.items():
            share = shares[partition]
            if share.token == token:
                share.position = max(share.position, _number(position))
            else:
                refused.add(partition)
        return refused

    async def release_partitions(self, consumer: str, held: Mapping[int, int]) -> None:
        for partition, token in held.items():
            share = self._consumers[consumer].shares[partition]
            if share.token == token:
                share.owner = None

    async def leave(self, consumer: str, owner: str) -> None:
        self._consumers[consumer].members.pop(owner, None)

    async def lags(self) -> dict[str, int]:
        return {name: self._last - consuming.slowest for name, consuming in self._consumers.items()}

    async def lapsed(self) -> dict[str, int]:
        return {name: consuming.lapsed for name, consuming in self._consumers.items()}

    # --- failed deliveries ----------------------------------------------------------------

    async def put_failed(self, job: FailedJob) -> None:
        self._failed.pop(job.id, None)
        self._failed[job.id] = job
        self._asked.discard(job.id)
        self._taken.pop(job.id, None)
        if len(self._failed) > _KEPT_FAILURES:
            oldest = next(iter(self._failed))
            del self._failed[oldest]
            _log.error("the failed delivery %s was dropped: %d are kept", oldest, _KEPT_FAILURES)

    async def failed(self, id: str | None = None) -> list[FailedJob]:
        jobs = list(self._failed.values()) if id is None else [job for job in (self._failed.get(id),) if job]
        for job in jobs:
            job.retrying = job.id in self._asked or job.id in self._taken
        return jobs

    async def ask_retry(self, ids: Sequence[str]) -> int:
        known = [id for id in ids if id in self._failed]
        self._asked.update(id for id in known if id not in self._taken)
        return len(known)

    async def take_retries(self, handlers: Sequence[str], ttl: float) -> list[FailedJob]:
        now = self._clock.time()
        self._asked.update(id for id, until in self._taken.items() if until <= now)
        wanted = set(handlers)
        taken = [job for job in self._failed.values() if job.id in self._asked and job.handler in wanted]
        for job in taken:
            self._asked.discard(job.id)
            self._taken[job.id] = now + ttl
        return taken

    async def keep_retries(self, ids: Sequence[str], ttl: float) -> None:
        until = self._clock.time() + ttl
        self._taken.update((id, until) for id in ids if id in self._taken)

    async def remove_failed(self, ids: Sequence[str]) -> int:
        removed = [self._failed.pop(id, None) for id in ids]
        self._asked.difference_update(ids)
        for id in ids:
            self._taken.pop(id, None)
        return sum(job is not None for job in removed)

    async def flush(self) -> None:
        self._forget()


class _Share:
    """One partition of a consumer."""

    __slots__ = ("owner", "position", "token", "until")

    def __init__(self, position: int) -> None:
        self.position = position
        self.owner: str | None = None
        self.token = 0
        self.until = 0.0


class _Consuming:
    """A durable consumer: how far it is in each partition, and who works for it."""

    def __init__(self, settings: Consumer, partitions: int, start: int) -> None:
        self.settings = settings
        self.shares = [_Share(start) for _ in range(partitions)]
        self.members: dict[str, float] = {}
        self.lapsed = 0

    @property
    def slowest(self) -> int:
        """The lowest position of all."""
        return min(share.position for share in self.shares)

    def lapse_to(self, position: int) -> int:
        """Skip to a position; return how many events that may have lost."""
        lost = position - self.slowest
        for share in self.shares:
            share.position = max(share.position, position)
        self.lapsed += lost
        return lost


def _position(number: int) -> Position:
    return f"{number:0{_WIDTH}d}"


def _number(position: Position) -> int:
    return 0 if position == BEGINNING else int(position)


def _among(
    envelopes: Sequence[Envelope], pattern: str, subject: str, since: float | None, until: float | None
) -> Iterator[Envelope]:
    type_matches = pattern_to_regex(pattern).fullmatch
    subject_matches = pattern_to_regex(subject).fullmatch
    for envelope in envelopes:
        if since is not None and envelope.time < since:
            continue
        if until is not None and envelope.time >= until:
            continue
        if type_matches(envelope.type) and subject_matches(envelope.subject or ""):
            yield envelope
