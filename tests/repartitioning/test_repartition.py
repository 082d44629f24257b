"""``milepost repartition``: another number of partitions, the same answers; killed anywhere, it goes on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milepost import CacheUnavailable, CountTracker, InvalidDefinition, RedisDataCache, SQLiteDataStore, TrackingManager
from milepost.data_stores.base import RecordChange
from milepost.errors import StoreLeased
from milepost.maintenance.repartitioning import repartition
from tests.repartitioning.contents import Contents, connect, contents, fill, leftovers, manager_over
from tests.servers.valkey import ValkeyCluster, ValkeyServer

_prefixes = count()
DOOMED = str(Path(__file__).with_name("doomed.py"))
SIZES = [(4, 7), (7, 4), (16, 32), (3, 1), (1, 16)]


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """Here it may: what Redis holds is read by a client that waits."""


@pytest.fixture(params=["one server", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """Where Redis is."""
    if request.param == "cluster":
        cluster: ValkeyCluster = request.getfixturevalue("redis_cluster")
        return f"redis+cluster://127.0.0.1:{cluster.port}"
    server: ValkeyServer = request.getfixturevalue("redis_server")
    return f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
def prefix() -> Iterator[str]:
    """A prefix that nothing is under."""
    yield f"divided{next(_prefixes)}"


async def filled(url: str, prefix: str, number: int, groups: int = 40) -> Contents:
    """Fill a Redis and return what it holds."""
    async with manager_over(url, prefix, number) as manager:
        await fill(manager, groups)
    return contents(url, prefix, number)


def same(before: Contents, after: Contents) -> None:
    """Compare what was there with what is: part by part, so that a difference can be read."""
    for name, was, now in zip(Contents._fields, before, after, strict=True):
        assert now == was, name


@pytest.mark.parametrize(("before", "after"), SIZES)
async def test_everything_is_there_again(url: str, prefix: str, before: int, after: int) -> None:
    """Groups, event ids, commit ids, change logs, removals, subjects, events in order, deadlines: all is kept."""
    was = await filled(url, prefix, before)
    outcome = await repartition(url, after, key_prefix=prefix)
    assert (outcome.before, outcome.after, outcome.done, outcome.resumed) == (before, after, True, False)
    assert outcome.moved.records == sum("r" in record for record in was.records.values())
    assert outcome.moved.events == sum(map(len, was.events.values()))
    same(was, contents(url, prefix, after))
    assert leftovers(url, prefix, before, after) == []


async def test_managers_go_on_where_they_were(url: str, prefix: str) -> None:
    """Behind the new number the same calls get the same answers: progress, duplicates, removed names, subjects."""
    await filled(url, prefix, 4)
    await repartition(url, 9, key_prefix=prefix)
    async with manager_over(url, prefix, 9) as manager:
        assert sorted([group async for group in manager.groups()]) == sorted(
            [f"g{n}" for n in range(40) if n % 10 != 9] + ["large"]
        )
        tracker = await manager.get_tracker("g3", "n")
        assert tracker is not None and tracker.progress == 4
        assert (await manager.track("g3", {"amount": 1}, event_id="3 2")).duplicate
        assert (await manager.track("g3", {"amount": 1}, event_id="new")).dirtied[0].progress == 5
        assert await manager.get_trackers("g9") == []
        assert len(await manager.get_trackers("large")) == 1500
        assert (await manager.subject("s3")).get("value") == 3
        assert await manager.data_cache.next_deadline() is not None


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(4, 7), (16, 32)])
async def test_killed_again_and_again(url: str, prefix: str, before: int, after: int) -> None:
    """SIGKILL at one step after another: the same command goes on, and in the end nothing is lost or there twice."""
    was = await filled(url, prefix, before)
    kills, calls = 0, 1
    while True:
        program = [sys.executable, DOOMED, url, prefix, str(after), str(calls)]
        done = await asyncio.to_thread(subprocess.run, program, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
        calls += 1 + calls // 3
    assert kills > 10
    same(was, contents(url, prefix, after))
    assert leftovers(url, prefix, before, after) == []
    assert (await repartition(url, after, key_prefix=prefix)).done


async def test_while_it_is_not_done_nobody_gets_in(url: str, prefix: str) -> None:
    """Killed half way: whoever opens the data, with the old number or the new, is told the command that goes on."""
    was = await filled(url, prefix, 4)
    program = [sys.executable, DOOMED, url, prefix, "6", "3", "arrive.lua"]
    await asyncio.to_thread(subprocess.run, program, capture_output=True, check=False)
    for number in (4, 6, 16):
        command = rf"`milepost repartition {url.replace('+', '.')}\S* 6 --key-prefix {prefix}`"
        with pytest.raises(CacheUnavailable, match=command):
            await manager_over(url, prefix, number).start()
    with pytest.raises(InvalidDefinition, match=r"milepost repartition \S+ 6"):
        await repartition(url, 8, key_prefix=prefix)
    outcome = await repartition(url, 6, key_prefix=prefix)
    assert outcome.resumed
    same(was, contents(url, prefix, 6))
    with pytest.raises(InvalidDefinition, match=r"partitions must be 6, .* got 4; .*milepost repartition \S+ 4"):
        await manager_over(url, prefix, 4).start()


async def test_who_has_it_open_is_noticed_and_turned_away(url: str, prefix: str, tmp_path: Path) -> None:
    """A manager that runs is a reason not to begin; with ``force`` it commits nothing any more, and is told why."""
    store = SQLiteDataStore(tmp_path / "t.db")
    async with manager_over(url, prefix, 4, store, flush_interval=3600) as manager:
        for n in range(20):
            await manager.add_tracker(f"g{n}", CountTracker("n", 100))
        with pytest.raises(StoreLeased, match=r"127\.0\.0\.1:\d+.*--force"):
            await repartition(url, 8, key_prefix=prefix)
        await manager.track("g0", {})
        outcome = await repartition(url, 8, key_prefix=prefix, force=True)
        assert len(outcome.live) == 1
        was = contents(url, prefix, 8)
        for _ in range(2):
            for n in range(20):
                with pytest.raises(CacheUnavailable, match=r"divided into 8 partitions.*partitions=8"):
                    await manager.track(f"g{n}", {})
            with pytest.raises(CacheUnavailable, match="partitions=8"):
                await manager.add_tracker("new", CountTracker("n", 1))
        same(was, contents(url, prefix, 8))
    same(was, contents(url, prefix, 8))
    assert len(was.unsaved) == 20
    assert leftovers(url, prefix, 4, 8) == []
    async with manager_over(url, prefix, 8, SQLiteDataStore(tmp_path / "t.db")) as manager:
        await manager.track("g0", {})
    async with TrackingManager(data_store=SQLiteDataStore(tmp_path / "t.db")) as alone:
        found = await alone.get_tracker("g0", "n")
        assert found is not None and found.progress == 2
        assert len([group async for group in alone.groups()]) == 20


async def test_the_store_hears_of_subjects_too(url: str, prefix: str, tmp_path: Path) -> None:
    """What a store had not seen of subjects it is told when they are in other partitions."""
    path = tmp_path / "t.db"
    async with manager_over(url, prefix, 4, SQLiteDataStore(path), flush_interval=3600) as manager:
        for n in range(20):
            subject = await manager.subject(f"s{n}")
            subject.set("n", n)
            await subject.store()
        await repartition(url, 7, key_prefix=prefix, force=True)
    async with manager_over(url, prefix, 7, SQLiteDataStore(path)) as manager:
        await manager.track("g", {})
    async with manager_over(url, prefix, 7, SQLiteDataStore(path)) as manager:
        assert await manager.data_cache.measure() == 0
    async with TrackingManager(data_store=SQLiteDataStore(path)) as alone:
        assert [(await alone.subject(f"s{n}")).get("n", None) for n in range(20)] == list(range(20))


async def test_there_and_back_again(url: str, prefix: str) -> None:
    """From 16 to 32 and back: a manager that slept all the while does not write over what is there."""
    async with manager_over(url, prefix, 16) as sleeper:
        await sleeper.add_tracker("g", CountTracker("n", 100))
        await sleeper.track("g", {})
        await repartition(url, 32, key_prefix=prefix, force=True)
        async with manager_over(url, prefix, 32) as manager:
            await manager.track("g", {})
        await repartition(url, 16, key_prefix=prefix, force=True)
        async with manager_over(url, prefix, 16) as manager:
            await manager.track("g", {})
        assert (await sleeper.track("g", {})).dirtied[0].progress == 4


async def test_two_at_once(url: str, prefix: str) -> None:
    """Two calls at once: the later takes over, the earlier ends with a word, and everything is there once."""
    was = await filled(url, prefix, 4, groups=60)
    outcomes = await asyncio.gather(*(repartition(url, 5, key_prefix=prefix) for _ in range(2)), return_exceptions=True)
    assert any(not isinstance(outcome, BaseException) for outcome in outcomes), outcomes
    for outcome in outcomes:
        assert not isinstance(outcome, BaseException) or "taken over" in str(outcome)
    same(was, contents(url, prefix, 5))


async def test_a_dry_run_changes_nothing(url: str, prefix: str) -> None:
    """With ``dry_run`` it is said how much there is to move, and managers open the data as before."""
    was = await filled(url, prefix, 4)
    outcome = await repartition(url, 6, key_prefix=prefix, dry_run=True)
    assert not outcome.done
    assert outcome.found == sum("r" in record for record in was.records.values())
    same(was, contents(url, prefix, 4))
    async with manager_over(url, prefix, 4):
        pass


async def test_what_cannot_be_moved_is_said_before_anything_is(url: str, prefix: str) -> None:
    """What durable consumers have in the partitions is named, and nothing is changed."""
    await filled(url, prefix, 4, groups=5)
    client = connect(url)
    tag = next(iter(RedisDataCache(key_prefix=prefix, partitions=4)._places.keys.tags))
    client.hset(tag + b"W", "billing", "1")
    with pytest.raises(InvalidDefinition, match=r"durable consumers.*nothing was changed"):
        await repartition(url, 6, key_prefix=prefix)
    client.delete(tag + b"W")
    client.close()
    async with manager_over(url, prefix, 4):
        pass


@pytest.mark.parametrize("partitions", [0, 4097, True, "8"])
async def test_a_number_that_cannot_be(partitions: int) -> None:
    """A number of partitions that cannot be is refused by name before anything is connected."""
    with pytest.raises(InvalidDefinition, match="partitions must be a whole number"):
        await repartition("redis://127.0.0.1:1/0", partitions)


async def test_where_there_is_nothing(url: str, prefix: str) -> None:
    """A prefix under which there is nothing is a mistake, and nothing is made there."""
    with pytest.raises(InvalidDefinition, match=f"no data under the prefix '{prefix}'"):
        await repartition(url, 8, key_prefix=prefix)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.integers(1, 40), min_size=2, max_size=4))
async def test_whatever_the_numbers(redis_server: ValkeyServer, numbers: list[int]) -> None:
    """Whatever the numbers, one after another: what is there stays the same."""
    url, prefix = f"redis://127.0.0.1:{redis_server.port}/0", f"any{next(_prefixes)}"
    was = await filled(url, prefix, numbers[0], groups=12)
    for number in numbers[1:]:
        assert (await repartition(url, number, key_prefix=prefix)).done
        same(was, contents(url, prefix, number))


class SlowStore(SQLiteDataStore):
    """Saves, and says so when it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.saving = asyncio.Event()
        self.may_end = asyncio.Event()

    async def save(self, changes: Sequence[RecordChange]) -> None:
        await super().save(changes)
        self.saving.set()
        await self.may_end.wait()


async def test_what_was_being_saved_meanwhile_stays_saved(url: str, prefix: str, tmp_path: Path) -> None:
    """A manager saves a group while it is turned away: the group stays in the store, and goes on from there."""
    store = SlowStore(tmp_path / "t.db")
    async with manager_over(url, prefix, 4, store, flush_interval=0.05) as manager:
        await manager.add_tracker("g", CountTracker("n", 100))
        await store.saving.wait()
        await repartition(url, 8, key_prefix=prefix, force=True)
        assert list(contents(url, prefix, 8).unsaved) == ["g"]
        store.may_end.set()
    async with TrackingManager(data_store=SQLiteDataStore(tmp_path / "t.db")) as alone:
        assert await alone.get_tracker("g", "n") is not None
    async with manager_over(url, prefix, 8, SQLiteDataStore(tmp_path / "t.db")) as manager:
        await manager.track("g", {})
    async with TrackingManager(data_store=SQLiteDataStore(tmp_path / "t.db")) as alone:
        found = await alone.get_tracker("g", "n")
        assert found is not None and found.progress == 1
