"""The Redis cache keeps what adapters promise while a store follows it, and saves and evicts as it goes along."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest

from milepost.data_caches.redis import RedisDataCache
from milepost.data_stores.memory import MemoryDataStore
from milepost.records import Commit, Outcome
from milepost.testing.suites import DataCacheSuite
from tests.servers.valkey import ValkeyCluster, ValkeyServer

_prefixes = count()


class Restless(RedisDataCache):
    """Saves and lets go whatever it can before each commit, so that everything is always in the store alone."""

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        assert self._store is not None
        if changes := await self.unsaved(1000):
            await self._store.save(changes)
            assert await self.saved(changes) == []
        await self._led().evict(0)
        return await super().commit(commits)

    async def next_deadline(self) -> float | None:
        return await self._earliest_here()  # what the store has may be early, until it is told

    async def flush(self) -> int:
        assert self._store is not None
        await super().flush()
        await self._store.flush()
        return await super().flush()


class BeforeAStore(DataCacheSuite):
    lasting = shared = True

    @pytest.fixture(autouse=True)
    def _choose_place(self) -> None:
        self.prefix = f"led{next(_prefixes)}"
        self.store = MemoryDataStore()

    def lead(self, cache: RedisDataCache) -> RedisDataCache:
        cache.lead(self.store)
        return cache


class TestRedisLeading(BeforeAStore):
    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: ValkeyServer) -> None:
        self.port = redis_server.port

    def connect(self) -> RedisDataCache:
        return self.lead(RedisDataCache("127.0.0.1", self.port, key_prefix=self.prefix))


class TestRedisLettingGo(BeforeAStore):
    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: ValkeyServer) -> None:
        self.port = redis_server.port

    def connect(self) -> RedisDataCache:
        return self.lead(Restless("127.0.0.1", self.port, key_prefix=self.prefix))


class TestRedisClusterLettingGo(BeforeAStore):
    @pytest.fixture(autouse=True)
    def _use_cluster(self, redis_cluster: ValkeyCluster) -> None:
        self.port = redis_cluster.port

    def connect(self) -> RedisDataCache:
        return self.lead(
            Restless.from_url(f"redis+cluster://127.0.0.1:{self.port}", key_prefix=self.prefix, partitions=4)
        )
