"""Commits in doubt: their reply was lost, and what comes next does not make a guess of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any

import pytest

from milepost import (
    EVENT_TRACKER_STAGE_COMPLETED,
    CacheUnavailable,
    CommitUncertain,
    CountTracker,
    ManagerClosed,
    TrackingManager,
)
from milepost.backends.redis.calls import _LOAD
from milepost.backends.redis.keys import Keys
from milepost.data_caches.redis import RedisDataCache
from milepost.records import Committed, Revision, Undecided
from milepost.testing import ManualClock
from milepost.testing.suites.material import INCARNATION, SOME_DEFINITIONS, commit_to, read, send
from tests.faults.proxy import Proxy
from tests.servers.valkey import ValkeyServer, command

_prefixes = count()
FIRST = Revision(INCARNATION, 1)


def cache_at(port: int, **settings: object) -> RedisDataCache:
    return RedisDataCache("127.0.0.1", port, key_prefix=f"doubt{next(_prefixes)}", **settings)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(cache: RedisDataCache) -> AsyncIterator[RedisDataCache]:
    """Open a cache that has the definitions of the rows here."""
    await cache.open(ManualClock(), 256)
    try:
        await cache.put_definitions(SOME_DEFINITIONS)
        yield cache
    finally:
        await cache.aclose()


def marked(cache: RedisDataCache, server: ValkeyServer, field: str, value: str) -> Callable[[bytes], bool]:
    """Return what finds the request with the row of these tests, and marks all partitions before that goes on."""

    def sought(request: bytes) -> bool:
        if b"sought" not in request:
            return False
        for tag in Keys(cache.key_prefix, cache.partitions).tags:
            command(server.port, "HSET", f"{tag.decode()}e", field, value)
        return True

    return sought


async def test_one_that_was_applied_before_the_server_was_replaced_counts_once(redis_server: ValkeyServer) -> None:
    """A commit is applied and kept, its reply lost, and the server is another one then: what was applied is known."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy, opened(cache_at(proxy.port)) as cache:
        await send(cache, "a", None, {"x": "1"})
        commit = commit_to("a", FIRST, {"x": "sought"}, epoch=await cache.epoch())
        proxy.lose_reply_to(marked(cache, redis_server, "server", "another"))
        assert await cache.commit([commit]) == [Committed()]
        assert proxy.lost_replies == 1
        assert (await read(cache, "a")).revision == Revision(INCARNATION, 2)


async def test_one_whose_partition_went_elsewhere_is_uncertain(redis_server: ValkeyServer) -> None:
    """The reply is lost, and who connects again is turned away for good: nobody says that nothing was changed."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy:
        cache = cache_at(proxy.port)
        async with TrackingManager(cache, clock=ManualClock()) as manager:
            await manager.add_tracker("g", CountTracker("sought", 10))
            await manager.track("g", {})
            proxy.lose_reply_to(marked(cache, redis_server, "of", "8"))
            with pytest.raises(CommitUncertain):
                await manager.track("g", {})


async def test_what_is_decided_is_told_though_the_rest_cannot_be(redis_server: ValkeyServer) -> None:
    """One of two groups is committed; before it is known what has become of the other, Redis goes away."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy, opened(cache_at(proxy.port, patience=0.05)) as cache:
        await send(cache, "large", None, {f"r{n}": "1" for n in range(1500)})
        epoch = await cache.epoch()
        refusing: list[asyncio.Future[None]] = []

        def reads(request: bytes) -> bool:
            if _LOAD.sha in request:
                refusing.append(asyncio.ensure_future(proxy.refuse()))
            return _LOAD.sha in request

        proxy.lose_request(reads)
        stale = Revision(INCARNATION - 1, 1)
        first, second = await cache.commit(
            [commit_to("a", None, {"x": "1"}, epoch=epoch), commit_to("large", stale, {"x": "1"}, epoch=epoch)]
        )
        assert first == Committed()
        assert isinstance(second, Undecided)
        assert type(second.error) is CacheUnavailable


async def test_the_short_way_is_open_again_afterwards(redis_server: ValkeyServer) -> None:
    """What one caller was told is uncertain does not make every commit after it take longer."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy:
        cache = cache_at(proxy.port, patience=0.05)
        async with TrackingManager(cache, clock=ManualClock()) as manager:
            await manager.add_tracker("g", CountTracker("sought", 10))
            await manager.track("g", {})
            proxy.lose_reply_to(lambda request: b"sought" in request, then_refuse=True)
            with pytest.raises(CommitUncertain):
                await manager.track("g", {})
            await proxy.accept()
            assert await manager.get_trackers("g")
            commit = commit_to("other", None, {"x": "1"}, epoch=await cache.epoch())
            assert cache.post([commit], lambda decide: None)


async def test_reading_is_never_in_doubt(redis_server: ValkeyServer) -> None:
    """A read whose reply was lost leaves nothing behind: nobody is told that he may have changed something."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy, opened(cache_at(proxy.port, patience=0.05)) as cache:
        asking = commit_to("sought", None, epoch=await cache.epoch(), id=b"", definitions=())
        assert asking.changes_nothing
        proxy.lose_reply_to(lambda request: b"sought" in request, then_refuse=True)
        with pytest.raises(CacheUnavailable) as raised:
            await cache.commit([asking])
        assert proxy.lost_replies == 1
        assert type(raised.value) is CacheUnavailable
        assert not cache._notes.in_doubt


async def test_whoever_waits_for_all_to_settle_is_told_of_the_end(redis_server: ValkeyServer) -> None:
    """A commit gets no reply, somebody waits for it in ``settle``, and the manager is closed: nobody waits for ever."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy:
        manager = TrackingManager(cache_at(proxy.port), clock=ManualClock(), close_timeout=0.01)
        await manager.add_tracker("g", CountTracker("sought", 10))
        await manager.track("g", {})
        held = proxy.hold_reply_to(lambda request: b"sought" in request)
        tracking = asyncio.ensure_future(manager.track("g", {}))
        await held
        settling = asyncio.ensure_future(manager.settle())
        await asyncio.sleep(0)
        await manager.aclose()
        with pytest.raises(CommitUncertain):
            await tracking
        async with asyncio.timeout(5):
            with pytest.raises(ManagerClosed):
                await settling


async def test_listeners_run_in_the_context_of_who_tracks(redis_server: ValkeyServer) -> None:
    """Whoever happened to open the connection is not taken for the cause of what is committed over it later."""
    cause: ContextVar[str] = ContextVar("cause", default="nobody")
    heard: list[str] = []
    manager = TrackingManager(cache_at(redis_server.port), clock=ManualClock())

    async def open_it() -> None:
        _ = cause.set("who opened it")
        await manager.start()

    await asyncio.create_task(open_it())
    manager.on_event(EVENT_TRACKER_STAGE_COMPLETED)(lambda event: heard.append(cause.get()))
    await manager.add_tracker("g", CountTracker("n", [2, 10]))
    await manager.track("g", {})
    await manager.track("g", {})
    await manager.aclose()
    assert heard == ["nobody"]


async def test_who_is_decided_does_not_wait_for_who_is_not(
    redis_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups share a round trip, and one has lost a race: what won there is looked up after the other is told."""
    cache = cache_at(redis_server.port)
    other = RedisDataCache("127.0.0.1", redis_server.port, key_prefix=cache.key_prefix)
    looked_up = asyncio.Event()
    async with TrackingManager(cache) as manager, TrackingManager(other) as rival:
        for group in ("lost", "won"):
            await manager.add_tracker(group, CountTracker("n", 10))
        await rival.track("lost", {})
        adopt = manager._committer._adopter.adopt

        async def slowly(*arguments: Any) -> None:
            await looked_up.wait()
            await adopt(*arguments)

        monkeypatch.setattr(manager._committer._adopter, "adopt", slowly)
        both = asyncio.ensure_future(manager.track_many([("lost", {}), ("won", {})]))
        async with asyncio.timeout(5):
            while not manager._committer._table.records["won"].rows["n"].progress:
                await asyncio.sleep(0)
        looked_up.set()
        assert [result.dirtied[0].progress for result in await both] == [2, 1]
