"""A cache in Redis, shared by many processes: Redis decides every commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Self
from uuid import uuid4

from milepost._clock import Clock, SystemClock
from milepost._patterns import has_wildcard
from milepost.backends.checks import check_prefix, check_seconds, check_whole
from milepost.backends.redis.calls import Notes, RecordCalls
from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.deciding import Decider
from milepost.backends.redis.following import Following
from milepost.backends.redis.mending import mend
from milepost.backends.redis.onlooking import Onlooker
from milepost.backends.redis.opening import client_source, host_source, open_client, url_source
from milepost.backends.redis.places import Places
from milepost.backends.redis.reading import Reader
from milepost.backends.redis.scripts import Call
from milepost.data_caches.base import LeadingCache, Mended, MendingCache, check_asked
from milepost.data_stores.base import BaseDataStore, RecordChange
from milepost.errors import BacklogFull, CacheUnavailable, InvalidDefinition
from milepost.records import Commit, LoadedRecord, Loss, NotHeld, Outcome, PostingAuthority, Record, Settled

__all__ = ["RedisDataCache"]

_TRIES: Final = 10
_PAGE: Final = 500
_UNTIL_FLUSHED: Final = 1.0
_LEASE: Final = 30.0
_REMOVAL_MS: Final = 3_600_000
_IDS_MS: Final = 120_000
_MARKED_MS: Final = 60_000
_MOST_PARTITIONS: Final = 4096
_BESIDE_A_URL: Final = frozenset(
    {"key_prefix", "partitions", "outbox_size", "timeout", "patience", "idle", "max_backlog", "allow_eviction"}
)


class RedisDataCache(LeadingCache, MendingCache, PostingAuthority):
    """Keeps groups in Redis or Valkey: one server, what Sentinel says is the master, or a cluster.

    Args:
        host: where the server is.
        port: its port.
        db: its database.
        client: a ``redis.asyncio`` client or cluster client instead; its owner closes it.
        key_prefix: what all keys begin with, after a brace.
        partitions: into how many parts the groups are divided: no more nodes of a cluster, and no more
            consumers, can share the work. Everybody must give the same number.
        outbox_size: how many events to keep, about.
        timeout: for how many seconds to wait for a reply.
        patience: for how many seconds to try again when Redis does not answer.
        idle: after how many seconds a group that nobody asked for leaves Redis, when the store that follows has
            it; None for never.
        max_backlog: how many groups may be changed that the store that follows has not seen as they are; a change to
            one more is refused with ``BacklogFull``. Each partition has its share of it.
        allow_eviction: take a server whose ``maxmemory-policy`` is not ``noeviction``: it may throw progress away.
        **settings: as for ``redis.asyncio.Redis``: ``username``, ``password``, ``ssl``, …

    Raises:
        InvalidDefinition: when a setting is wrong.
        MissingExtra: when redis-py is not installed.
    """

    rounds = 2

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        *,
        client: Any = None,
        key_prefix: str = "milepost",
        partitions: int = 16,
        outbox_size: int = 100_000,
        timeout: float = 5.0,
        patience: float = 5.0,
        idle: float | None = 86_400.0,
        max_backlog: int = 1_000_000,
        allow_eviction: bool = False,
        **settings: Any,
    ) -> None:
        check_prefix(key_prefix)
        check_whole("partitions", partitions, 1, _MOST_PARTITIONS)
        check_whole("outbox_size", outbox_size, 0, 1 << 31)
        check_whole("max_backlog", max_backlog, 1, 1 << 53)
        check_seconds("timeout", timeout)
        check_seconds("patience", patience)
        if idle is not None:
            check_seconds("idle", idle)
        if not isinstance(allow_eviction, bool):
            raise InvalidDefinition(f"allow_eviction must be True or False, got {allow_eviction!r}")
        if client is not None and settings:
            raise InvalidDefinition(f"a client has its own settings; beside it there is {', '.join(sorted(settings))}")
        self.key_prefix = key_prefix
        self.partitions = partitions
        self.outbox_size = outbox_size
        self.idle = idle
        self.max_backlog = self._most_unsaved = max_backlog
        self._source = client_source(client) if client is not None else host_source(host, port, db, settings)
        self._timeout = timeout
        self._patience = patience
        self._allow_eviction = allow_eviction
        self._places = Places(key_prefix, partitions, allow_eviction=allow_eviction)
        self._client: RedisClient | None = None
        self._notes = Notes(256)
        self._clock: Clock = SystemClock()
        self._store: BaseDataStore | None = None
        self._following: Following | None = None

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        """Return a cache for a URL.

        Args:
            url: ``redis://``, ``rediss://``, ``unix://``, ``redis+cluster://``, ``rediss+cluster://`` or
                ``redis+sentinel://host:26379,host:26379/service/0``.
            **settings: ``key_prefix``, ``partitions``, … as for the class; what concerns the connection is in the URL.

        Raises:
            InvalidDefinition: when the URL names no Redis, or a setting is wrong.
        """
        elsewhere = settings.keys() - _BESIDE_A_URL
        if elsewhere:
            raise InvalidDefinition(
                f"{', '.join(sorted(elsewhere))} must be in the URL, such as redis://user:password@host:6379/0 or "
                f"rediss://host?ssl_ca_certs=/path; beside it may be {', '.join(sorted(_BESIDE_A_URL))}"
            )
        cache = cls(**settings)
        cache._source = url_source(url)
        return cache

    def tell_of_epochs(self, told: Callable[[int], None]) -> None:
        self._places.on_epoch = told

    def __repr__(self) -> str:
        return f"RedisDataCache({self._source.name!r}, key_prefix={self.key_prefix!r})"

    async def open(self, clock: Clock, window: int) -> None:
        if self._client is not None:
            raise CacheUnavailable(f"{self!r} is open in another manager; give each manager a cache object of its own")
        self._notes = Notes(window)
        self._clock = clock
        client = self._client = await open_client(self._source, self._places, self._timeout, self._patience)
        try:
            if self._store is not None:
                self._places.mark = await self._store.cache_mark()
            await self._places.open(client)
            await self._build(client)
        except BaseException:
            await self.aclose()
            raise

    async def _build(self, client: RedisClient) -> None:
        calls = self._calls = RecordCalls(
            client,
            outbox_size=-(-self.outbox_size // self.partitions),
            removal_ms=_REMOVAL_MS,
            ids_ms=_IDS_MS,
            most_unsaved=self._share,
        )
        reader = self._reader = Reader(self._places, calls)
        self._decider = Decider(self._source.name, self._places, calls, reader, self._notes, self._backlog_full)
        self._following = None
        if self._store is not None:
            self._following = Following(
                self._places,
                calls,
                reader,
                self._store,
                self._notes,
                lease=_LEASE,
                removal_ms=_REMOVAL_MS,
                ids_ms=_IDS_MS,
            )
            await self._following.begin()

    @property
    def _share(self) -> int:
        """How many unsaved groups a partition may have."""
        return -(-self._most_unsaved // self.partitions)

    def _backlog_full(self, backlog: int) -> BacklogFull:
        return BacklogFull(f"a partition of {self!r}", backlog, self._share, self.trouble)

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def shares_place_with(self, other: Onlooker) -> bool:
        """Return whether what an open bus calls its outbox is this cache's own."""
        if self._client is None:
            return False
        name = other.keys.shared(f"B:{uuid4().hex}")
        await other.client.ask(Call(None, -1, (), (b"SET", name, b"1", b"PX", _MARKED_MS)))
        return bool(await self._client.ask(Call(None, -1, (), (b"EXISTS", name))))

    def _opened(self) -> Reader:
        if self._client is None:
            raise CacheUnavailable(f"{self!r} is not open")
        return self._reader

    # --- reading -----------------------------------------------------------------------

    async def load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        reader = self._opened()
        found, elsewhere = await reader.records(keys)
        for _ in range(_TRIES):
            if not elsewhere or self._following is None:
                return found
            filled, again = await self._following.fetch(elsewhere)
            held, elsewhere = await reader.records(again)
            found |= filled | held
        raise CacheUnavailable(f"{self!r} lets records go as fast as they are read from the store")

    async def load_held(self, keys: Sequence[str]) -> tuple[dict[str, LoadedRecord], list[str]]:
        found, elsewhere = await self._opened().records(keys)
        return found, list(elsewhere)

    async def _current(self) -> Reader:
        """Return the reader, when it is known whether everything was flushed meanwhile."""
        reader = self._opened()
        await self._places.refresh()
        return reader

    async def definitions(self, hashes: Iterable[str]) -> dict[str, str]:
        wanted = list(hashes)
        found = await self._opened().definitions(wanted)
        missing = [hash for hash in wanted if hash not in found]
        if missing:
            found.update(await (await self._current()).definitions(missing))
            missing = [hash for hash in missing if hash not in found]
        if missing and self._store is not None:
            found.update(await self._store.definitions(missing))
        return found

    async def put_definitions(self, definitions: Mapping[str, str]) -> None:
        reader, needed = self._opened(), self._notes.needed
        where = {hash: needed.pop(hash) for hash in definitions if hash in needed}
        await reader.put_definitions(definitions, where)

    @property
    def known_epoch(self) -> int:
        """The present epoch, as far as this process knows."""
        return self._places.epoch

    async def epoch(self) -> int:
        self._opened()
        await self._places.refresh()
        return self._places.epoch

    async def is_cached(self, group_id: str, name: str | None = None) -> bool:
        check_asked(group_id, name)
        reader = await self._current()
        if name is None:
            return bool(await reader.holding([group_id]))
        return await reader.has_row(group_id, name)

    async def keys(self, pattern: str = "*") -> AsyncIterator[str]:
        reader = await self._current()
        if self._following is not None and self._places.doubts:
            await self._following.compare(None if has_wildcard(pattern) else [pattern])
        given: set[str] = set()
        async for key in reader.keys(pattern):
            given.add(key)
            yield key
        if self._store is not None:
            page: list[str] = []
            async for key in self._store.keys(pattern):
                page.append(key)
                if len(page) == _PAGE:
                    for unknown in await reader.not_here(page):
                        if unknown not in given:
                            yield unknown
                    page.clear()
            for unknown in await reader.not_here(page):
                if unknown not in given:
                    yield unknown

    async def due(self, now: float, limit: int = 1000) -> list[str]:
        reader = await self._current()
        found = [key for _, key in await reader.due(now, limit)]
        if self._store is not None and len(found) < limit:  # groups that were never in Redis expire too
            there = await self._store.due(now, limit)
            found += await reader.not_here([key for key in there if key not in set(found)])
        return found[:limit]

    async def next_deadline(self) -> float | None:
        here = await self._earliest_here()
        there = None if self._store is None else await self._store.next_deadline()
        if there is None:
            return here
        now = self._clock.time()
        if there <= now:  # it belongs to a group of which Redis knows better: the next flush mends it
            there = now + _UNTIL_FLUSHED
        return there if here is None else min(here, there)

    async def _earliest_here(self) -> float | None:
        earliest = await (await self._current()).due("+inf", 1)
        return earliest[0][0] if earliest else None

    async def outbox(self, after: int = 0, limit: int = 1000) -> list[tuple[int, str]]:
        return await (await self._current()).outbox(after, limit)

    # --- deciding ----------------------------------------------------------------------

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        outcomes = await self.commit_held(commits)
        for _ in range(_TRIES):
            elsewhere = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, NotHeld)]
            if not elsewhere:
                return outcomes
            await self.load([commits[n].key for n in elsewhere])
            again = await self.commit_held([commits[n] for n in elsewhere])
            for n, outcome in zip(elsewhere, again, strict=True):
                outcomes[n] = outcome
        raise CacheUnavailable(f"{self!r} lets records go as fast as they are read from the store")

    def post(
        self, commits: Sequence[Commit], done: Callable[[Callable[[], Awaitable[list[Outcome]]] | None], None]
    ) -> bool:
        return self._client is not None and self._decider.post(commits, done)

    async def commit_held(self, commits: Sequence[Commit]) -> list[Outcome]:
        self._opened()
        return await self._decider.commit(commits)

    async def flush(self) -> int:
        reader = self._opened()
        epoch = await self._places.begin_epoch(flushed=True)
        self._notes.tickets.clear()
        if self._following is not None:
            self._following.forget()
        await reader.clear_away()
        if self._following is not None:
            await self._following.mark()
        return epoch

    async def mend(self, records: Sequence[Record], definitions: Mapping[str, str], epoch: int) -> Mended:
        reader = self._opened()
        if self._places.was_flushed_since(epoch):
            return Mended(0, 0)
        if self._following is not None:
            self._following.forget()
        return Mended(*await mend(self._places, self._calls, reader, self._store, records, definitions))

    def take_loss(self) -> Loss | None:
        return self._places.take_loss()

    async def settle(self) -> Settled:
        self._opened()
        if self._following is None:
            self._places.doubts.clear()  # there is nothing to compare with
            return Settled(0, 0, True)
        return await self._following.settle()

    # --- in front of a store -----------------------------------------------------------

    def lead(self, store: BaseDataStore) -> None:
        self._store = store
        self._places.follows = True

    @property
    def backlog(self) -> int:
        return 0 if self._following is None else self._following.backlog

    def _led(self) -> Following:
        self._opened()
        if self._following is None:
            raise CacheUnavailable(f"no store follows {self!r}")
        return self._following

    async def measure(self) -> int:
        return await self._led().measure()

    async def unsaved_keys(self) -> set[str]:
        return await self._led().unsaved_keys()

    async def unsaved(self, limit: int) -> list[RecordChange]:
        return await self._led().unsaved(limit)

    async def saved(self, changes: Sequence[RecordChange]) -> list[RecordChange]:
        return await self._led().note(changes, saved=True)

    async def not_saved(self, changes: Sequence[RecordChange]) -> None:
        await self._led().note(changes, saved=False)

    async def let_go(self) -> None:
        if self.idle is not None:
            await self._led().evict_in_turn(self.idle)
