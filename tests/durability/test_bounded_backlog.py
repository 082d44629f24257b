"""A store that stays away: what it has not seen is bounded, what goes beyond is refused whole, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from milepost import (
    BacklogFull,
    CountTracker,
    InvalidDefinition,
    MemoryDataCache,
    RedisDataCache,
    SQLiteDataStore,
    StoreUnavailable,
    TrackingManager,
)
from milepost.data_caches.base import BaseDataCache
from milepost.records import RecordChange

BOUND = 8
_prefixes = count()


class Fragile(SQLiteDataStore):
    """A store that takes nothing while it is down, and can be read."""

    down = True

    async def save(self, changes: Sequence[RecordChange]) -> None:
        if self.down:
            raise StoreUnavailable("the store is down for a while")
        await super().save(changes)


@pytest.fixture(params=["memory", "fakeredis", "redis", "cluster"])
def cache(request: pytest.FixtureRequest) -> BaseDataCache:
    """A cache that may be so far ahead of its store."""
    settings: dict[str, Any] = {
        "max_backlog": BOUND,
        "partitions": 1,
        "key_prefix": f"backlog{next(_prefixes)}",
    }
    match request.param:
        case "memory":
            return MemoryDataCache(max_backlog=BOUND)
        case "fakeredis":
            return RedisDataCache(client=fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer()), **settings)
        case "redis":
            return RedisDataCache("127.0.0.1", request.getfixturevalue("redis_server").port, **settings)
    port = request.getfixturevalue("redis_cluster").port
    return RedisDataCache.from_url(f"redis+cluster://127.0.0.1:{port}", **settings)


def manager_of(cache: BaseDataCache, store: SQLiteDataStore) -> TrackingManager:
    """Return a manager in front of a store that follows."""
    manager = TrackingManager(cache, store, write="behind", flush_interval=0.05)
    manager.declare("*", CountTracker("n", 1_000_000))
    return manager


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def test_the_backlog_ends_at_its_bound(cache: BaseDataCache, tmp_path: Path) -> None:
    """Groups that are behind go on, one more is refused and unchanged, and all is well when the store is back."""
    store = Fragile(tmp_path / "t.db")
    async with manager_of(cache, store) as manager:
        for n in range(BOUND):
            await manager.track(f"g{n}", {})
        await until(lambda: manager.status().store_error)
        for _ in range(3):
            with pytest.raises(BacklogFull, match="down for a while") as refused:
                await manager.track("more", {})
            for n in range(BOUND):
                assert (await manager.track(f"g{n}", {})).ok
        assert (refused.value.backlog, refused.value.bound) == (BOUND, BOUND)
        assert "max_backlog" in str(refused.value)
        assert await progress(manager) == [4] * BOUND + [0]
        with pytest.raises(BacklogFull):
            await manager.add_tracker("added", CountTracker("x", 5))
        assert [tracker.name for tracker in await manager.get_trackers("added")] == ["n"]
        await until(lambda: manager.status().backlog == BOUND)
        assert manager.status().max_backlog == BOUND
        store.down = False
        await until(lambda: not manager.status().backlog)
        assert (await manager.track("more", {})).ok
        assert await progress(manager) == [4] * BOUND + [1]
    async with TrackingManager(data_store=SQLiteDataStore(tmp_path / "t.db")) as alone:
        assert await progress(alone) == [4] * BOUND + [1]


async def progress(manager: TrackingManager) -> list[Any]:
    """Return how far each group is."""
    found = [await manager.get_tracker(key, "n") for key in [*(f"g{n}" for n in range(BOUND)), "more"]]
    return [None if tracker is None else tracker.progress for tracker in found]


async def test_a_group_that_is_saved_already_is_one_more(cache: BaseDataCache, tmp_path: Path) -> None:
    """A group that the store has as it is counts when it changes, or is removed; reading it always goes."""
    store = Fragile(tmp_path / "t.db")
    store.down = False
    async with manager_of(cache, store) as manager:
        await manager.add_tracker("saved", CountTracker("x", 100))
        await manager.track("saved", {})
        assert manager._flusher is not None
        await manager._flusher.flush()
        store.down = True
        for n in range(BOUND):
            await manager.track(f"g{n}", {})
        for _ in range(2):
            with pytest.raises(BacklogFull):
                await manager.track("saved", {})
            with pytest.raises(BacklogFull):
                await manager.remove_tracker("saved", "x")
            tracker = await manager.get_tracker("saved", "x")
            assert tracker is not None
            assert tracker.progress == 1
        store.down = False


async def test_many_callers_at_the_bound(cache: BaseDataCache, tmp_path: Path) -> None:
    """Whoever comes together when there is no room for all: who is told that it counted has counted, nobody else."""
    store = Fragile(tmp_path / "t.db")
    counted: dict[str, int] = {}
    async with manager_of(cache, store) as manager:

        async def track(group: str) -> None:
            with suppress(BacklogFull):
                assert (await manager.track(group, {})).ok
                counted[group] = counted.get(group, 0) + 1

        for _ in range(3):
            await asyncio.gather(*(track(f"g{n}") for n in range(4 * BOUND)))
        assert len(counted) == BOUND
        store.down = False
        for n in range(4 * BOUND):
            tracker = await manager.get_tracker(f"g{n}", "n")
            assert tracker is not None
            assert tracker.progress == counted.get(f"g{n}", 0)


async def test_events_that_only_this_process_has_are_bounded(tmp_path: Path) -> None:
    """In memory the events of groups that are behind wait too: when there are too many, those that cause more wait."""
    store = Fragile(tmp_path / "t.db")
    cache = MemoryDataCache(max_backlog=BOUND)
    async with TrackingManager(cache, store, write="behind", flush_interval=0.05) as manager:
        await manager.add_tracker("g", CountTracker("n", 2, loop_forever=True))
        refused = 0
        for _ in range(100):
            try:
                await manager.track("g", {})
            except BacklogFull:
                refused += 1
        assert refused
        assert cache._unsaved_events <= BOUND
        tracker = await manager.get_tracker("g", "n")
        store.down = False
        await until(lambda: not manager.status().backlog)
        assert tracker == await manager.get_tracker("g", "n")
        assert (await manager.track("g", {})).ok


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None, "many"])
def test_a_bound_that_is_none(wrong: Any) -> None:
    """A bound is a whole number of at least 1; anything else is refused, and the setting is named."""
    for make in (MemoryDataCache, RedisDataCache):
        with pytest.raises(InvalidDefinition, match="max_backlog"):
            make(max_backlog=wrong)
