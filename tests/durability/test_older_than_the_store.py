"""A Redis that comes back with less than the store has: groups go on from the newest, and the loss is told of."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import milepost.backends.redis.places as places
from milepost import (
    CommitUncertain,
    CountTracker,
    DataLost,
    MongoDBDataStore,
    RedisDataCache,
    RedisTransport,
    SQLiteDataStore,
    StoreUnavailable,
    TrackingManager,
)
from milepost.data_stores.base import BaseDataStore
from milepost.records import CacheMark, LoadedRecord, RecordChange, Standing
from tests.faults.proxy import Proxy
from tests.servers.mongodb import MongoServer
from tests.servers.valkey import ValkeyCluster, ValkeyServer, command

GROUPS = 12


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ValkeyServer]:
    """A server of the test's own, which keeps what it is told to save."""
    monkeypatch.setattr(places, "_HEALING_MS", 300)
    server = ValkeyServer(tmp_path / "redis")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def restart(*servers: ValkeyServer) -> None:
    """Kill servers and start them again with what they had saved."""
    for server in servers:
        server.kill()
    for server in servers:
        server.start()


def save(server: ValkeyServer) -> None:
    """Have what the server holds come back when it is started again."""
    command(server.port, "SAVE")


@asynccontextmanager
async def over(
    cache: RedisDataCache | ValkeyServer, store: BaseDataStore, told: list[DataLost] | None = None
) -> AsyncIterator[TrackingManager]:
    """Open a manager."""
    if isinstance(cache, ValkeyServer):
        cache = RedisDataCache("127.0.0.1", cache.port, patience=2.0)
    manager = TrackingManager(cache, store, flush_interval=0.05)
    if told is not None:
        manager.add_listener(DataLost, told.append)
    async with manager:
        yield manager


async def count_on(manager: TrackingManager, times: int = 1) -> None:
    """Track an event for each group, so many times."""
    for _ in range(times):
        await asyncio.gather(*(manager.track(f"g{n}", {}) for n in range(GROUPS)))


async def counts(manager: TrackingManager) -> list[Any]:
    """Return how far the tracker of each group is."""
    found = [await manager.get_tracker(f"g{n}", "n") for n in range(GROUPS)]
    return [None if tracker is None else tracker.progress for tracker in found]


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture(params=["sqlite", "mongodb"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], BaseDataStore]:
    """What makes a store, always over the same data."""
    if request.param == "sqlite":
        return lambda: SQLiteDataStore(tmp_path / "t.db")
    mongodb: MongoServer = request.getfixturevalue("mongodb")
    return lambda: MongoDBDataStore(mongodb.url, database=tmp_path.name)


async def test_an_older_group_gives_way_to_the_stores(
    server: ValkeyServer, new_store: Callable[[], BaseDataStore]
) -> None:
    """Nobody holds anything: what the store has newer is what a new process reads and counts on from."""
    async with over(server, new_store()) as manager:
        for n in range(GROUPS):
            await manager.add_tracker(f"g{n}", CountTracker("n", 100))
        await asyncio.to_thread(save, server)
        await count_on(manager, 3)
        await manager.add_tracker("g0", CountTracker("another", 100))
        await manager.track("g1", {}, event_id="known")
    await asyncio.to_thread(restart, server)
    async with over(server, new_store()) as manager:
        await count_on(manager)
        assert await counts(manager) == [4, 5] + [4] * (GROUPS - 2)
        assert (await manager.track("g1", {}, event_id="known")).duplicate
        assert [tracker.name for tracker in await manager.get_trackers("g0")] == ["n", "another"]
    async with TrackingManager(data_store=new_store()) as alone:
        assert await counts(alone) == [4, 5] + [4] * (GROUPS - 2)


async def test_what_the_store_has_not_seen_is_newer(server: ValkeyServer, tmp_path: Path) -> None:
    """Redis has what the store had not been told of: that stays, and the store is told."""
    async with over(server, SQLiteDataStore(tmp_path / "t.db")) as manager:
        await manager.add_tracker("g0", CountTracker("n", 100))
    cache = RedisDataCache("127.0.0.1", server.port)
    store = SQLiteDataStore(tmp_path / "t.db")
    lone = TrackingManager(cache, store, flush_interval=3600)
    await lone.track("g0", {})
    await asyncio.to_thread(save, server)
    lone._flusher = None  # it dies before it can flush
    await lone.aclose()
    await asyncio.to_thread(restart, server)
    async with over(server, SQLiteDataStore(tmp_path / "t.db")) as manager:
        assert (await counts(manager))[0] == 1
    async with TrackingManager(data_store=SQLiteDataStore(tmp_path / "t.db")) as alone:
        assert (await counts(alone))[0] == 1


async def test_what_was_removed_stays_removed(server: ValkeyServer, new_store: Callable[[], BaseDataStore]) -> None:
    """Redis comes back with a group that was removed since; it is gone for everybody, and can be begun anew."""
    async with over(server, new_store()) as manager:
        for n in range(GROUPS):
            await manager.add_tracker(f"g{n}", CountTracker("n", 100), expire=3600)
        await asyncio.to_thread(save, server)
        await count_on(manager)
        for n in (0, 1):
            await manager.remove_tracker(f"g{n}")
    await asyncio.to_thread(restart, server)
    async with over(server, new_store()) as manager:
        there = {key async for key in manager.data_cache.keys("*")}
        assert there == {f"g{n}" for n in range(2, GROUPS)}
        assert await counts(manager) == [None, None] + [1] * (GROUPS - 2)
        await manager.add_tracker("g0", CountTracker("n", 100))
        await count_on(manager)
        assert await counts(manager) == [1, None] + [2] * (GROUPS - 2)


async def test_a_removal_that_the_store_has_forgotten(server: ValkeyServer, tmp_path: Path) -> None:
    """A store remembers removals for a time; what it had confirmed once and has no more was removed all the same."""
    path = tmp_path / "t.db"
    async with over(server, SQLiteDataStore(path)) as manager:
        await manager.add_tracker("g0", CountTracker("n", 100))
        await manager.add_tracker("g1", CountTracker("n", 100))
    await asyncio.to_thread(save, server)
    async with over(server, SQLiteDataStore(path)) as manager:
        await manager.remove_tracker("g0")

    def forget() -> None:
        connection = sqlite3.connect(path)
        connection.execute("DELETE FROM gone")
        connection.commit()
        connection.close()

    await asyncio.to_thread(forget)
    await asyncio.to_thread(restart, server)
    async with over(server, SQLiteDataStore(path)) as manager:
        assert (await counts(manager))[:2] == [None, 0]


async def test_a_store_that_is_begun_anew_takes_nothing_away(server: ValkeyServer, tmp_path: Path) -> None:
    """Behind a Redis that was restarted there is an empty store: that says nothing of what is in Redis."""
    async with over(server, SQLiteDataStore(tmp_path / "t.db")) as manager:
        await manager.add_tracker("g0", CountTracker("n", 100))
        await manager.track("g0", {})
    await asyncio.to_thread(save, server)
    await asyncio.to_thread(restart, server)
    async with over(server, SQLiteDataStore(tmp_path / "new.db")) as manager:
        assert (await counts(manager))[0] == 1
    async with TrackingManager(data_store=SQLiteDataStore(tmp_path / "new.db")) as alone:
        assert (await counts(alone))[0] == 1


async def test_what_was_flushed_stays_flushed(server: ValkeyServer, new_store: Callable[[], BaseDataStore]) -> None:
    """Redis comes back as it was before everything was deleted; nobody is left who did it, but the store knows."""
    async with over(server, new_store()) as manager:
        for n in range(GROUPS):
            await manager.add_tracker(f"g{n}", CountTracker("n", 100))
        await asyncio.to_thread(save, server)
        await manager.flush(confirm=True)
        await manager.add_tracker("g0", CountTracker("n", 100))
    await asyncio.to_thread(restart, server)
    async with over(server, new_store()) as manager:
        assert await counts(manager) == [0] + [None] * (GROUPS - 1)


async def test_several_processes_mend_at_once(server: ValkeyServer, tmp_path: Path) -> None:
    """Whoever comes first to a group compares it, others go on from there, and every call counts once."""
    path = tmp_path / "t.db"
    async with over(server, SQLiteDataStore(path)) as manager:
        for n in range(GROUPS):
            await manager.add_tracker(f"g{n}", CountTracker("n", 1000))
        await asyncio.to_thread(save, server)
        await count_on(manager, 7)
    await asyncio.to_thread(restart, server)
    async with AsyncExitStack() as stack:
        managers = [await stack.enter_async_context(over(server, SQLiteDataStore(path))) for _ in range(3)]
        await asyncio.gather(*(count_on(manager, 5) for manager in managers))
        for manager in managers:
            assert await counts(manager) == [22] * GROUPS
        assert sum(manager.status().restored for manager in managers) == GROUPS
    async with TrackingManager(data_store=SQLiteDataStore(path)) as alone:
        assert await counts(alone) == [22] * GROUPS


async def test_when_all_is_compared_it_costs_nothing_more(server: ValkeyServer, tmp_path: Path) -> None:
    """When every group has been compared, Redis keeps no trace of the doubt that would make commits slower."""
    path = tmp_path / "t.db"
    told: list[DataLost] = []
    async with over(server, SQLiteDataStore(path)) as manager:
        for n in range(GROUPS):
            await manager.add_tracker(f"g{n}", CountTracker("n", 100))
        await asyncio.to_thread(save, server)
        await count_on(manager, 2)
    await asyncio.to_thread(restart, server)
    async with over(server, SQLiteDataStore(path), told) as manager:
        await until(lambda: told)
        assert (told[0].from_store, told[0].complete) == (GROUPS, True)
        keys = manager.data_cache._places.keys  # type: ignore[attr-defined]
        for number in range(16):
            state = keys.state(number).decode()
            assert await asyncio.to_thread(command, server.port, "HGET", state, "healing") in (b"$-1\r\n", b"_\r\n")
            left = keys.of(number, "k").decode()
            assert await asyncio.to_thread(command, server.port, "EXISTS", left) == b":0\r\n"
        assert await counts(manager) == [2] * GROUPS


# --- a store that is down ------------------------------------------------------------------


class Fragile(SQLiteDataStore):
    """A store that can be down."""

    down = False

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("the store is down for a while")

    async def load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        self._check()
        return await super().load(keys)

    async def standings(self, keys: Sequence[str]) -> dict[str, Standing]:
        self._check()
        return await super().standings(keys)

    async def cache_mark(self) -> CacheMark | None:
        self._check()
        return await super().cache_mark()

    async def save(self, changes: Sequence[RecordChange]) -> None:
        self._check()
        await super().save(changes)


async def test_while_the_store_is_down_nothing_goes_on_from_the_past(server: ValkeyServer, tmp_path: Path) -> None:
    """What cannot be known to be the newest can be neither read nor tracked; when the store answers, all is there."""
    store = Fragile(tmp_path / "t.db")
    told: list[DataLost] = []
    async with over(server, SQLiteDataStore(tmp_path / "t.db")) as gone:
        for n in range(GROUPS):
            await gone.add_tracker(f"g{n}", CountTracker("n", 100))
        await asyncio.to_thread(save, server)
        await count_on(gone, 3)
    async with over(server, store, told) as manager:
        store.down = True
        await asyncio.to_thread(restart, server)
        with pytest.raises(StoreUnavailable, match="down for a while"):
            await manager.track("g0", {})
        with pytest.raises(StoreUnavailable):
            await manager.get_trackers("g1")
        await until(lambda: told)
        assert not told[0].complete
        store.down = False
        await count_on(manager)
        assert await counts(manager) == [4] * GROUPS
        await until(lambda: told[-1].complete)
        assert told[-1].epoch == told[0].epoch


async def test_what_a_process_holds_waits_for_the_store(server: ValkeyServer, tmp_path: Path) -> None:
    """Redis comes back empty while the store is down: what a process held is not given up, but offered later."""
    store = Fragile(tmp_path / "t.db")
    async with over(server, store) as manager:
        for n in range(GROUPS):
            await manager.add_tracker(f"g{n}", CountTracker("n", 100))
        store.down = True
        await count_on(manager, 3)
        await asyncio.to_thread(restart, server)
        with pytest.raises(StoreUnavailable):
            await manager.track("g0", {})
        store.down = False
        await until(lambda: manager.status().restored == GROUPS)
        await count_on(manager)
        assert await counts(manager) == [4] * GROUPS


class Interrupted(SQLiteDataStore):
    """A store in which something happens right after it was read where records stand."""

    happens: Callable[[], Awaitable[None]] | None = None

    async def standings(self, keys: Sequence[str]) -> dict[str, Standing]:
        found = await super().standings(keys)
        happens, self.happens = self.happens, None
        if happens is not None:
            await happens()
        return found


async def test_what_is_saved_while_it_is_compared_is_not_taken_for_removed(
    server: ValkeyServer, tmp_path: Path
) -> None:
    """The store did not have a group when it was asked, and has it when Redis is told: that is no removal."""
    async with over(server, SQLiteDataStore(tmp_path / "t.db")) as manager:
        await manager.add_tracker("g1", CountTracker("n", 100))
    lone = TrackingManager(
        RedisDataCache("127.0.0.1", server.port), SQLiteDataStore(tmp_path / "t.db"), flush_interval=3600
    )
    await lone.add_tracker("g0", CountTracker("n", 100))
    await lone.track("g0", {})
    await asyncio.to_thread(save, server)
    lone._flusher = None  # it dies before it can flush
    await lone.aclose()
    await asyncio.to_thread(restart, server)
    store = Interrupted(tmp_path / "t.db")
    cache = RedisDataCache("127.0.0.1", server.port)

    async def flush() -> None:
        changes = await cache.unsaved(100)
        await store.save(changes)
        await cache.saved(changes)

    store.happens = flush
    told: list[DataLost] = []
    manager = TrackingManager(cache, store, flush_interval=3600)
    manager.add_listener(DataLost, told.append)
    async with manager:
        await until(lambda: told)
        assert store.happens is None
        assert (await counts(manager))[:2] == [1, 0]
    async with TrackingManager(data_store=SQLiteDataStore(tmp_path / "t.db")) as alone:
        assert (await counts(alone))[:2] == [1, 0]


# --- told -----------------------------------------------------------------------------------


async def test_an_empty_redis_is_noticed_when_nobody_is_left(
    server: ValkeyServer, new_store: Callable[[], BaseDataStore], caplog: pytest.LogCaptureFixture
) -> None:
    """The store knows that it followed a cache: a Redis in which there is nothing has lost it, and that is told."""
    first: list[DataLost] = []
    told: list[DataLost] = []
    async with over(server, new_store(), first) as manager:
        await manager.add_tracker("g0", CountTracker("n", 100))
    await asyncio.to_thread(restart, server)
    with caplog.at_level(logging.WARNING, "milepost"):
        async with over(server, new_store(), told) as manager:
            await until(lambda: told)
            assert (await counts(manager))[0] == 0
    assert not first  # a cache that is begun has lost nothing
    (event,) = told
    assert event.empty
    assert event.partitions == tuple(range(16))
    assert 0 < event.epoch_before < event.epoch
    assert (event.from_processes, event.from_store, event.behind) == (0, 0, 0)
    assert "has lost its data" in caplog.text


@pytest.mark.parametrize("durable", [False, True])
async def test_a_loss_is_told_to_whoever_listens(server: ValkeyServer, tmp_path: Path, durable: bool) -> None:
    """Listeners by code and by class, subscriptions by pattern and handlers of the bus hear of a loss."""
    cache = RedisDataCache("127.0.0.1", server.port)
    bus = RedisTransport("127.0.0.1", server.port) if durable else None
    async with TrackingManager(cache, SQLiteDataStore(tmp_path / "t.db"), bus=bus) as manager:
        heard: list[tuple[str, Any]] = []
        manager.add_listener("data.lost", lambda event: heard.append(("code", event)))
        manager.add_listener(DataLost, lambda event: heard.append(("class", event)))

        @manager.bus.on("data.lost", durable="audit" if durable else None)
        async def handle(ctx: Any) -> None:
            heard.append(("bus", ctx.event))

        async with manager.subscribe("data.*") as losses, manager.subscribe() as of_trackers:
            await manager.add_tracker("g0", CountTracker("n", 100))
            await manager.track("g0", {})
            await asyncio.to_thread(restart, server)
            await manager.track("g0", {})
            await until(lambda: len(heard) == 3)
            event = await losses.get()
            types = {of_trackers.get_nowait().type for _ in range(of_trackers.waiting)}
            assert types == {"tracker.added", "tracker.progressed"}
    assert isinstance(event, DataLost)
    assert {how for how, _ in heard} == {"code", "class", "bus"}
    assert {got.id for _, got in heard} == {event.id}
    assert (event.code, event.subject, event.from_processes, event.complete) == ("data.lost", None, 1, True)


# --- on a cluster ------------------------------------------------------------------------------


async def test_one_node_of_a_cluster_comes_back_with_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was on that node is in doubt, and goes on from what the store has."""
    monkeypatch.setattr(places, "_HEALING_MS", 300)
    cluster = ValkeyCluster(tmp_path / "cluster")
    cluster.start()

    def cache() -> RedisDataCache:
        return RedisDataCache.from_url(f"redis+cluster://127.0.0.1:{cluster.nodes[1].port}", partitions=6)

    def come_back() -> None:
        restart(cluster.nodes[0])
        until_when = time.monotonic() + 20
        while any(b"cluster_state:ok" not in command(node.port, "CLUSTER", "INFO") for node in cluster.nodes):
            assert time.monotonic() < until_when
            time.sleep(0.05)

    told: list[DataLost] = []
    try:
        async with over(cache(), SQLiteDataStore(tmp_path / "t.db")) as manager:
            for n in range(GROUPS):
                await manager.add_tracker(f"g{n}", CountTracker("n", 100))
            await asyncio.to_thread(save, cluster.nodes[0])
            await count_on(manager, 3)
        await asyncio.to_thread(come_back)
        async with over(cache(), SQLiteDataStore(tmp_path / "t.db"), told) as manager:
            await count_on(manager)
            assert await counts(manager) == [4] * GROUPS
            await until(lambda: told)
        assert told[0].partitions == (0, 1)
        assert 0 < told[0].from_store < GROUPS
    finally:
        cluster.stop()


# --- replies and saves from before ----------------------------------------------------------------


async def test_a_commit_whose_reply_died_with_the_server_applies_once(tmp_path: Path) -> None:
    """Redis keeps a commit, its reply is lost and the server with it: without an id of the event too it counts once."""
    server = ValkeyServer(tmp_path / "redis", options=("--appendonly", "yes", "--appendfsync", "always"))
    server.start()
    try:
        async with (
            Proxy("127.0.0.1", server.port) as proxy,
            TrackingManager(RedisDataCache("127.0.0.1", proxy.port)) as manager,
        ):
            await manager.add_tracker("g0", CountTracker("n", 100))
            for n in range(5):
                proxy.lose_reply_to(lambda sent: b"EVALSHA" in sent, then_refuse=True)
                tracking = asyncio.ensure_future(manager.track("g0", {}))
                await until(lambda n=n: proxy.lost_replies > n)  # type: ignore[misc]
                await asyncio.to_thread(restart, server)
                await proxy.accept()
                assert (await tracking).ok
                assert (await counts(manager))[0] == n + 1
    finally:
        server.stop()


async def test_a_commit_that_was_lost_with_its_reply_counts_once(server: ValkeyServer, tmp_path: Path) -> None:
    """Redis comes back from before such a commit, and the store may have it: it is made again or uncertain."""
    async with Proxy("127.0.0.1", server.port) as proxy:
        cache = RedisDataCache("127.0.0.1", proxy.port)
        async with over(cache, SQLiteDataStore(tmp_path / "t.db")) as manager:
            await manager.add_tracker("g0", CountTracker("n", 100))
            proxy.lose_reply_to(lambda sent: b"EVALSHA" in sent, then_refuse=True)
            tracking = asyncio.ensure_future(manager.track("g0", {}, event_id="1"))
            await until(lambda: proxy.lost_replies)
            await asyncio.to_thread(restart, server)
            await proxy.accept()
            with suppress(CommitUncertain):
                await tracking
            await manager.track("g0", {}, event_id="1")
            assert (await counts(manager))[0] == 1


async def test_a_save_that_arrives_late_is_gone_over(server: ValkeyServer, tmp_path: Path) -> None:
    """The store is told late of what Redis has lost meanwhile: it follows what was acknowledged since, all of it."""
    path = tmp_path / "t.db"
    store = SQLiteDataStore(path)
    async with over(server, store) as manager:
        await manager.add_trackers("g0", [CountTracker("n", 100), CountTracker("other", 100)])
        await manager._flusher.flush()  # type: ignore[union-attr]
        await asyncio.to_thread(save, server)
        assert manager._flusher is not None
        async with manager._flusher._one_at_a_time:
            for _ in range(5):
                await manager.track("g0", {})
            late = await manager.data_cache.unsaved(100)  # type: ignore[attr-defined]
            manager._table.clear()
            await asyncio.to_thread(restart, server)
            for _ in range(2):
                await manager.track("g0", {})
            assert (await counts(manager))[0] == 2
            await store.save(late)
            assert await manager.data_cache.saved(late) == []  # type: ignore[attr-defined]
            await manager.track("g0", {})
        assert (await counts(manager))[0] == 3
    async with TrackingManager(data_store=SQLiteDataStore(path)) as alone:
        assert (await counts(alone))[0] == 3
        other = await alone.get_tracker("g0", "other")
        assert other is not None
        assert other.progress == 3


async def test_a_removal_is_kept_from_who_had_not_heard(server: ValkeyServer, tmp_path: Path) -> None:
    """Who removed a group is gone and Redis is empty: the store knows, and who still holds it brings nothing back."""
    path = tmp_path / "t.db"
    async with over(server, SQLiteDataStore(path)) as late:
        async with over(server, SQLiteDataStore(path)) as gone:
            for n in range(2):
                await gone.add_tracker(f"g{n}", CountTracker("n", 100))
            await late.track("g0", {})
            await gone.remove_tracker("g0")
        await asyncio.to_thread(restart, server)
        assert (await counts(late))[:2] == [None, 0]
