"""The transport in Redis or Valkey, which many processes share: one stream for each partition.

Its streams are the outboxes of a ``RedisDataCache`` with the same prefix: where tracking writes to the same Redis,
its events are in the stream with the commit that caused them.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Self

from milepost._clock import Clock, SystemClock
from milepost._patterns import pattern_to_regex
from milepost.backends.checks import check_prefix, check_whole
from milepost.backends.redis.consumers import Shares
from milepost.backends.redis.delays import Delays
from milepost.backends.redis.jobs import FailedRows
from milepost.backends.redis.news import Listening
from milepost.backends.redis.onlooking import open_onlooker
from milepost.backends.redis.opening import client_source, host_source, url_source
from milepost.backends.redis.streams import Found, Published, Streams
from milepost.bus.envelope import Envelope
from milepost.bus.transports.base import Batch, Entry, News, Position
from milepost.bus.transports.gathering import Gathering
from milepost.bus.transports.redis_work import Place, RedisWork
from milepost.codec import dumps
from milepost.data_caches.redis import RedisDataCache
from milepost.errors import BackendUnavailable, InvalidDefinition

__all__ = ["RedisTransport"]

_log = logging.getLogger("milepost")

_MOST_PARTITIONS: Final = 4096
_SIZE: Final = 100_000


class RedisTransport(RedisWork):
    """Keeps events in Redis or Valkey, until every durable consumer has passed them: one server, what Sentinel says
    is the master, or a cluster.

    How far consumers are behind is counted in each partition by itself: a consumer may lag its ``max_lag`` in each
    of them. A batch of events is appended as a whole where one server has all of it; on a cluster, the events of
    each partition are.

    Args:
        host: where the server is.
        port: its port.
        db: its database.
        client: a ``redis.asyncio`` client or cluster client instead; its owner closes it.
        key_prefix: what all keys begin with. That of a ``RedisDataCache`` makes its outbox the stream.
        partitions: among how many partitions the processes that share a consumer divide its work; by default as
            many as what is there already has, else 16.
        size: about how many events are kept for reading back, a share of them in each partition; more while a
            durable consumer has not passed them.
        timeout: for how many seconds to wait for a reply.
        patience: for how many seconds to try again when Redis does not answer.
        allow_eviction: take a server whose ``maxmemory-policy`` is not ``noeviction``: it may throw events away.
        **settings: as for ``redis.asyncio.Redis``: ``username``, ``password``, ``ssl``, …

    Raises:
        InvalidDefinition: when a setting is wrong.
        MissingExtra: when redis-py is not installed.
    """

    lasting: ClassVar[bool] = True

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        *,
        client: Any = None,
        key_prefix: str = "milepost",
        partitions: int | None = None,
        size: int = _SIZE,
        timeout: float = 5.0,
        patience: float = 5.0,
        allow_eviction: bool = False,
        **settings: Any,
    ) -> None:
        check_prefix(key_prefix)
        if partitions is not None:
            check_whole("partitions", partitions, 1, _MOST_PARTITIONS)
            self.partitions = partitions
        check_whole("size", size, 1, 1 << 31)
        for name, value in (("timeout", timeout), ("patience", patience)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise InvalidDefinition(f"{name} must be a number of seconds greater than 0, got {value!r}")
        self.key_prefix = key_prefix
        self._asked_partitions = partitions
        self._source = client_source(client) if client is not None else host_source(host, port, db, settings)
        self._size = size
        self._timeout = timeout
        self._patience = patience
        self._allow_eviction = allow_eviction
        self._at: Place | None = None
        super().__init__()
        self._gathering = Gathering(self._append)

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        """Return a transport for a URL.

        Args:
            url: ``redis://``, ``rediss://``, ``unix://``, ``redis+cluster://``, ``rediss+cluster://`` or
                ``redis+sentinel://host:26379,host:26379/service/0``.
            **settings: ``key_prefix``, ``partitions``, … as for the class.

        Raises:
            InvalidDefinition: when the URL names no Redis, or a setting is wrong.
        """
        transport = cls(**settings)
        transport._source = url_source(url)
        return transport

    @classmethod
    def beside(cls, cache: RedisDataCache) -> Self:
        """Return a transport whose stream is the outbox of a cache.

        Args:
            cache: says where Redis is; a client that it was given is used by both.
        """
        transport = cls(
            key_prefix=cache.key_prefix,
            partitions=cache.partitions,
            size=cache.outbox_size or _SIZE,
            timeout=cache._timeout,
            patience=cache._patience,
            allow_eviction=cache._allow_eviction,
        )
        transport._source = cache._source
        return transport

    def __repr__(self) -> str:
        return f"RedisTransport({self._source.name!r}, key_prefix={self.key_prefix!r})"

    # --- life -----------------------------------------------------------------------------

    async def open(self, clock: Clock) -> None:
        if self._at is not None:
            raise BackendUnavailable(f"{self!r} is open on another bus; give each bus a transport of its own")
        places = await open_onlooker(
            self._source,
            self.key_prefix,
            self._asked_partitions,
            allow_eviction=self._allow_eviction,
            timeout=self._timeout,
            patience=self._patience,
        )
        self.partitions = places.keys.partitions
        now = None if isinstance(clock, SystemClock) else clock.time
        streams = Streams(places, self._size)
        news = Listening(places.client, self.key_prefix)
        self._at = Place(places, streams, Delays(places, streams), Shares(places, now), FailedRows(places, now), news)
        await streams.standing()  # and learn of the generation

    async def aclose(self) -> None:
        await self._gathering.settle()
        at, self._at = self._at, None
        if at is not None:
            await at.news.aclose()
            await at.places.client.aclose()

    def _opened(self) -> Place:
        if self._at is None:
            raise BackendUnavailable(f"{self!r} is not open")
        return self._at

    @property
    def _streams(self) -> Streams:
        return self._opened().streams

    async def carries(self, store: object) -> bool:
        if not isinstance(store, RedisDataCache) or not store.outbox_size or store.key_prefix != self.key_prefix:
            return False
        places = self._opened().places
        return await store.shares_place_with(places)

    def listen(self, heard: Callable[[], None], what: News = "events") -> bool:
        self._opened().news.listen(heard, what)
        return True

    def unlisten(self, heard: Callable[[], None]) -> None:
        if self._at is not None:
            self._at.news.unlisten(heard)

    # --- the stream -----------------------------------------------------------------------

    async def append(self, envelopes: Sequence[Envelope]) -> list[bool]:
        _ = self._opened()
        return await self._gathering.append([_published(envelope) for envelope in envelopes])

    async def _append(self, events: Sequence[Published]) -> list[bool]:
        return await self._streams.publish(events)

    async def read(self, positions: Mapping[int, Position], limit: int) -> Batch:
        reached = dict(positions)
        entries: list[Entry] = []
        for found in await self._streams.read(positions, limit):
            reached[found.partition] = found.position
            envelope = _decoded(found)
            if envelope is not None:
                entries.append(Entry(found.partition, found.position, envelope))
        return Batch(entries, reached)

    async def end(self) -> dict[int, Position]:
        return {number: position for number, (position, _) in (await self._streams.standing()).items()}

    async def history(
        self, pattern: str = "*", subject: str = "*", since: float | None = None, until: float | None = None
    ) -> AsyncIterator[Envelope]:
        wanted = pattern_to_regex(pattern).fullmatch
        about = pattern_to_regex(subject).fullmatch
        async for found in self._streams.all():
            envelope = _decoded(found)
            if envelope is None or not wanted(envelope.type) or not about(envelope.subject or ""):
                continue
            if (since is None or envelope.time >= since) and (until is None or envelope.time < until):
                yield envelope

    async def find(self, id: str) -> Envelope | None:
        found = await self._streams.find(id)
        if found is not None:
            return Envelope.decode(found)
        texts = await self._streams.seek(_in_json(id))  # tracking appended it, which files it under no id
        return next((one for one in map(Envelope.decode, texts) if one.id == id), None)

    async def chain(self, root: str) -> list[Envelope]:
        first = await self.find(root)
        found = [Envelope.decode(text) for text in await self._streams.seek(_in_json(root))]
        later = [one for one in found if one.root == root and one.id != root]
        return later if first is None else [first, *later]

    # --- delayed events -------------------------------------------------------------------

    async def delay(self, envelope: Envelope, due: float) -> None:
        await self._opened().delays.delay(_published(envelope), due)
        await self._opened().news.tell("work")

    async def cancel(self, id: str) -> bool:
        return await self._opened().delays.cancel(id)

    async def release(self, now: float, limit: int = 100) -> list[Envelope]:
        return [Envelope.decode(text) for text in await self._opened().delays.release(now, limit)]

    async def next_due(self) -> float | None:
        return await self._opened().delays.next_due()

    async def delayed(self, limit: int = 1000) -> list[tuple[float, Envelope]]:
        return [(due, Envelope.decode(text)) for due, text in await self._opened().delays.delayed(limit)]

    # --- all of it ------------------------------------------------------------------------

    async def flush(self) -> None:
        await self._streams.clear()
        await self._opened().failed.clear()


def _published(envelope: Envelope) -> Published:
    return Published(envelope.id, envelope.key, envelope.encoded())


def _decoded(found: Found) -> Envelope | None:
    """Return an event; None, and a line in the log, where it cannot be read. It stays where it is."""
    try:
        return Envelope.decode(found.body)
    except ValueError as error:
        _log.error("the event at %s of partition %d cannot be read and is passed over: %s",
                   found.position, found.partition, error)  # fmt: skip
        return None


def _in_json(id: str) -> str:
    """Return what an event's JSON has in it that has an id in it."""
    return dumps(id)
