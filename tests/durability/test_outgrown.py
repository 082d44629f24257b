"""One group has outgrown what the store can hold: the others still get there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

from milepost import CountTracker, RecordTooLarge, RedisDataCache, SQLiteDataStore, TrackingManager
from milepost.records import RecordChange
from milepost.testing import ManualClock
from tests.servers.valkey import ValkeyServer

_prefixes = count()


class Narrow(SQLiteDataStore):
    """A store in which one group has no room."""

    has_room = False

    async def save(self, changes: Sequence[RecordChange]) -> None:
        if not self.has_room and any(change.key == "outgrown" for change in changes):
            raise RecordTooLarge("no room for outgrown")
        await super().save(changes)


async def test_the_others_are_saved(redis_server: ValkeyServer, tmp_path: Path) -> None:
    """More groups than go at once wait behind it: all are saved; it is said which is not, and that is tried again."""
    store = Narrow(tmp_path / "t.db")
    cache = RedisDataCache("127.0.0.1", redis_server.port, key_prefix=f"outgrown{next(_prefixes)}")
    async with TrackingManager(cache, store, clock=ManualClock()) as manager:
        assert manager._flusher is not None
        await manager.add_tracker("outgrown", CountTracker("n", 10))
        for n in range(600):
            await manager.add_tracker(f"g{n}", CountTracker("n", 10))
        with pytest.raises(RecordTooLarge, match="no room for outgrown"):
            await manager._flusher.flush()
        assert manager.status().backlog == 1
        assert len({key async for key in store.keys("g*")}) == 600
        store.has_room = True
        await manager._flusher.flush()
        assert manager.status().backlog == 0


class Letting(RedisDataCache):
    """Counts how often idle groups are looked for."""

    looks = 0

    async def let_go(self) -> None:
        self.looks += 1
        await super().let_go()


async def test_idle_groups_leave_redis_all_the_same(redis_server: ValkeyServer, tmp_path: Path) -> None:
    """One group is never saved: what the store has still leaves Redis in time, or that would fill up."""
    clock = ManualClock()
    cache = Letting("127.0.0.1", redis_server.port, key_prefix=f"outgrown{next(_prefixes)}")
    store = Narrow(tmp_path / "t.db")
    async with TrackingManager(cache, store, clock=clock, flush_interval=1) as manager:
        await manager.add_tracker("outgrown", CountTracker("n", 10))
        await clock.advance(1)
        async with asyncio.timeout(10):
            while manager.status().store_error is None:
                await asyncio.sleep(0.01)
        assert cache.looks == 1
        store.has_room = True
