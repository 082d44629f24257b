"""How each backend brings itself to the suites that compare it with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from milepost import MemoryDataCache, MemoryDataStore, MongoDBDataStore, SQLiteDataStore
from tests.servers.mongodb import MongoServer


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


class MongoDBEvicting(Backend):
    """Several groups share a place in memory, so that they are read from MongoDB again and again."""

    server: ClassVar[MongoServer]

    def prepare(self) -> None:
        self.database = self.server.new_database()

    def settings(self) -> dict[str, Any]:
        store = MongoDBDataStore(self.server.url, database=self.database)
        return {"data_store": store, "data_cache": MemoryDataCache(max_groups=2), "write": "through"}


class MongoDBBehind(MongoDBEvicting):
    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "write": "behind"}
