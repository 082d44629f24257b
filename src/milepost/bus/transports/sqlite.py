"""The transport in a SQLite file, which several processes may share.

Its stream is the outbox of the file: where tracking writes to the same file, its events are in the stream
with the commit that caused them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import anyio.to_thread

from milepost._clock import Clock, SystemClock
from milepost._patterns import pattern_to_regex
from milepost.backends.sqlite import consumers, streams
from milepost.backends.sqlite.client import SQLiteClient
from milepost.backends.sqlite.opening import IN_MEMORY
from milepost.bus.envelope import Envelope
from milepost.bus.transports.base import BEGINNING, Batch, Claim, Consumer, Entry, FailedJob, Position, Transport
from milepost.bus.transports.gathering import Gathering
from milepost.bus.transports.jobs import job_of, row_of
from milepost.data_stores.sqlite import SQLiteDataStore
from milepost.errors import InvalidDefinition

__all__ = ["SQLiteTransport"]

_log = logging.getLogger("milepost")

_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")


class SQLiteTransport(Transport):
    """Keeps events in a SQLite file (WAL journal), until every durable consumer has passed them.

    Args:
        path: the file; made where it does not exist. The one of a ``SQLiteDataStore`` makes its outbox the stream.
        size: how many events are kept for reading back; more while a durable consumer has not passed them.
        partitions: among how many partitions the processes that share a consumer divide its work; the same in
            all of them.
        synchronous: ``"FULL"`` survives a power failure; with ``"NORMAL"`` the last events may be lost to one,
            but not to a crash of the process.
        timeout: for how many seconds to wait for another process's transaction.

    Raises:
        InvalidDefinition: when a setting is wrong.
    """

    lasting: ClassVar[bool] = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: int = 100_000,
        partitions: int = 16,
        synchronous: str = "FULL",
        timeout: float = 30.0,
    ) -> None:
        if not isinstance(path, str | os.PathLike) or not str(path):
            raise InvalidDefinition(f"path must be the path of a file, got {path!r}")
        for name, value in (("size", size), ("partitions", partitions)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidDefinition(f"{name} must be a whole number of at least 1, got {value!r}")
        if synchronous not in _SYNCHRONOUS:
            raise InvalidDefinition(f"synchronous must be one of {', '.join(_SYNCHRONOUS)}, got {synchronous!r}")
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise InvalidDefinition(f"timeout must be a number of seconds greater than 0, got {timeout!r}")
        self.path = os.fspath(path)
        self.partitions = partitions
        self._size = size
        self._client = SQLiteClient(self.path, synchronous, timeout)
        self._clock: Clock = SystemClock()
        self._gathering = Gathering(self._append)

    def __repr__(self) -> str:
        return f"SQLiteTransport({self.path!r})"

    async def open(self, clock: Clock) -> None:
        self._clock = clock
        await self._client.open()

    async def aclose(self) -> None:
        await self._gathering.settle()
        await self._client.aclose()

    async def carries(self, store: object) -> bool:
        if not isinstance(store, SQLiteDataStore) or not store.keeps_events:
            return False
        return await anyio.to_thread.run_sync(_is_same_file, store.path, self.path)

    def rides_with(self, subject: str, key: str) -> bool:
        return True  # one table has all partitions

    # --- the stream -----------------------------------------------------------------------

    async def append(self, envelopes: Sequence[Envelope]) -> list[bool]:
        return await self._gathering.append([_published(envelope) for envelope in envelopes])

    async def _append(self, events: Sequence[streams.Published]) -> list[bool]:
        return await self._client.write(partial(self._publish, events=events))

    def _publish(self, connection: Any, events: Sequence[streams.Published]) -> list[bool]:
        return streams.publish(connection, events, self._clock.time(), self._size)

    async def read(self, positions: Mapping[int, Position], limit: int) -> Batch:
        starts = {partition: _number(position) for partition, position in positions.items()}
        found = await self._client.read(partial(self._read, starts=starts, limit=limit))
        entries, reached = found
        return Batch(entries, {partition: str(number) for partition, number in reached.items()})

    def _read(self, connection: Any, starts: Mapping[int, int], limit: int) -> tuple[list[Entry], dict[int, int]]:
        found = streams.read(connection, starts, self.partitions, limit)
        entries: list[Entry] = []
        for partition, position, text in found.entries:
            envelope = _decoded(text, position)
            if envelope is not None:
                entries.append(Entry(partition, str(position), envelope))
        return entries, found.reached

    async def end(self) -> dict[int, Position]:
        last = await self._client.read(streams.last_position)
        return dict.fromkeys(range(self.partitions), str(last))

    async def history(
        self, pattern: str = "*", subject: str = "*", since: float | None = None, until: float | None = None
    ) -> AsyncIterator[Envelope]:
        wanted = pattern_to_regex(pattern).fullmatch
        about = pattern_to_regex(subject).fullmatch
        after = 0
        while page := await self._client.read(partial(streams.page_after, after=after)):
            after = page[-1][0]
            for position, event_type, _, text in page:
                envelope = _decoded(text, position) if wanted(event_type) else None
                if envelope is None or not about(envelope.subject or ""):
                    continue
                if (since is None or envelope.time >= since) and (until is None or envelope.time < until):
                    yield envelope

    async def find(self, id: str) -> Envelope | None:
        text = await self._client.read(lambda connection: streams.find(connection, id))
        return None if text is None else Envelope.decode(text)

    async def chain(self, root: str) -> list[Envelope]:
        texts = await self._client.read(lambda connection: list(streams.chain_of(connection, root)))
        return [Envelope.decode(text) for text in texts]

    # --- delayed events -------------------------------------------------------------------

    async def delay(self, envelope: Envelope, due: float) -> None:
        text = envelope.encoded()
        await self._client.write(lambda connection: streams.delay(connection, envelope.id, due, text))

    async def cancel(self, id: str) -> bool:
        return await self._client.write(lambda connection: streams.cancel_delayed(connection, id))

    async def release(self, now: float, limit: int = 100) -> list[Envelope]:
        due = await self._client.read(lambda connection: streams.delayed(connection, limit, now))
        if not due:
            return []
        envelopes = [Envelope.decode(text) for _, _, text in due]
        events = [_published(envelope) for envelope in envelopes]
        moved = await self._client.write(
            lambda connection: streams.release(connection, events, self._clock.time(), self._size)
        )
        return [envelope for envelope, was_moved in zip(envelopes, moved, strict=True) if was_moved]

    async def next_due(self) -> float | None:
        return await self._client.read(streams.next_due)

    async def delayed(self, limit: int = 1000) -> list[tuple[float, Envelope]]:
        rows = await self._client.read(lambda connection: streams.delayed(connection, limit))
        return [(due, Envelope.decode(text)) for _, due, text in rows]

    # --- consumers ------------------------------------------------------------------------

    async def declare(self, consumer: Consumer) -> None:
        at_end = consumer.start == "now"
        await self._client.write(
            lambda connection: consumers.declare(
                connection, consumer.name, self.partitions, at_end, consumer.max_lag, consumer.on_lag
            )
        )

    async def forget(self, consumer: str) -> bool:
        return await self._client.write(lambda connection: consumers.forget(connection, consumer))

    async def beat(self, consumer: str, owner: str, ttl: float, held: Mapping[int, int]) -> tuple[int, set[int]]:
        return await self._client.write(
            lambda connection: consumers.beat(connection, consumer, owner, self._clock.time(), ttl, held)
        )

    async def claim(self, consumer: str, owner: str, ttl: float, most: int) -> list[Claim]:
        rows = await self._client.write(
            lambda connection: consumers.claim(connection, consumer, owner, self._clock.time(), ttl, most)
        )
        return [Claim(partition, token, str(position)) for partition, token, position in rows]

    async def acknowledge(self, consumer: str, done: Mapping[int, tuple[int, Position]]) -> set[int]:
        numbers = {partition: (token, _number(position)) for partition, (token, position) in done.items()}
        return await self._client.write(lambda connection: consumers.acknowledge(connection, consumer, numbers))

    async def release_partitions(self, consumer: str, held: Mapping[int, int]) -> None:
        await self._client.write(lambda connection: consumers.release_shares(connection, consumer, held))

    async def leave(self, consumer: str, owner: str) -> None:
        await self._client.write(lambda connection: consumers.leave(connection, consumer, owner))

    async def lags(self) -> dict[str, int]:
        return await self._client.read(consumers.lags)

    async def lapsed(self) -> dict[str, int]:
        return await self._client.read(consumers.lapsed)

    # --- failed deliveries ----------------------------------------------------------------

    async def put_failed(self, job: FailedJob) -> None:
        row = row_of(job)
        await self._client.write(lambda connection: consumers.put_failed(connection, row))

    async def failed(self, id: str | None = None) -> list[FailedJob]:
        return [job_of(row) for row in await self._client.read(lambda connection: consumers.failed(connection, id))]

    async def ask_retry(self, ids: Sequence[str]) -> int:
        return await self._client.write(lambda connection: consumers.ask_retry(connection, ids))

    async def take_retries(self, handlers: Sequence[str], ttl: float) -> list[FailedJob]:
        if not await self._client.read(consumers.has_retries):
            return []
        rows = await self._client.write(
            lambda connection: consumers.take_retries(connection, handlers, self._clock.time(), ttl)
        )
        return [job_of(row) for row in rows]

    async def keep_retries(self, ids: Sequence[str], ttl: float) -> None:
        until = self._clock.time() + ttl
        await self._client.write(lambda connection: consumers.keep_retries(connection, ids, until))

    async def remove_failed(self, ids: Sequence[str]) -> int:
        return await self._client.write(lambda connection: consumers.remove_failed(connection, ids))

    async def flush(self) -> None:
        await self._client.write(streams.flush)


def _is_same_file(one: str, other: str) -> bool:
    return IN_MEMORY not in (one, other) and Path(one).resolve() == Path(other).resolve()


def _published(envelope: Envelope) -> streams.Published:
    return streams.Published(envelope.id, envelope.type, envelope.key, envelope.root or envelope.id, envelope.encoded())


def _decoded(text: str, position: int) -> Envelope | None:
    """Return an event; None, and a line in the log, where it cannot be read. It stays where it is."""
    try:
        return Envelope.decode(text)
    except ValueError as error:
        _log.error("the event at position %d cannot be read and is passed over: %s", position, error)
        return None


def _number(position: Position) -> int:
    return 0 if position == BEGINNING else int(position)
