"""The set-ups that several processes share, each with an empty place of its own and, where it is asked for, a proxy."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from milepost import MongoDBDataStore, RedisDataCache, SQLiteDataStore, TrackingManager
from milepost.data_caches.base import BaseDataCache
from milepost.data_stores.base import BaseDataStore
from milepost.testing import ManualClock
from tests.faults.proxy import Proxy

__all__ = ["BEFORE_A_STORE", "OVER_A_NETWORK", "SETUPS", "SetUp", "build", "progress_of"]

SETUPS = ("redis", "redis+sqlite", "redis+mongodb", "mongodb", "sqlite")
OVER_A_NETWORK = ("redis", "redis+mongodb", "mongodb")
BEFORE_A_STORE = ("redis+sqlite", "redis+mongodb")

_places = count()

# What a set-up is made from, so that another process can make the same: {"redis": [port, prefix],
# "mongodb": [url, database], "sqlite": path}.
Place = dict[str, Any]


def build(place: Place) -> dict[str, Any]:
    """Return the adapters for a place, as ``TrackingManager`` takes them."""
    adapters: dict[str, BaseDataCache | BaseDataStore] = {}
    if "redis" in place:
        port, prefix = place["redis"]
        adapters["data_cache"] = RedisDataCache("127.0.0.1", port, key_prefix=prefix)
    if "mongodb" in place:
        url, database = place["mongodb"]
        adapters["data_store"] = MongoDBDataStore(url, database=database)
    if "sqlite" in place:
        adapters["data_store"] = SQLiteDataStore(place["sqlite"], synchronous="OFF")
    return adapters


class SetUp:
    """A set-up, and managers over it as several processes would have them.

    Args:
        way: one of ``SETUPS``.
        redis_port: where Redis is; 0 where there is none.
        mongodb_url: where MongoDB is; empty where there is none.
        database: the name of a database that nobody has.
        folder: for a file.
    """

    def __init__(self, way: str, redis_port: int, mongodb_url: str, database: str, folder: Path) -> None:
        self.way = way
        self.clock = ManualClock()
        self.place: Place = {}
        if "redis" in way:
            self.place["redis"] = [redis_port, f"interleaved{next(_places)}"]
        if "mongodb" in way:
            self.place["mongodb"] = [mongodb_url, database]
        if "sqlite" in way:
            self.place["sqlite"] = str(folder / "t.db")

    @property
    def decides(self) -> str:
        """Which of them acknowledges commits."""
        return self.way.partition("+")[0]

    def manager(self, **settings: Any) -> TrackingManager:
        """Return a manager that was not started; its clock stands still, so nothing is flushed by itself."""
        return TrackingManager(**{"clock": self.clock, **build(self.place), **settings})

    @asynccontextmanager
    async def proxied(self, **settings: Any) -> AsyncGenerator[tuple[TrackingManager, Proxy], None]:
        """Open a manager that comes to who decides through a proxy."""
        place = dict(self.place)
        if self.decides == "redis":
            port = place["redis"][0]
        else:
            port = int(place["mongodb"][0].rpartition(":")[2])
        async with Proxy("127.0.0.1", port) as proxy:
            if self.decides == "redis":
                place["redis"] = [proxy.port, place["redis"][1]]
            else:
                place["mongodb"] = [f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true", place["mongodb"][1]]
            async with TrackingManager(**{"clock": self.clock, **build(place), **settings}) as manager:
                yield manager, proxy

    @staticmethod
    async def save(manager: TrackingManager) -> None:
        """Have the store that follows, if there is one, see everything."""
        if manager._flusher is not None:
            await manager._flusher.flush()

    async def let_go(self, manager: TrackingManager) -> None:
        """Have the store see everything, and nothing stay in Redis."""
        await self.save(manager)
        cache = manager.data_cache
        assert isinstance(cache, RedisDataCache)
        await cache._led().evict(0)


async def progress_of(manager: TrackingManager, group: str = "g") -> dict[str, float]:
    """Return what a manager says of a group: progress by name."""
    return {tracker.name: float(tracker.progress) for tracker in await manager.get_trackers(group)}
