"""The Redis transport keeps the promises of all: on a stand-in for the server, on a real one and on a cluster."""

from __future__ import annotations

from itertools import count
from typing import Any

import fakeredis
import pytest

from milepost import Transport
from milepost.bus.transports.redis import RedisTransport
from milepost.testing import TransportSuite
from tests.servers.valkey import ValkeyCluster, ValkeyServer

_prefixes = count()
_PARTITIONS = 16


class OnRedis(TransportSuite):
    """A prefix of its own for each test: nobody else's events are in the way."""

    @pytest.fixture(autouse=True)
    def _choose_prefix(self) -> None:
        self.prefix = f"bus{next(_prefixes)}"

    def settings(self, size: int = 100_000) -> dict[str, Any]:
        """Return settings; each partition keeps its share, and these tests publish into one of them."""
        return {"key_prefix": self.prefix, "size": size * _PARTITIONS}


class TestFakeRedis(OnRedis):
    @pytest.fixture(autouse=True)
    def _one_server(self) -> None:
        self.server = fakeredis.FakeServer()

    def connect(self, **settings: Any) -> Transport:
        return RedisTransport(client=fakeredis.FakeAsyncRedis(server=self.server), **self.settings(**settings))


class TestRedis(OnRedis):
    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: ValkeyServer) -> None:
        self.port = redis_server.port

    def connect(self, **settings: Any) -> Transport:
        return RedisTransport("127.0.0.1", self.port, **self.settings(**settings))


class TestRedisCluster(OnRedis):
    @pytest.fixture(autouse=True)
    def _use_cluster(self, redis_cluster: ValkeyCluster) -> None:
        self.port = redis_cluster.port

    def connect(self, **settings: Any) -> Transport:
        url = f"redis+cluster://127.0.0.1:{self.port}"
        return RedisTransport.from_url(url, **self.settings(**settings))
