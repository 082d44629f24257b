"""Fixtures of servers, started when the first test wants them and stopped after the last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.valkey import ValkeyCluster, ValkeyServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Redis server that keeps nothing on disk."""
    server = ValkeyServer(tmp_path_factory.mktemp("redis"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """A Redis cluster of three nodes."""
    cluster = ValkeyCluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
