"""Managers over SQLite files, as these tests need them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from milepost import CountTracker, MemoryDataCache, SQLiteDataStore, TrackingManager
from milepost.testing import ManualClock
from milepost.trackers.blueprint import blueprint_from_text
from milepost.trackers.rows import decode_row, hash_in

__all__ = ["far", "manager_over", "progress_in", "store_over"]


def far(name: str = "n") -> CountTracker:
    """Return a tracker that counts everything and does not complete."""
    return CountTracker(name=name, target=1_000_000)


def store_over(path: Path, **settings: Any) -> SQLiteDataStore:
    """Return a store that does not wait for the disk."""
    return SQLiteDataStore(path, **{"synchronous": "OFF", **settings})


def manager_over(path: Path, *, max_groups: int = 100, clock: ManualClock, **settings: Any) -> TrackingManager:
    """Return a manager over a file."""
    store = settings.pop("data_store", None) or store_over(path)
    return TrackingManager(MemoryDataCache(max_groups=max_groups), store, clock=clock, **settings)


@asynccontextmanager
async def _opened(path: Path) -> AsyncGenerator[SQLiteDataStore, None]:
    store = store_over(path)
    await store.open(ManualClock(), 256)
    try:
        yield store
    finally:
        await store.aclose()


async def progress_in(path: Path) -> dict[str, float]:
    """Return what the file itself says, read beside whoever has it open: progress by group and name."""
    found: dict[str, float] = {}
    async with _opened(path) as store:
        keys = [key async for key in store.keys("*")]
        for key, record in (await store.load(keys)).items():
            for name, text in record.rows.items():
                hash = hash_in(text)
                assert hash is not None
                (definition,) = (await store.definitions([hash])).values()
                blueprint = blueprint_from_text(hash, definition)
                row = decode_row(key, name, text, lambda _, found=blueprint: found)  # type: ignore[misc]
                if not row.life.removed:
                    found[f"{key}.{name}"] = float(row.progress)
    return found
