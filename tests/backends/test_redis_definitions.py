"""Where definitions are in Redis: in the partitions whose groups need them, and what it takes to get them there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis

from milepost import CacheUnavailable, CountTracker, RedisDataCache, SQLiteDataStore, TrackingManager
from milepost._partitions import partition_of
from milepost.backends.redis import following
from milepost.backends.redis.keys import Keys
from tests.servers.valkey import ValkeyServer

_prefixes = count()


@pytest.fixture
def settings(redis_server: ValkeyServer) -> dict[str, Any]:
    """A prefix of the test's own."""
    return {"port": redis_server.port, "key_prefix": f"defined{next(_prefixes)}"}


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """Here it may: what Redis holds is read by a client that waits."""


def sizes(settings: dict[str, Any]) -> list[int]:
    """Return how many definitions each partition has."""
    keys = Keys(settings["key_prefix"], 16)
    with redis.Redis(port=settings["port"]) as client:
        return [client.hlen(keys.of(number, "d")) for number in range(16)]  # type: ignore[misc]


class Counted(RedisDataCache):
    """Counts how often definitions are put, and can fail to."""

    puts = 0
    fails = False

    async def put_definitions(self, definitions: Mapping[str, str]) -> None:
        if self.fails:
            raise CacheUnavailable("fails for the test")
        self.puts += 1
        await super().put_definitions(definitions)


async def test_a_definition_is_where_a_group_needs_it(settings: dict[str, Any]) -> None:
    """One group's definition is in its partition alone; a group elsewhere brings it there, and others read it."""
    async with TrackingManager(RedisDataCache(**settings)) as manager:
        await manager.add_tracker("a", CountTracker("n", 5))
        assert sizes(settings) == [int(number == partition_of("a", 16)) for number in range(16)]
        for n in range(40):
            await manager.add_tracker(f"g{n}", CountTracker("n", 5))
        assert sizes(settings) == [1] * 16
        await manager.add_trackers("b", [CountTracker(f"n{n}", 7 + n) for n in range(300)])
        assert sum(sizes(settings)) == 16 + 300
    async with TrackingManager(RedisDataCache(**settings)) as other:
        assert len(await other.get_trackers("b")) == 300


async def test_groups_that_are_added_together_share_the_way_there(settings: dict[str, Any]) -> None:
    """Two hundred groups with as many definitions at once: these are put together, not one after the other."""
    cache = Counted(**settings)
    async with TrackingManager(cache) as manager:
        await asyncio.gather(*(manager.add_tracker(f"g{n}", CountTracker("n", 100 + n)) for n in range(200)))
        assert 1 <= cache.puts <= 10
        assert sum(sizes(settings)) == 200


async def test_a_definition_that_cannot_be_put_harms_nobody_else(settings: dict[str, Any]) -> None:
    """Where definitions cannot be put the groups that need them are told, and those of the same round are not."""
    cache = Counted(**settings)
    async with TrackingManager(cache) as manager:
        await manager.add_tracker("known", CountTracker("n", 1000))
        await manager.track("known", {})
        cache.fails = True
        work = [manager.track("known", {}), manager.add_tracker("new", CountTracker("n", 12345))]
        tracked, added = await asyncio.gather(*work, return_exceptions=True)
        assert not isinstance(tracked, BaseException)
        assert isinstance(added, CacheUnavailable)
        cache.fails = False
        await manager.add_tracker("new", CountTracker("n", 12345))
        found = await manager.get_tracker("known", "n")
        assert found is not None
        assert found.progress == 2


async def test_a_process_remembers_only_so_many_for_its_store(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every group has a definition of its own: the store gets them all, and the process does not keep them all."""
    monkeypatch.setattr(following, "_MOST_TEXTS", 20)
    store = SQLiteDataStore(tmp_path / "t.db")
    async with TrackingManager(RedisDataCache(**settings), store, write="behind") as manager:
        kept = manager.data_cache._led()._texts  # type: ignore[attr-defined]
        hashes: set[str] = set()
        for n in range(60):
            hashes.add((await manager.add_tracker(f"g{n}", CountTracker(f"n{n}", 5))).blueprint.hash)
            if n % 7 == 0:
                assert manager._flusher is not None
                await manager._flusher.flush()
                assert len(kept) <= 20
        await manager._flusher.flush()  # type: ignore[union-attr]
        assert (await store.definitions(hashes)).keys() == hashes


async def test_the_store_is_told_of_definitions_that_are_forgotten_meanwhile(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush to the store looks some definitions up while a loss makes the process forget those it knew."""
    async with TrackingManager(
        RedisDataCache(**settings), SQLiteDataStore(tmp_path / "t.db"), write="behind"
    ) as manager:
        led = manager.data_cache._led()  # type: ignore[attr-defined]
        await manager.add_tracker("a", CountTracker("known", 5))
        (known,) = await led.unsaved(100)
        await led.note([known], saved=False)
        await manager.add_tracker("b", CountTracker("unknown", 5))
        read = led._reader.definitions

        async def forgetting(hashes: Any) -> dict[str, str]:
            led.forget()
            found: dict[str, str] = await read(hashes)
            return found

        monkeypatch.setattr(led._reader, "definitions", forgetting)
        changes = await led.unsaved(100)
        assert {change.key for change in changes} == {"a", "b"}
        for change in changes:
            assert change.definitions.keys() == {row.definition_hash for row in change.puts.values()}
        await led.note(changes, saved=False)
