"""A cache in Redis, shared by many processes: Redis decides every commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, Self

from milepost._clock import Clock
from milepost.backends.redis.calls import Notes, RecordCalls
from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.encoding import ABSENT, outcome_of, record_of
from milepost.backends.redis.opening import Source, client_source, host_source, open_client, url_source
from milepost.backends.redis.places import Places
from milepost.backends.redis.reading import Reader
from milepost.data_caches.base import BaseDataCache
from milepost.errors import CacheUnavailable, CommitUncertain, InvalidDefinition
from milepost.records import Commit, Conflict, LoadedRecord, Outcome, StaleEpoch, Undecided

__all__ = ["RedisDataCache"]

_TRIES: Final = 10
_MOST_ROWS: Final = 1000
_REMOVAL_MS: Final = 3_600_000
_IDS_MS: Final = 120_000
_MOST_PARTITIONS: Final = 4096


class RedisDataCache(BaseDataCache):
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
        allow_eviction: bool = False,
        **settings: Any,
    ) -> None:
        source = client_source(client) if client is not None else host_source(host, port, db, settings)
        self._configure(source, key_prefix, partitions, outbox_size, timeout, patience, allow_eviction)

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        """Return a cache for a URL.

        Args:
            url: ``redis://``, ``rediss://``, ``unix://``, ``redis+cluster://``, ``rediss+cluster://`` or
                ``redis+sentinel://host:26379,host:26379/service/0``.
            **settings: ``key_prefix``, ``partitions``, … as for the class.

        Raises:
            InvalidDefinition: when the URL names no Redis, or a setting is wrong.
        """
        cache = cls(**settings)
        cache._source = url_source(url)
        return cache

    def _configure(
        self,
        source: Source,
        key_prefix: str,
        partitions: int,
        outbox_size: int,
        timeout: float,
        patience: float,
        allow_eviction: bool,
    ) -> None:
        if not isinstance(key_prefix, str) or not key_prefix or set("{}") & set(key_prefix):
            raise InvalidDefinition(f"key_prefix must be a text without braces, got {key_prefix!r}")
        _check_whole("partitions", partitions, 1, _MOST_PARTITIONS)
        _check_whole("outbox_size", outbox_size, 0, 1 << 31)
        _check_seconds("timeout", timeout)
        _check_seconds("patience", patience)
        self.key_prefix = key_prefix
        self.partitions = partitions
        self.outbox_size = outbox_size
        self._source = source
        self._timeout = timeout
        self._patience = patience
        self._places = Places(key_prefix, partitions, allow_eviction=allow_eviction)
        self._client: RedisClient | None = None
        self._notes = Notes(256)

    def __repr__(self) -> str:
        return f"RedisDataCache({self._source.name!r}, key_prefix={self.key_prefix!r})"

    async def open(self, clock: Clock, window: int) -> None:
        if self._client is not None:
            raise CacheUnavailable(f"{self!r} is open in another manager; give each manager a cache object of its own")
        self._notes = Notes(window)
        client = self._client = await open_client(self._source, self._places, self._timeout, self._patience)
        self._calls = RecordCalls(
            client,
            outbox_size=-(-self.outbox_size // self.partitions),
            removal_ms=_REMOVAL_MS,
            ids_ms=_IDS_MS,
        )
        try:
            await self._places.open(client)
        except BaseException:
            await self.aclose()
            raise
        self._reader = Reader(self._places, self._calls)

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _opened(self) -> Reader:
        if self._client is None:
            raise CacheUnavailable(f"{self!r} is not open")
        return self._reader

    # --- reading -----------------------------------------------------------------------

    async def load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        reader = self._opened()
        found: dict[str, LoadedRecord] = {}
        wanted = list(keys)
        for _ in range(_TRIES):
            replies = await self._calls.load(self._places.keys, wanted, _MOST_ROWS) if wanted else []
            again: list[str] = []
            for key, reply in zip(wanted, replies, strict=True):
                kind = reply[0]
                if kind == b"w":
                    found[key] = record_of(reply)
                elif kind == b"l":
                    large = await reader.large_record(key)
                    if large is not None:
                        found[key] = large
                    else:
                        again.append(key)
                elif kind == b"g":
                    again.append(key)
            if not again:
                return found
            wanted = again
            await self._places.refresh()
        raise CacheUnavailable(f"{self!r} is being flushed again and again")

    async def definitions(self, hashes: Iterable[str]) -> dict[str, str]:
        return await self._opened().definitions(hashes)

    async def put_definitions(self, definitions: Mapping[str, str]) -> None:
        if definitions:
            await self._opened().put_definitions(definitions)

    async def epoch(self) -> int:
        self._opened()
        await self._places.refresh()
        return self._places.epoch

    @property
    def known_epoch(self) -> int:
        """The present epoch, as far as this process knows."""
        return self._places.epoch

    async def is_cached(self, group_id: str, name: str | None = None) -> bool:
        reader = self._opened()
        if name is None:
            return bool(await reader.holding([group_id]))
        return await reader.has_row(group_id, name)

    async def keys(self, pattern: str = "*") -> AsyncIterator[str]:
        async for key in self._opened().keys(pattern):
            yield key

    async def due(self, now: float, limit: int = 1000) -> list[str]:
        return [key for _, key in await self._opened().due(now, limit)]

    async def next_deadline(self) -> float | None:
        earliest = await self._opened().due("+inf", 1)
        return earliest[0][0] if earliest else None

    async def outbox(self, after: int = 0, limit: int = 1000) -> list[tuple[int, str]]:
        return await self._opened().outbox(after, limit)

    # --- deciding ----------------------------------------------------------------------

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        self._opened()
        outcomes: list[Outcome | None] = [None] * len(commits)
        waiting: Sequence[int] = range(len(commits))
        for _ in range(_TRIES):
            waiting = await self._try(commits, waiting, outcomes)
            if not waiting:
                break
            await self._places.refresh()
        decided = [
            Undecided(CacheUnavailable(f"{self!r} is being flushed again and again")) if outcome is None else outcome
            for outcome in outcomes
        ]
        errors = [outcome.error for outcome in decided if isinstance(outcome, Undecided)]
        if errors and len(errors) == len(commits):
            raise next((error for error in errors if isinstance(error, CommitUncertain)), errors[0])
        return decided

    async def _try(
        self, commits: Sequence[Commit], waiting: Sequence[int], outcomes: list[Outcome | None]
    ) -> list[int]:
        """Send commits; return which have to be sent again after a look at where the partitions stand."""
        asked: list[int] = []
        for n in waiting:
            if commits[n].epoch == self._places.epoch:
                asked.append(n)
            else:
                outcomes[n] = StaleEpoch(self._places.epoch)
        if not asked:
            return []
        sent = commits if len(asked) == len(commits) else [commits[n] for n in asked]
        replies = await self._calls.commit(self._places.keys, sent, self._notes)
        again: list[int] = []
        for n, reply in zip(asked, replies, strict=True):
            outcome: Outcome | None
            if isinstance(reply, CacheUnavailable):
                outcome = Undecided(reply)
            else:
                outcome = outcome_of(reply)
                if outcome is None:
                    outcome = await self._look_closer(commits[n], reply)
            if outcome is None:
                again.append(n)
            else:
                outcomes[n] = outcome
                self._notes.note_doubt(commits[n], outcome)
        return again

    async def _look_closer(self, commit: Commit, reply: Sequence[Any]) -> Outcome | None:
        """Return the outcome where the reply alone does not say it; None where the commit must be sent again."""
        kind = reply[0]
        if kind == b"c":
            large = await self._reader.large_record(commit.key)
            return Conflict(ABSENT if large is None else large)
        if kind == b"u":
            return Undecided(CommitUncertain(f"too much has happened to {commit.key!r} since the reply was lost"))
        if kind == b"!":
            message = f"Redis at {self._source.name} refused a commit to {commit.key!r}: {reply[1].decode()}"
            return Undecided(CommitUncertain(message) if reply[2] else CacheUnavailable(message))
        if kind == b"e" and int(reply[1]) > self._places.epoch:
            await self._places.refresh()
            return StaleEpoch(self._places.epoch)
        return None

    async def flush(self) -> int:
        reader = self._opened()
        epoch = await self._places.begin_epoch(flushed=True)
        await reader.clear_away()
        return epoch


def _check_whole(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidDefinition(f"{name} must be a whole number from {least} to {most}, got {value!r}")


def _check_seconds(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidDefinition(f"{name} must be a number of seconds greater than 0, got {value!r}")
