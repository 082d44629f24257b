"""Servers as fixtures: started once for a test run, skipped with a word on how to get them where they are missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from tests.servers.mongodb import MongoServer, Unavailable
from tests.servers.nats import NatsServer
from tests.servers.sentinel import ValkeySentinels
from tests.servers.valkey import ValkeyCluster, ValkeyServer


def started(server: MongoServer) -> MongoServer:
    """Start a server; where there is none to be had the test is skipped, but in CI it fails."""
    try:
        server.start()
    except Unavailable as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    return server


class Startable(Protocol):
    """A server of the tests."""

    def start(self) -> None:
        """Start it."""
        ...

    def stop(self) -> None:
        """Stop it."""
        ...


S = TypeVar("S", bound=Startable)


@contextmanager
def running(server: S) -> Iterator[S]:
    """Start a server, and stop it in the end, also where it did not come up."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """A MongoDB that all tests share; each takes a database of its own."""
    server = started(MongoServer(tmp_path_factory.mktemp("mongodb")))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def own_mongodb(tmp_path: Path) -> Iterator[MongoServer]:
    """A MongoDB of the test's own, which it may stop, kill and start again."""
    server = MongoServer(tmp_path)
    if not server.is_ours:
        pytest.skip("MILEPOST_TEST_MONGODB_URL names a server that is not ours to stop")
    started(server)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Redis server that keeps nothing on disk."""
    with running(ValkeyServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """A Redis cluster of three nodes."""
    with running(ValkeyCluster(tmp_path_factory.mktemp("cluster"))) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A NATS server that tests share; each takes streams and subjects of its own."""
    with running(NatsServer(tmp_path_factory.mktemp("nats"))) as server:
        yield server


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS server of the test's own, which it may stop, kill and start again."""
    with running(NatsServer(tmp_path / "nats")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeySentinels]:
    """A Redis server with a replica, under three sentinels."""
    with running(ValkeySentinels(tmp_path_factory.mktemp("sentinels"), replicas=1)) as sentinels:
        yield sentinels


@pytest.fixture
def own_sentinels(tmp_path: Path) -> Iterator[ValkeySentinels]:
    """A Redis server with two replicas, under three sentinels, which the test may kill."""
    with running(ValkeySentinels(tmp_path / "sentinels")) as sentinels:
        yield sentinels
