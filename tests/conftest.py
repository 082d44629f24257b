"""What tests share: the three ways to keep groups, a clock that stands still, and no blocking of the loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from milepost import MemoryDataStore, MongoDBDataStore, RedisDataCache, SQLiteDataStore, TrackingManager
from milepost.testing import EventRecorder, ManualClock
from tests.servers.fixtures import (
    mongodb,
    nats_server,
    own_mongodb,
    own_nats,
    own_sentinels,
    redis_cluster,
    redis_sentinels,
    redis_server,
)

__all__ = [
    "mongodb",
    "nats_server",
    "own_mongodb",
    "own_nats",
    "own_sentinels",
    "redis_cluster",
    "redis_sentinels",
    "redis_server",
]

_numbers = count()

WAYS = ("memory", "sqlite through", "sqlite behind", "redis", "mongodb")


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    """Fail a test in which milepost makes a blocking call inside a running loop."""
    with blockbuster_ctx("milepost") as blocking:
        # PyMongo looks whether it runs in a container, once for each server that it begins to watch.
        blocking.functions["os.stat"].can_block_in("pymongo/pool_options.py", "get_container_env_info")
        # fakeredis looks up which redis-py there is for each connection; the real driver does so for each client.
        blocking.functions["os.stat"].can_block_in("redis/utils.py", "get_lib_version")
        blocking.functions["io.TextIOWrapper.read"].can_block_in("redis/utils.py", "get_lib_version")
        yield


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until the test moves it."""
    return ManualClock()


class Place:
    """Somewhere to keep groups, which several managers can open one after the other."""

    def __init__(self, way: str, clock: ManualClock, folder: Path, server: Any = None) -> None:
        self.way = way
        self._server = server
        self._name = f"{folder.name}.{next(_numbers)}"
        self.clock = clock
        self.path = folder / "t.db"
        self._memory = MemoryDataStore()

    def manager(self, **settings: Any) -> TrackingManager:
        """Return a manager over this place that was not started."""
        settings = {"clock": self.clock, **settings}
        if self.way == "memory":
            return TrackingManager(data_store=self._memory, **settings)
        if self.way == "redis":
            settings["data_cache"] = RedisDataCache("127.0.0.1", self._server.port, key_prefix=self._name)
            return TrackingManager(**settings)
        if self.way == "mongodb":
            return TrackingManager(data_store=MongoDBDataStore(self._server.url, prefix=self._name), **settings)
        return TrackingManager(
            data_store=SQLiteDataStore(self.path, synchronous="OFF"), write=self.way.split()[1], **settings
        )


@pytest.fixture(params=WAYS)
def place(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> Place:
    """Each way to keep groups in turn; opening it again is a restart."""
    servers = {"redis": "redis_server", "mongodb": "mongodb"}
    server = request.getfixturevalue(servers[request.param]) if request.param in servers else None
    return Place(request.param, clock, tmp_path, server)


@pytest.fixture(params=WAYS[1:3])
def file_place(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> Place:
    """The ways that survive a restart because they are written to a file."""
    return Place(request.param, clock, tmp_path)


@pytest.fixture
async def manager(place: Place) -> AsyncIterator[TrackingManager]:
    """A started manager, over each way to keep groups in turn."""
    async with place.manager() as started:
        yield started


@pytest.fixture
def recorder(manager: TrackingManager) -> EventRecorder:
    """What ``manager`` announces."""
    return EventRecorder(manager)


@pytest.fixture
async def in_memory(clock: ManualClock) -> AsyncIterator[TrackingManager]:
    """A started manager in memory alone, for rules that have nothing to do with where groups are kept."""
    async with TrackingManager(clock=clock) as started:
        yield started


@pytest.fixture
def heard(in_memory: TrackingManager) -> EventRecorder:
    """What ``in_memory`` announces."""
    return EventRecorder(in_memory)
