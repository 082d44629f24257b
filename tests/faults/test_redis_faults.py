"""Redis that fails: replies that are lost, scripts that are forgotten, slots that move, silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from milepost import CacheUnavailable, CommitUncertain, CountTracker, SQLiteDataStore, TrackingManager
from milepost.backends.redis.keys import Keys, slot_of
from milepost.data_caches.redis import RedisDataCache
from milepost.records import Committed, Conflict, Revision
from milepost.testing import ManualClock
from milepost.testing.suites.material import (
    INCARNATION,
    SOME_DEFINITIONS,
    commit_to,
    events_of,
    outbox_ids,
    read,
    send,
    texts,
)
from tests.faults.proxy import Proxy
from tests.servers.valkey import ValkeyCluster, ValkeyServer, command

_prefixes = count()
FIRST = Revision(INCARNATION, 1)


@asynccontextmanager
async def opened(port: int, **settings: Any) -> AsyncIterator[RedisDataCache]:
    """An open cache with a prefix of its own."""
    settings.setdefault("key_prefix", f"fault{next(_prefixes)}")
    cache = RedisDataCache("127.0.0.1", port, **settings)
    await cache.open(ManualClock(), 256)
    try:
        await cache.put_definitions(SOME_DEFINITIONS)
        yield cache
    finally:
        await cache.aclose()


def is_commit(request: bytes) -> bool:
    """Whether a request names the event of these tests."""
    return b'"lost reply"' in request


async def test_a_commit_whose_reply_is_lost_applies_once(redis_server: ValkeyServer) -> None:
    """The connection is cut between the commit and its reply: asked again by its id, it is told that it is done."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy, opened(proxy.port) as cache:
        proxy.lose_reply_to(is_commit)
        assert await send(cache, "a", None, {"x": "1"}, events=events_of("lost reply")) == Committed()
        assert proxy.lost_replies == 1
        assert (await read(cache, "a")).revision == FIRST
        assert await outbox_ids(cache) == ["lost reply"]


async def test_counts_are_exact_where_replies_are_lost(redis_server: ValkeyServer) -> None:
    """Forty calls at once, and every few of them the reply is lost: each counts once and tells its caller so."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy:
        cache = RedisDataCache("127.0.0.1", proxy.port, key_prefix=f"fault{next(_prefixes)}")
        async with TrackingManager(cache) as manager:
            await manager.add_tracker("g", CountTracker("n", 1000))
            for _ in range(10):
                proxy.lose_reply_to(lambda request: b"EVALSHA" in request)
                await asyncio.gather(*(manager.track("g", {}) for _ in range(40)))
            assert proxy.lost_replies == 10
            tracker = await manager.get_tracker("g", "n")
            assert tracker is not None
            assert tracker.progress == 400


async def test_a_server_that_is_no_master_any_more_is_left(tmp_path: Path) -> None:
    """It became a replica and kept its connections: who commits looks for the master, for as long as patience lasts."""
    server = ValkeyServer(tmp_path)
    server.start()
    try:
        async with TrackingManager(RedisDataCache("127.0.0.1", server.port)) as manager:
            await manager.add_tracker("g", CountTracker("n", 10))
            assert command(server.port, "REPLICAOF", "127.0.0.1", 1) == b"+OK\r\n"
            tracking = asyncio.ensure_future(manager.track("g", {}))
            await asyncio.sleep(0.1)
            assert command(server.port, "REPLICAOF", "NO", "ONE") == b"+OK\r\n"
            assert [tracker.progress for tracker in (await tracking).dirtied] == [1]
    finally:
        server.stop()


async def test_settings_that_become_wrong_stop_nothing_for_good(tmp_path: Path) -> None:
    """Redis may throw data away since it was connected to last: callers are told so, and when that ends all goes on."""
    server = ValkeyServer(tmp_path / "redis")
    server.start()
    try:
        store = SQLiteDataStore(tmp_path / "t.db")
        async with TrackingManager(RedisDataCache("127.0.0.1", server.port), store, flush_interval=0.05) as manager:
            await manager.add_tracker("g", CountTracker("n", 10))
            command(server.port, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            command(server.port, "CLIENT", "KILL", "TYPE", "normal")
            with pytest.raises(CacheUnavailable, match="throws away progress without a word"):
                await manager.track("g", {})
            async with asyncio.timeout(10):
                while manager.status().store_error is None:
                    await asyncio.sleep(0.01)
            command(server.port, "CONFIG", "SET", "maxmemory-policy", "noeviction")
            assert await manager.track("g", {})
            async with asyncio.timeout(10):
                while manager.status().backlog or manager.status().store_error is not None:
                    await asyncio.sleep(0.01)
    finally:
        server.stop()


async def test_what_cannot_be_learned_is_uncertain(redis_server: ValkeyServer) -> None:
    """The reply is lost and the server stays away: ``CommitUncertain``; asked again later, it is known."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy, opened(proxy.port, patience=0.05) as cache:
        commit = commit_to("a", None, {"x": "1"}, epoch=await cache.epoch(), events=events_of("lost reply"))

        def lose_and_refuse(request: bytes) -> bool:
            if is_commit(request):
                refusing.append(asyncio.ensure_future(proxy.refuse()))
            return is_commit(request)

        refusing: list[asyncio.Future[None]] = []
        proxy.lose_reply_to(lose_and_refuse)
        with pytest.raises(CommitUncertain):
            await cache.commit([commit])
        await asyncio.gather(*refusing)
        await proxy.accept()
        assert await cache.commit([commit]) in ([Committed()], [Committed()])
        assert await outbox_ids(cache) == ["lost reply"]


async def test_what_is_forgotten_since_is_uncertain_too(redis_server: ValkeyServer) -> None:
    """So much was committed after a commit in doubt that its id is forgotten: it is not applied again on a guess."""
    async with (
        Proxy("127.0.0.1", redis_server.port) as proxy,
        opened(proxy.port, patience=0.05) as cache,
        opened(redis_server.port, key_prefix=cache.key_prefix) as other,
    ):
        epoch = await cache.epoch()
        commit = commit_to("a", None, {"x": "1"}, epoch=epoch, events=events_of("lost reply"))
        proxy.fall_silent()
        asking = asyncio.ensure_future(cache.commit([commit]))
        await asyncio.sleep(0.02)
        await proxy.refuse()
        with pytest.raises(CommitUncertain):
            await asking
        await send(other, "a", None, {"x": "0"})
        for n in range(1, 20):
            await send(other, "a", Revision(INCARNATION, n), {"x": f"{n}"})
        for key in Keys(cache.key_prefix, 16).tags:
            command(redis_server.port, "DEL", f"{key.decode()}c0:a")
        proxy.speak()
        await proxy.accept()
        with pytest.raises(CommitUncertain):
            await cache.commit([commit])
        assert await outbox_ids(other) == []
        fresh = commit_to("a", None, {"x": "1"}, epoch=epoch)
        assert isinstance((await cache.commit([fresh]))[0], Conflict), "one that was never in doubt is told the truth"


async def test_a_server_that_is_away_changes_nothing(redis_server: ValkeyServer) -> None:
    """While nobody answers, calls raise ``CacheUnavailable``; then they work again, without a new manager."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy:
        cache = RedisDataCache("127.0.0.1", proxy.port, key_prefix=f"fault{next(_prefixes)}", patience=0.05)
        async with TrackingManager(cache) as manager:
            await manager.add_tracker("g", CountTracker("n", 1000))
            await proxy.refuse()
            with pytest.raises(CacheUnavailable):
                await manager.track("g", {})
            await proxy.accept()
            assert (await manager.track("g", {})).dirtied[0].progress == 1


async def test_a_short_absence_is_waited_for(redis_server: ValkeyServer) -> None:
    """A connection that breaks is made again, and callers notice nothing."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy, opened(proxy.port) as cache:
        await proxy.refuse()
        sending = asyncio.ensure_future(send(cache, "a", None, {"x": "1"}, epoch=await _epoch(redis_server, cache)))
        await asyncio.sleep(0.05)
        assert not sending.done()
        await proxy.accept()
        assert await sending == Committed()


async def _epoch(server: ValkeyServer, cache: RedisDataCache) -> int:
    async with opened(server.port, key_prefix=cache.key_prefix) as other:
        return await other.epoch()


async def test_a_server_that_is_silent_is_given_up(redis_server: ValkeyServer) -> None:
    """A server that takes requests and says nothing does not hang its callers."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy, opened(proxy.port, timeout=0.1, patience=0.05) as cache:
        proxy.fall_silent()
        with pytest.raises(CacheUnavailable):
            await asyncio.wait_for(cache.load(["a"]), 5)
        proxy.speak()
        assert await cache.load(["a"]) == {}


async def test_scripts_that_the_server_forgot_are_sent_again(redis_server: ValkeyServer) -> None:
    """``SCRIPT FLUSH`` costs a round trip and nothing else."""
    async with opened(redis_server.port) as cache:
        await send(cache, "a", None, {"x": "1"})
        command(redis_server.port, "SCRIPT", "FLUSH")
        assert await send(cache, "a", FIRST, {"x": "2"}) == Committed()
        assert (await read(cache, "a")).rows == texts({"x": "2"})


async def test_a_full_server_changes_nothing(redis_server: ValkeyServer) -> None:
    """Out of memory is an error that names it; the record is as it was, and commits work when there is room."""
    async with opened(redis_server.port) as cache:
        await send(cache, "a", None, {"x": "1"})
        command(redis_server.port, "CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(CacheUnavailable, match=r"OOM|memory") as raised:
                await send(cache, "a", FIRST, {"x": "2"}, epoch=cache.known_epoch)
            assert not isinstance(raised.value, CommitUncertain)
        finally:
            command(redis_server.port, "CONFIG", "SET", "maxmemory", "0")
        assert (await read(cache, "a")).rows == texts({"x": "1"})
        assert await send(cache, "a", FIRST, {"x": "2"}) == Committed()


async def test_a_foreign_key_in_the_way_is_named(redis_server: ValkeyServer) -> None:
    """Something else under a record's key is an error that names the record; the others of the batch are committed."""
    async with opened(redis_server.port) as cache:
        name = Keys(cache.key_prefix, cache.partitions).record("bad").decode()
        command(redis_server.port, "SET", name, "something else")
        epoch = await cache.epoch()
        good, bad = await cache.commit([commit_to(key, None, {"x": "1"}, epoch=epoch) for key in ("good", "bad")])
        assert good == Committed()
        with pytest.raises(CacheUnavailable, match=r"'bad'.*WRONGTYPE"):
            raise bad.error  # type: ignore[union-attr]


async def test_a_slot_that_moves_is_followed(redis_cluster: ValkeyCluster) -> None:
    """When a partition moves to another node, commits go there: nothing is lost and nothing counts twice."""
    url = f"redis+cluster://127.0.0.1:{redis_cluster.port}"
    cache = RedisDataCache.from_url(url, key_prefix=f"fault{next(_prefixes)}", partitions=1)
    async with TrackingManager(cache) as manager:
        await manager.add_tracker("g", CountTracker("n", 1000))
        slot = slot_of(Keys(cache.key_prefix, 1).tags[0][1:-1])
        await asyncio.gather(_keep_tracking(manager, 200), asyncio.to_thread(redis_cluster.move, slot))
        await _keep_tracking(manager, 5)
        tracker = await manager.get_tracker("g", "n")
        assert tracker is not None
        assert tracker.progress == 205


async def _keep_tracking(manager: TrackingManager, times: int) -> None:
    for _ in range(times):
        await manager.track("g", {})
