"""The SQLite store keeps what adapters promise, in a file that several processes may share and in memory."""

from __future__ import annotations

from milepost.data_stores.sqlite import SQLiteDataStore
from milepost.testing.suites import DataStoreSuite


class TestSQLiteDataStore(DataStoreSuite):
    lasting = shared = leased = True

    def connect(self) -> SQLiteDataStore:
        return SQLiteDataStore(self.folder / "t.db", synchronous="OFF")


class TestSQLiteDataStoreInMemory(DataStoreSuite):
    """``:memory:`` lasts as long as it is open."""

    def connect(self) -> SQLiteDataStore:
        return SQLiteDataStore(":memory:")
