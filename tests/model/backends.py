"""How each backend brings itself to the suites that compare it with the model."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import fakeredis
from pymongo import MongoClient

from milepost import MemoryDataCache, MemoryDataStore, MongoDBDataStore, RedisDataCache, SQLiteDataStore
from tests.servers.mongodb import MongoServer
from tests.servers.valkey import ValkeyServer

_numbers = count()


class Backend:
    """How a backend brings itself: what a manager is given, each time that it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prepare()

    def prepare(self) -> None:
        """Make what outlasts a restart."""

    def settings(self) -> dict[str, Any]:
        """Return what ``TrackingManager`` is given."""
        raise NotImplementedError

    def discard(self) -> None:
        """Let go of what outlasts the folder."""


class Memory(Backend):
    def prepare(self) -> None:
        self.store = MemoryDataStore()

    def settings(self) -> dict[str, Any]:
        return {"data_store": self.store}


class SQLiteThrough(Backend):
    def settings(self) -> dict[str, Any]:
        return {"data_store": SQLiteDataStore(self.folder / "t.db", synchronous="OFF"), "write": "through"}


class SQLiteEvicting(SQLiteThrough):
    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "data_cache": MemoryDataCache(max_groups=2)}


class SQLiteBehind(SQLiteThrough):
    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "write": "behind"}


class SQLiteBehindEvicting(SQLiteEvicting):
    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "write": "behind"}


class FakeRedis(Backend):
    def prepare(self) -> None:
        self.server = fakeredis.FakeServer()

    def settings(self) -> dict[str, Any]:
        return {"data_cache": RedisDataCache(client=fakeredis.FakeAsyncRedis(server=self.server))}


class Redis(Backend):
    server: ValkeyServer

    def prepare(self) -> None:
        self.prefix = f"model{next(_numbers)}"

    def settings(self) -> dict[str, Any]:
        return {"data_cache": RedisDataCache("127.0.0.1", self.server.port, key_prefix=self.prefix)}


class MongoDBThrough(Backend):
    mongodb: MongoServer

    def prepare(self) -> None:
        self.database = self.mongodb.new_database()

    def settings(self) -> dict[str, Any]:
        return {"data_store": MongoDBDataStore(self.mongodb.url, database=self.database), "write": "through"}

    def discard(self) -> None:
        with MongoClient[dict[str, Any]](self.mongodb.url) as client:
            client.drop_database(self.database)


class MongoDBEvicting(MongoDBThrough):
    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "data_cache": MemoryDataCache(max_groups=2)}


class MongoDBBehind(MongoDBEvicting):
    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "write": "behind"}


class RedisBeforeMongoDB(Redis, MongoDBThrough):
    def prepare(self) -> None:
        Redis.prepare(self)
        MongoDBThrough.prepare(self)

    def settings(self) -> dict[str, Any]:
        return {**MongoDBThrough.settings(self), **Redis.settings(self), "write": "behind"}


class LettingGo(RedisDataCache):
    """Lets every group go that the store has, as soon as it has it."""

    async def let_go(self) -> None:
        await self._led().evict(0)


class RedisLettingGoBeforeMongoDB(RedisBeforeMongoDB):
    def settings(self) -> dict[str, Any]:
        cache = LettingGo("127.0.0.1", self.server.port, key_prefix=self.prefix)
        return {**super().settings(), "data_cache": cache}
