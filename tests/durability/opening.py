"""Managers over SQLite files, as these tests need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milepost import CountTracker, MemoryDataCache, SQLiteDataStore, TrackingManager
from milepost.testing import ManualClock
from tests.survival.where import Where, progress_in_store

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


async def progress_in(path: Path) -> dict[str, float]:
    """Return what the file itself says, read beside whoever has it open: progress by group and name."""
    return await progress_in_store(Where.store_at(path, synchronous="OFF"))
