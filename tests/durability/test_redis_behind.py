"""A store follows Redis: what is saved, what is read back, what leaves Redis, and what a store that is down costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest

import milepost.data_caches.redis as redis_cache
from milepost import (
    CountTracker,
    InvalidDefinition,
    MemoryDataStore,
    RedisDataCache,
    SQLiteDataStore,
    StoreUnavailable,
    TrackingManager,
)
from milepost.data_stores.base import RecordChange
from milepost.records import LoadedRecord
from milepost.testing import ManualClock
from tests.servers.valkey import ValkeyServer

_prefixes = count()


class Store(MemoryDataStore):
    """A store that lasts as long as the test, can be down, and can be slow to answer a load."""

    lasting: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.saves: list[str] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked = asyncio.Event()

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("down for the test")

    async def save(self, changes: Sequence[RecordChange]) -> None:
        self._check()
        await asyncio.sleep(0)
        self.saves += [change.key for change in changes]
        await super().save(changes)

    async def load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        self._check()
        found = await super().load(keys)
        self.asked.set()
        await self.answering.wait()
        return found


class Site:
    """A prefix on the server, and managers over it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.prefix = f"behind{next(_prefixes)}"
        self.clock = ManualClock()

    def cache(self, **settings: Any) -> RedisDataCache:
        return RedisDataCache("127.0.0.1", self.port, key_prefix=self.prefix, **settings)

    def manager(self, store: MemoryDataStore | SQLiteDataStore, **settings: Any) -> TrackingManager:
        return TrackingManager(self.cache(), store, clock=self.clock, **settings)


@pytest.fixture
def site(redis_server: ValkeyServer) -> Site:
    """A prefix of the test's own."""
    return Site(redis_server.port)


async def progress(manager: TrackingManager, group: str = "g", name: str = "n") -> Any:
    """Return how far a tracker is."""
    tracker = await manager.get_tracker(group, name)
    return None if tracker is None else tracker.progress


async def let_everything_go(manager: TrackingManager) -> int:
    """Flush, and let all records leave Redis."""
    cache = manager.data_cache
    assert isinstance(cache, RedisDataCache)
    assert manager._flusher is not None
    await manager._flusher.flush()
    return await cache._led().evict(0)


async def test_the_store_has_everything_after_closing(site: Site, tmp_path: Path) -> None:
    """What Redis acknowledged is in the store when the manager was closed, rows, event ids and definitions."""
    path = tmp_path / "t.db"
    async with site.manager(SQLiteDataStore(path)) as manager:
        await manager.add_tracker("g", CountTracker("n", [10, 20]))
        for n in range(15):
            await manager.track("g", {}, event_id=f"{n}")
    async with TrackingManager(data_store=SQLiteDataStore(path), clock=site.clock) as alone:
        assert await progress(alone) == 15
        assert (await alone.track("g", {}, event_id="3")).duplicate
        (tracker,) = await alone.get_trackers("g")
        assert tracker.target == 20


async def test_the_store_follows_an_interval_later(site: Site) -> None:
    """The backlog is visible, and worked off when the interval is over."""
    store = Store()
    async with site.manager(store, flush_interval=5.0) as manager:
        for group in "abc":
            await manager.add_tracker(group, CountTracker("n", 10))
        assert store.saves == []
        assert await manager.data_cache.measure() == manager.status().backlog == 3  # type: ignore[attr-defined]
        await site.clock.advance(5.0)
        async with asyncio.timeout(10):
            while len(store.saves) < 3:
                await asyncio.sleep(0.001)
        assert sorted(store.saves) == ["a", "b", "c"]


async def test_the_backlog_is_what_is_left(site: Site) -> None:
    """After a flush the status tells of nothing that the store has seen."""
    async with site.manager(Store()) as manager:
        for group in "abc":
            await manager.add_tracker(group, CountTracker("n", 10))
        await let_everything_go(manager)
        assert manager.status().backlog == 0


async def test_what_left_redis_is_read_from_the_store(site: Site) -> None:
    """A group that is idle leaves Redis when the store has it, and goes on from there when it is wanted again."""
    async with site.manager(Store()) as manager:
        await manager.add_tracker("g", CountTracker("n", 10))
        await manager.track("g", {}, event_id="1")
        assert await let_everything_go(manager) == 1
        assert await manager.data_cache.is_cached("g") is False
        assert [group async for group in manager.groups()] == ["g"]
        assert (await manager.track("g", {}, event_id="1")).duplicate
        assert (await manager.track("g", {})).dirtied[0].progress == 2
        assert await manager.data_cache.is_cached("g", "n") is True


async def test_only_what_the_store_confirmed_leaves_redis(site: Site) -> None:
    """However idle, a group that the store has not seen as it is stays."""
    store = Store()
    async with site.manager(store) as manager:
        await manager.add_tracker("g", CountTracker("n", 10))
        await let_everything_go(manager)
        await manager.track("g", {})
        store.down = True
        with pytest.raises(StoreUnavailable):
            await let_everything_go(manager)
        cache = manager.data_cache
        assert isinstance(cache, RedisDataCache)
        assert await cache._led().evict(0) == 0
        assert await cache.is_cached("g") is True
        store.down = False


async def test_idle_groups_leave_by_themselves(site: Site) -> None:
    """With ``idle`` set they leave in the background, after a flush."""
    store = Store()
    manager = TrackingManager(site.cache(idle=0.5), store, flush_interval=0.01)
    async with manager, asyncio.timeout(20):
        await manager.add_tracker("g", CountTracker("n", 10))
        while await manager.data_cache.is_cached("g"):
            await asyncio.sleep(0.01)
        assert await progress(manager) == 0


async def test_tracking_goes_on_while_the_store_is_down(site: Site) -> None:
    """Groups in Redis are tracked; one that would have to be read raises and is not begun; then all is worked off."""
    store = Store()
    async with site.manager(store, flush_interval=1.0) as manager:
        await manager.add_tracker("g", CountTracker("n", 100))
        await manager.add_tracker("away", CountTracker("n", 100))
        await let_everything_go(manager)
        await manager.track("g", {})
        store.down = True
        calls = [*(manager.track("g", {}) for _ in range(20)), manager.track("away", {}), manager.track("new", {})]
        *fine, away, new = await asyncio.gather(*calls, return_exceptions=True)
        assert not any(isinstance(result, BaseException) for result in fine)
        assert isinstance(away, StoreUnavailable)
        assert isinstance(new, StoreUnavailable)
        await site.clock.advance(1.0)
        async with asyncio.timeout(10):
            while manager.status().store_error is None:
                await asyncio.sleep(0.001)
        assert manager.status().backlog == 1
        store.down = False
        await let_everything_go(manager)
        assert manager.status().store_error is None
        assert await progress(manager) == 21
        assert (await manager.track("away", {})).dirtied[0].progress == 1


async def test_nobody_waits_for_a_silent_store_who_need_not(site: Site) -> None:
    """While the store does not answer one load, other groups are tracked as ever."""
    store = Store()
    async with site.manager(store) as manager:
        await manager.add_tracker("g", CountTracker("n", 100))
        store.answering.clear()
        waiting = asyncio.ensure_future(manager.track("new", {}))
        await store.asked.wait()
        async with asyncio.timeout(5):
            for _ in range(10):
                await manager.track("g", {})
        assert not waiting.done()
        store.answering.set()
        assert (await waiting).ok


async def test_several_flushers_share_the_work(site: Site) -> None:
    """Four processes that flush at the same time save each group once between them."""
    store = Store()
    caches = [site.cache() for _ in range(4)]
    managers = [TrackingManager(cache, store, clock=site.clock) for cache in caches]
    for manager in managers:
        await manager.start()
    for n in range(300):
        await managers[0].add_tracker(f"g{n}", CountTracker("n", 10))
    flushers = [manager._flusher for manager in managers]
    await asyncio.gather(*(flusher.flush() for flusher in flushers if flusher is not None))
    assert sorted(store.saves) == sorted(f"g{n}" for n in range(300))
    for manager in managers:
        await manager.aclose()
    assert len(store.saves) == 300


async def test_what_a_dead_flusher_had_taken_is_taken_over(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process took and did not save is free again when its lease has ended."""
    monkeypatch.setattr(redis_cache, "_LEASE", 0.05)
    store = Store()
    async with site.manager(store) as manager:
        await manager.add_tracker("g", CountTracker("n", 10))
        cache = manager.data_cache
        assert isinstance(cache, RedisDataCache)
        assert [change.key for change in await cache.unsaved(10)] == ["g"]
        async with asyncio.timeout(10):
            while not (taken := await cache.unsaved(10)):
                await asyncio.sleep(0.005)
        assert [change.key for change in taken] == ["g"]
        await cache.not_saved(taken)


async def test_what_changed_while_it_was_saved_is_saved_again(site: Site) -> None:
    """A confirmation is for the revision that was saved: a later one stays in the backlog."""
    store = Store()
    async with site.manager(store) as manager:
        await manager.add_tracker("g", CountTracker("n", 10))
        cache = manager.data_cache
        assert isinstance(cache, RedisDataCache)
        taken = await cache.unsaved(10)
        await manager.track("g", {})
        await store.save(taken)
        await cache.saved(taken)
        assert await cache.measure() == 1
        assert await let_everything_go(manager) == 1
        assert await progress(manager) == 1


async def test_a_slow_fill_that_was_overtaken_is_refused(site: Site) -> None:
    """Between load and fill others read, change, save and let go the group: the old state does not come back."""
    slow, fast = Store(), Store()
    slow.table = fast.table  # one store, two connections
    slow._definitions = fast._definitions
    async with site.manager(fast) as quick:
        await quick.add_tracker("g", CountTracker("n", 100))
        await let_everything_go(quick)
        async with site.manager(slow) as late:
            slow.answering.clear()
            tracking = asyncio.ensure_future(late.track("g", {}))
            await slow.asked.wait()
            for _ in range(5):
                await quick.track("g", {})
            await let_everything_go(quick)
            slow.answering.set()
            assert (await tracking).dirtied[0].progress == 6
        assert await progress(quick) == 6


async def test_a_group_begun_and_let_go_meanwhile_is_not_begun_twice(site: Site) -> None:
    """The store said that there is nothing; before the first commit somebody else began the group and it left Redis."""
    slow, fast = Store(), Store()
    slow.table = fast.table
    slow._definitions = fast._definitions
    async with site.manager(fast) as quick, site.manager(slow) as late:
        for manager in (quick, late):
            manager.declare("g", CountTracker("n", 100))
        slow.answering.clear()
        tracking = asyncio.ensure_future(late.track("g", {}))
        await slow.asked.wait()
        for _ in range(5):
            await quick.track("g", {})
        await let_everything_go(quick)
        slow.answering.set()
        assert (await tracking).dirtied[0].progress == 6


async def test_removals_reach_the_store(site: Site) -> None:
    """A removed group is gone from the store after a flush, and nothing brings it back from there before."""
    store = Store()
    async with site.manager(store) as manager:
        await manager.add_tracker("g", CountTracker("n", 100))
        await let_everything_go(manager)
        assert await manager.remove_tracker("g")
        async with site.manager(store) as other:
            assert await other.get_trackers("g") == []
            await let_everything_go(manager)
            assert await store.load(["g"]) == {}
            assert await other.get_trackers("g") == []
            await other.add_tracker("g", CountTracker("n", 100))
            await let_everything_go(other)
            assert await progress(manager) == 0


async def test_a_flush_amid_writers_leaves_nothing_of_before(site: Site) -> None:
    """``flush(confirm=True)`` while four managers track: what was before is gone from Redis and store for good."""
    store = Store()
    managers = [TrackingManager(site.cache(), store, flush_interval=0.01) for _ in range(4)]
    for manager in managers:
        await manager.start()
    flushed = False

    async def write(manager: TrackingManager, who: int) -> None:
        n = 0
        while not flushed:
            n += 1
            await manager.add_tracker(f"old {who} {n}", CountTracker("n", 100), if_exists="keep")
            await manager.track(f"old {who} {n % 7}", {})

    writers = [asyncio.ensure_future(write(manager, who)) for who, manager in enumerate(managers)]
    async with asyncio.timeout(30):
        while len(store.saves) < 50:
            await asyncio.sleep(0.001)
        await managers[0].flush(confirm=True)
    flushed = True
    await asyncio.gather(*writers)
    assert await managers[0].flush(confirm=True)
    for manager in managers:
        assert [group async for group in manager.groups()] == []
    for manager in managers:
        await manager.add_tracker("new", CountTracker("n", 100), if_exists="keep")
        await manager.track("new", {})
    await let_everything_go(managers[1])
    assert [key async for key in store.keys("*")] == ["new"]
    assert await progress(managers[2], "new") == 4
    for manager in managers:
        await manager.aclose()


async def test_what_was_saved_after_a_flush_is_taken_back(site: Site) -> None:
    """A process that was saving while another flushed everything removes from the store what it saved too late."""
    store = Store()
    async with site.manager(store) as late, site.manager(store) as other:
        await late.add_tracker("g", CountTracker("n", 10))
        cache = late.data_cache
        assert isinstance(cache, RedisDataCache)
        taken = await cache.unsaved(10)
        await other.flush(confirm=True)
        assert late._flusher is not None
        await late._flusher._save(taken)
        assert await store.load(["g"]) == {}


async def test_a_store_may_come_later(site: Site) -> None:
    """Groups that were in Redis before a store followed are saved too."""
    async with TrackingManager(site.cache(), clock=site.clock) as alone:
        for n in range(30):
            await alone.add_tracker(f"g{n}", CountTracker("n", 10))
        await alone.remove_tracker("g7")
    store = Store()
    async with site.manager(store) as manager:
        await let_everything_go(manager)
        assert sorted(store.saves) == sorted(f"g{n}" for n in range(30))
        assert await progress(manager, "g3") == 0


async def test_nobody_works_without_the_store_that_follows(site: Site) -> None:
    """Where a store follows, groups may be in the store alone: a manager without it is refused at the start."""
    async with site.manager(Store()):
        with pytest.raises(InvalidDefinition, match="data_store"):
            await TrackingManager(site.cache()).start()


async def test_expiry_of_what_is_in_the_store_alone(site: Site) -> None:
    """A group that left Redis expires on time, with its event."""
    expired: list[str] = []
    async with site.manager(Store()) as manager:
        manager.add_listener("tracker.expired", lambda event: expired.append(event.group_id))
        await manager.add_tracker("g", CountTracker("n", 10), expire=60)
        await let_everything_go(manager)
        async with asyncio.timeout(10):
            while not expired:
                await site.clock.advance(10)
                await asyncio.sleep(0.005)
        assert expired == ["g"]
        assert await manager.get_trackers("g") == []
        assert site.clock.time() >= 60


async def test_a_very_large_group(site: Site) -> None:
    """Three thousand trackers: read page by page, saved, let go and filled; a race brings only what changed."""
    store = Store()
    async with site.manager(store) as manager:
        await manager.add_trackers("g", [CountTracker(f"n{n}", 10) for n in range(3000)])
        await manager.track("g", {})
        async with site.manager(store) as other:
            assert len(await other.get_trackers("g")) == 3000
            await manager.remove_tracker("g", "n5")
            await manager.update_tracker("g", CountTracker("n6", 99))
            before = other.status().conflicts
            names = [tracker.name for tracker in await other.get_trackers("g")]
            assert "n5" not in names
            assert len(names) == 2999
            assert other.status().conflicts == before + 1
            await let_everything_go(manager)
            trackers = await other.get_trackers("g", ["n6", "n7"])
            assert [(tracker.progress, tracker.target) for tracker in trackers] == [(1, 99), (1, 10)]
