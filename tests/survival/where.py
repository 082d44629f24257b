"""Where groups are kept, as a value that can be sent to another process, and managers that open it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from milepost import MemoryDataCache, MongoDBDataStore, RedisDataCache, SQLiteDataStore, TrackingManager
from milepost.data_caches.base import BaseDataCache
from milepost.data_stores.base import BaseDataStore
from milepost.data_stores.memory import MemoryDataStore
from milepost.records import Authority
from milepost.testing import ManualClock
from milepost.trackers.blueprint import blueprint_from_text
from milepost.trackers.rows import decode_row, hash_in

__all__ = ["Where", "progress_held", "progress_in_store"]


class Where(NamedTuple):
    """URLs of a cache and a store, and the settings of both; JSON can carry it.

    Args:
        cache: ``memory://`` or Redis.
        store: ``memory://``, SQLite or MongoDB.
        write: as for ``TrackingManager``; None for what is the default for this pair.
        cache_settings: for the cache.
        store_settings: for the store.
    """

    cache: str = "memory://"
    store: str = "memory://"
    write: str | None = None
    cache_settings: dict[str, Any] = {}  # noqa: RUF012
    store_settings: dict[str, Any] = {}  # noqa: RUF012

    @classmethod
    def store_at(cls, place: Path | str, **sqlite_settings: Any) -> Self:
        """Return a place in MongoDB, by its URL, or in a SQLite file, for which the settings are."""
        if "://" in str(place):
            return cls(store=str(place))
        return cls(store=f"sqlite:///{place}", store_settings=sqlite_settings)

    @property
    def led_by_redis(self) -> bool:
        """Whether Redis decides commits, and a store follows if there is one."""
        return not self.cache.startswith("memory")

    @property
    def lasts(self) -> bool:
        """Whether there is a store that outlasts the processes."""
        return not self.store.startswith("memory")

    def data_cache(self) -> BaseDataCache:
        """Return the cache, not open."""
        if self.led_by_redis:
            return RedisDataCache.from_url(self.cache, **self.cache_settings)
        return MemoryDataCache(**self.cache_settings)

    def data_store(self) -> BaseDataStore:
        """Return the store, not open."""
        if self.store.startswith("sqlite:///"):
            return SQLiteDataStore(self.store.removeprefix("sqlite:///"), **self.store_settings)
        if self.store.startswith("mongodb"):
            return MongoDBDataStore.from_url(self.store, **self.store_settings)
        return MemoryDataStore()

    def manager(self, *, data_store: BaseDataStore | None = None, **settings: Any) -> TrackingManager:
        """Return a manager, not started."""
        return TrackingManager(
            self.data_cache(),
            self.data_store() if data_store is None else data_store,
            write=self.write,  # type: ignore[arg-type]
            **settings,
        )

    def authority_of(self, manager: TrackingManager) -> Authority:
        """Return what decides the commits of a manager that was opened here."""
        return manager.data_cache if self.led_by_redis else manager.data_store


async def progress_held(adapter: Authority, keys: Sequence[str] | None = None) -> dict[str, float]:
    """Return what an open adapter holds, without an engine around it: progress by group and name.

    Args:
        adapter: a cache or a store.
        keys: of which groups; None for all.
    """
    found: dict[str, float] = {}
    if keys is None:
        keys = [key async for key in adapter.keys("*")]
    texts: dict[str, str] = {}
    for start in range(0, len(keys), 500):
        for key, record in (await adapter.load(keys[start : start + 500])).items():
            for name, row in record.rows.items():
                text = row if isinstance(row, str) else row.encoded()
                hash = hash_in(text)
                assert hash is not None
                if hash not in texts:
                    texts.update(await adapter.definitions([hash]))
                blueprint = blueprint_from_text(hash, texts[hash])
                decoded = decode_row(key, name, text, lambda _, found=blueprint: found)  # type: ignore[misc]
                if not decoded.life.removed:
                    found[f"{key}.{name}"] = float(decoded.progress)
    return found


async def progress_in_store(where: Where) -> dict[str, float]:
    """Return what the store alone has, read beside whoever has it open."""
    store = where.data_store()
    await store.open(ManualClock(), 256)
    try:
        return await progress_held(store)
    finally:
        await store.aclose()
