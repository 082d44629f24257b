"""The Redis cache keeps what adapters promise: on a stand-in for the server, on a real one and on a cluster."""

from __future__ import annotations

from itertools import count

import fakeredis
import pytest

from milepost.data_caches.redis import RedisDataCache
from milepost.testing.suites import DataCacheSuite
from tests.servers.sentinel import ValkeySentinels
from tests.servers.valkey import ValkeyCluster, ValkeyServer

_prefixes = count()


class OnRedis(DataCacheSuite):
    """A prefix of its own for each test: nobody else's records are in the way."""

    shared = lasting = True

    @pytest.fixture(autouse=True)
    def _choose_prefix(self) -> None:
        self.prefix = f"suite{next(_prefixes)}"


class TestFakeRedis(OnRedis):
    @pytest.fixture(autouse=True)
    def _one_server(self) -> None:
        self.server = fakeredis.FakeServer()

    def connect(self) -> RedisDataCache:
        return RedisDataCache(client=fakeredis.FakeAsyncRedis(server=self.server), key_prefix=self.prefix)


class TestRedis(OnRedis):
    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: ValkeyServer) -> None:
        self.port = redis_server.port

    def connect(self) -> RedisDataCache:
        return RedisDataCache("127.0.0.1", self.port, key_prefix=self.prefix)


class TestRedisCluster(OnRedis):
    @pytest.fixture(autouse=True)
    def _use_cluster(self, redis_cluster: ValkeyCluster) -> None:
        self.port = redis_cluster.port

    def connect(self) -> RedisDataCache:
        return RedisDataCache.from_url(f"redis+cluster://127.0.0.1:{self.port}", key_prefix=self.prefix)


class TestRedisSentinel(OnRedis):
    @pytest.fixture(autouse=True)
    def _use_sentinels(self, redis_sentinels: ValkeySentinels) -> None:
        self.url = redis_sentinels.url

    def connect(self) -> RedisDataCache:
        return RedisDataCache.from_url(self.url, key_prefix=self.prefix)
