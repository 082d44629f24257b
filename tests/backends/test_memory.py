"""The memory cache and the memory store keep what adapters promise, alone and one leading the other."""

from __future__ import annotations

import pytest

from milepost.data_caches.memory import MemoryDataCache
from milepost.data_stores.memory import MemoryDataStore
from milepost.testing.suites import DataCacheSuite, DataStoreSuite


class TestMemoryDataCache(DataCacheSuite):
    def connect(self) -> MemoryDataCache:
        return MemoryDataCache()


class TestMemoryDataStore(DataStoreSuite):
    def connect(self) -> MemoryDataStore:
        return MemoryDataStore()


class TestMemoryDataStoreOfTwoManagers(DataStoreSuite):
    """Two managers may be given the same store object."""

    shared = True

    @pytest.fixture(autouse=True)
    def _one_store(self) -> None:
        self.store = MemoryDataStore()

    def connect(self) -> MemoryDataStore:
        return self.store


class TestMemoryDataCacheLeading(DataCacheSuite):
    """A cache that decides, and a store that follows it (here never told anything)."""

    def connect(self) -> MemoryDataCache:
        cache = MemoryDataCache()
        cache.lead(MemoryDataStore())
        return cache
