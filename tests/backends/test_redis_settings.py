"""Settings of the Redis cache: what is refused says so before anything is stored."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio

from milepost import CacheUnavailable, CountTracker, InvalidDefinition, SQLiteDataStore, TrackingManager
from milepost._partitions import partition_of
from milepost.backends.redis.keys import SLOTS, Keys, slot_of
from milepost.data_caches.redis import RedisDataCache
from milepost.testing import ManualClock
from tests.servers.valkey import ValkeyServer, command


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"key_prefix": ""}, "key_prefix"),
        ({"key_prefix": "a{b}"}, "key_prefix"),
        ({"key_prefix": 3}, "key_prefix"),
        ({"partitions": 0}, "partitions"),
        ({"partitions": True}, "partitions"),
        ({"partitions": 1 << 20}, "partitions"),
        ({"host": 3}, "host"),
        ({"host": "redis://localhost"}, "from_url"),
        ({"port": "6379"}, "port"),
        ({"port": 65536}, "port"),
        ({"db": -1}, "db"),
        ({"pasword": "secret"}, "pasword"),
        ({"outbox_size": -1}, "outbox_size"),
        ({"timeout": 0}, "timeout"),
        ({"patience": "5"}, "patience"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"idle": 0}, "idle"),
        ({"idle": float("inf")}, "idle"),
        ({"allow_eviction": "no"}, "allow_eviction must be True or False, got 'no'"),
        ({"allow_eviction": 0}, "allow_eviction"),
        ({"client": redis.asyncio.Redis(), "password": "secret"}, "beside it there is password"),
        ({"client": object()}, "client"),
        ({"client": redis.Redis()}, "client"),
        ({"client": redis.asyncio.Redis(decode_responses=True)}, "decode_responses"),
    ],
    ids=str,
)
def test_bad_settings_are_named(settings: dict[str, Any], named: str) -> None:
    """A setting that cannot work is refused at once, by name: a client that decodes, or blocks, among them."""
    with pytest.raises(InvalidDefinition, match=named):
        RedisDataCache(**settings)


@pytest.mark.parametrize(
    "url", ["http://localhost", "redis+socket://x", "redis+://x", "redis+sentinel://host:26379", "", 3]
)
def test_bad_urls_are_refused(url: Any) -> None:
    """A URL that names no Redis is refused with the schemes that there are."""
    with pytest.raises(InvalidDefinition, match="redis"):
        RedisDataCache.from_url(url)


@pytest.mark.parametrize("settings", [{"password": "secret"}, {"host": "other"}, {"db": 3}, {"client": None}], ids=str)
def test_what_belongs_into_a_url_is_not_taken_beside_it(settings: dict[str, Any]) -> None:
    """A password, a host or a database beside a URL is refused by name: it would have been left out without a word."""
    (name,) = settings
    with pytest.raises(InvalidDefinition, match=f"^{name} must be in the URL"):
        RedisDataCache.from_url("redis://localhost", **settings)


def test_a_password_is_not_shown() -> None:
    """What a cache calls itself in messages and logs is without the password."""
    for url in ("redis://me:secret@example.org:1/2", "redis+sentinel://me:secret@one:1,two:2/service/3"):
        assert "secret" not in repr(RedisDataCache.from_url(url))


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@localhost",
        "redis+other://me:secret@localhost",
        "redis://me:secret@localhost:99999",
        "redis://me:sec/secret@localhost",
        "redis://me:secret@[localhost",
        "mongodbs://me:secret@localhost",
        "mongodb://me:sec/secret@localhost",
        "sqlite://me:secret@localhost/t.db",
        "redis://me:secret@localhost?surprise=1",
    ],
)
async def test_a_password_in_a_bad_url_is_not_shown(url: str) -> None:
    """A URL that is refused may have a password: what is wrong is said without it."""
    for urls in ({"cache_url": url}, {"store_url": url}):
        with pytest.raises(InvalidDefinition) as raised:
            await TrackingManager.open(**urls).start()
        assert "secret" not in str(raised.value)


def test_urls_build_managers() -> None:
    """``TrackingManager.open`` takes URLs of Redis."""
    for url in ("redis://localhost:6379/0", "redis+cluster://localhost:7000", "rediss://localhost"):
        assert isinstance(TrackingManager.open(url).data_cache, RedisDataCache)


def test_through_needs_a_cache_that_does_not_decide() -> None:
    """Redis decides commits itself: to write through it is refused."""
    with pytest.raises(InvalidDefinition, match="through"):
        TrackingManager(RedisDataCache(), SQLiteDataStore("t.db"), write="through")


async def test_another_number_of_partitions_is_refused_at_start(redis_server: ValkeyServer) -> None:
    """Who comes with another number of partitions is told the right one before anything is read or written."""
    settings: dict[str, Any] = {"port": redis_server.port, "key_prefix": "counted"}
    async with TrackingManager(RedisDataCache(partitions=4, **settings)):
        with pytest.raises(InvalidDefinition, match=r"partitions must be 4, .* got 16"):
            await TrackingManager(RedisDataCache(**settings)).start()
    async with TrackingManager(RedisDataCache(partitions=4, **settings)):
        pass


async def test_a_server_that_throws_data_away_is_refused(
    redis_server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An eviction policy other than ``noeviction`` is refused; who insists is warned."""
    command(redis_server.port, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(InvalidDefinition, match=r"allkeys-lru.*noeviction"):
            await TrackingManager(RedisDataCache(port=redis_server.port)).start()
        with caplog.at_level(logging.WARNING, "milepost"):
            async with TrackingManager(RedisDataCache(port=redis_server.port, allow_eviction=True)):
                assert "allkeys-lru" in caplog.text
    finally:
        command(redis_server.port, "CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_a_client_handed_in_stays_its_owners(redis_server: ValkeyServer) -> None:
    """A client that was handed in works after the manager was closed, and its protocol makes no difference."""
    for protocol in (2, 3):
        client = redis.asyncio.Redis(port=redis_server.port, protocol=protocol)
        async with TrackingManager(RedisDataCache(client=client, key_prefix=f"protocol {protocol}")) as manager:
            await manager.track("g", {}, event_id="e")
            assert (await manager.track("g", {}, event_id="e")).duplicate
        assert await client.ping()
        await client.aclose()


async def test_one_cache_object_is_for_one_manager(redis_server: ValkeyServer) -> None:
    """A cache that is open cannot be opened again; when it was closed it can."""
    cache = RedisDataCache(port=redis_server.port, key_prefix="one")
    async with TrackingManager(cache):
        with pytest.raises(CacheUnavailable, match="of its own"):
            await TrackingManager(cache).start()
    with pytest.raises(CacheUnavailable, match="not open"):
        await cache.load(["a"])
    async with TrackingManager(cache):
        pass


def test_partitions_share_the_keys_and_the_slots_evenly() -> None:
    """Groups spread over partitions, partitions over the slots in order, and neither depends on the process."""
    assert [partition_of(key, 16) for key in ("user:1", "user:2", "ü", "")] == [2, 8, 5, 0]
    assert partition_of("$subject:user:1", 16) == 2, "a subject's record is where events about it are"
    counts = Counter(partition_of(f"user:{n}", 16) for n in range(16000))
    assert len(counts) == 16
    assert max(counts.values()) < 1.2 * min(counts.values())
    for partitions in (1, 3, 16, 100):
        tags = Keys("milepost", partitions).tags
        for n, tag in enumerate(tags):
            assert n * SLOTS // partitions <= slot_of(tag[1:-1]) < (n + 1) * SLOTS // partitions


async def test_no_server_is_said_in_time() -> None:
    """Where nobody listens, ``start`` raises which Redis it was, when patience has ended."""
    cache = RedisDataCache("127.0.0.1", 1, patience=0.05)
    with pytest.raises(CacheUnavailable, match=r"127\.0\.0\.1:1"):
        await cache.open(ManualClock(), 256)


async def test_a_server_that_speaks_no_tls_is_named(redis_server: ValkeyServer) -> None:
    """An error without words of its own is named by its kind."""
    cache = RedisDataCache.from_url(f"rediss://127.0.0.1:{redis_server.port}", timeout=0.2, patience=0.05)
    with pytest.raises(CacheUnavailable, match=r": \w+"):
        await cache.open(ManualClock(), 256)


async def test_very_many_definitions_at_once(redis_server: ValkeyServer) -> None:
    """Twenty thousand trackers of as many kinds are added in one step, and known to who comes later."""
    settings: dict[str, Any] = {"port": redis_server.port, "key_prefix": "many"}
    async with TrackingManager(RedisDataCache(**settings)) as manager:
        await manager.add_trackers("g", [CountTracker(f"n{n}", n + 1) for n in range(20_000)])
    async with TrackingManager(RedisDataCache(**settings)) as other:
        assert len(await other.get_trackers("g")) == 20_000


async def test_a_wrong_password_is_not_tried_again(redis_server: ValkeyServer) -> None:
    """Who is turned away for good is told so at once, however patient."""
    cache = RedisDataCache("127.0.0.1", redis_server.port, username="nobody", password="wrong", patience=3600)
    with pytest.raises(CacheUnavailable, match=r"WRONGPASS|invalid username|without any password"):
        await cache.open(ManualClock(), 256)


async def test_fakeredis_is_enough_for_tests_of_applications() -> None:
    """A manager works on fakeredis, with Lua, as on a server."""
    client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
    async with TrackingManager(RedisDataCache(client=client)) as manager:
        await manager.track("g", {}, event_id="e")
        assert (await manager.track("g", {}, event_id="e")).duplicate
