"""Everything is deleted: on purpose amid writers, or by a Redis that lost it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from milepost import CountTracker, SQLiteDataStore, TrackingManager
from milepost.data_stores.base import RecordChange
from milepost.errors import BackendUnavailable, StoreUnavailable
from tests.interleavings.setups import BEFORE_A_STORE, SetUp, progress_of
from tests.servers.valkey import command

GROUPS = ("a", "b", "c")


async def test_flush_amid_writers(setup: SetUp) -> None:
    """Two processes track while one flushes: every acknowledged call counts in its own life, and none in the next."""
    told: dict[str, list[int]] = {group: [] for group in GROUPS}
    done = False

    async def write(manager: TrackingManager, group: str) -> None:
        while not done:
            (tracker,) = (await manager.track(group, {})).dirtied
            told[group].append(int(tracker.progress))

    async with setup.manager() as one, setup.manager() as other:
        for manager in (one, other):
            manager.declare("*", CountTracker("n", 1_000_000))
        writers = [
            asyncio.ensure_future(write(manager, group))
            for manager in (one, other)
            for group in GROUPS
            for _ in range(3)
        ]
        try:
            await _until(told, lambda counts: min(counts) > 20)
            assert await one.flush(confirm=True)
            before = {group: len(numbers) for group, numbers in told.items()}
            await _until(told, lambda counts: all(n > before[g] + 20 for g, n in zip(told, counts, strict=True)))
        finally:
            done = True
            await asyncio.gather(*writers)
        for manager in (one, other):
            await setup.save(manager)
        for group in GROUPS:
            last = int((await progress_of(one, group))["n"])
            assert await progress_of(other, group) == {"n": last}
            _check_lives(setup, told[group], last)
    async with setup.manager() as later:
        later.declare("*", CountTracker("n", 1_000_000))
        assert sorted([group async for group in later.groups()]) == sorted(GROUPS)


class Overtaken(SQLiteDataStore):
    """Saves after something else has happened; then fails once."""

    def __init__(self, path: Path, first: Callable[[], object]) -> None:
        super().__init__(path, synchronous="OFF")
        self._first = first
        self._saves = 0

    async def save(self, changes: Sequence[RecordChange]) -> None:
        self._saves += 1
        if self._saves == 1:
            await self._first()  # type: ignore[misc]
        elif self._saves == 2:
            raise StoreUnavailable("not now")
        await super().save(changes)


@pytest.mark.parametrize("setup", ["redis+sqlite"], indirect=True)
async def test_what_was_saved_too_late_is_taken_back_however_long_that_takes(setup: SetUp, tmp_path: Path) -> None:
    """A save that a flush overtakes puts a group into the store again: it is removed, when the store can be reached."""
    async with setup.manager() as other:
        store = Overtaken(tmp_path / "t.db", lambda: other.flush(confirm=True))
        async with setup.manager(data_store=store) as manager:
            await manager.add_tracker("g", CountTracker("n", 10))
            await manager.track("g", {})
            with pytest.raises(StoreUnavailable, match="not now"):
                await setup.save(manager)
            await setup.save(manager)
        assert [group async for group in other.groups()] == []
    async with TrackingManager(data_store=SQLiteDataStore(tmp_path / "t.db")) as alone:
        assert [group async for group in alone.groups()] == []


async def _until(told: Mapping[str, list[int]], holds: object) -> None:
    async with asyncio.timeout(60):
        while not holds([len(numbers) for numbers in told.values()]):  # type: ignore[operator]
            await asyncio.sleep(0.002)


def _check_lives(setup: SetUp, numbers: list[int], last: int) -> None:
    """Check that what was acknowledged is whole lives, each 1, 2, 3, … without a gap or a repetition.

    A flush with a store that follows empties Redis before and after the store, so there may be a short life between.
    MongoDB has no step that checks the epoch and writes a document: there a call that a flush overtakes is worked out
    again after it, also where others had already begun from its place in the life that ends.
    """
    left = Counter(numbers)
    left.subtract(range(1, last + 1))
    assert min(left.values()) >= 0, "the group has progress that nobody was told of"
    times = [left[n] for n in range(1, max(numbers) + 1)]
    assert 1 <= max(times) <= 2, "a call was counted twice"
    if setup.decides != "mongodb":
        assert times == sorted(times, reverse=True), "an acknowledged call is missing in its life"


async def test_flush_leaves_nothing_that_comes_back(setup: SetUp) -> None:
    """What was there before a flush is gone for every process, also those with replicas, and after the next restart."""
    async with setup.manager() as one, setup.manager() as other:
        for group in GROUPS:
            await one.add_tracker(group, CountTracker("n", 100), expire=60)
            await other.track(group, {}, event_id="e")
        assert await other.flush(confirm=True)
        for manager in (one, other):
            assert [group async for group in manager.groups()] == []
            assert await progress_of(manager, "a") == {}
            await setup.save(manager)
        await one.add_tracker("a", CountTracker("n", 100))
        assert not (await one.track("a", {}, event_id="e")).duplicate
    async with setup.manager() as later:
        assert [group async for group in later.groups()] == ["a"]
        assert await progress_of(later, "a") == {"n": 1}
        assert await later._authority.next_deadline() is None


async def _lose_definitions(setup: SetUp) -> None:
    """Delete all definitions behind everybody's back."""
    if "redis" in setup.place:
        port, prefix = setup.place["redis"]
        for name in _keys_of(port, prefix):
            if name.partition("}")[2].startswith("d"):
                command(port, "DEL", name)
    if "mongodb" in setup.place:
        url, database = setup.place["mongodb"]
        async with AsyncMongoClient[dict[str, object]](url) as client:
            await client[database]["definitions"].delete_many({})
    if "sqlite" in setup.place:
        connection = sqlite3.connect(setup.place["sqlite"])
        with connection:
            connection.execute("DELETE FROM definitions")
        connection.close()


def _keys_of(port: int, prefix: str) -> list[str]:
    reply = command(port, "KEYS", f"*{prefix}*")
    return [line.decode() for line in reply.split(b"\r\n")[2::2]]


@pytest.mark.parametrize("setup", ["redis", *BEFORE_A_STORE], indirect=True)
async def test_an_empty_redis_under_a_process_that_knows_better(setup: SetUp) -> None:
    """Redis has lost it all, and a process believes that its definitions are there: it brings them again."""
    async with setup.manager() as manager:
        manager.declare("*", CountTracker("n", 100))
        await manager.track("g", {})
        port, prefix = setup.place["redis"]
        for name in _keys_of(port, prefix):
            command(port, "DEL", name)
        assert (await manager.track("new", {})).dirtied[0].progress == 1
        for group in ("g", "new"):
            assert (await manager.track(group, {})).dirtied[0].progress in (1, 2)
        await setup.save(manager)
        async with setup.manager() as other:  # it knows no definition: all of them have to be there
            assert await progress_of(other, "new") == {"n": 2}
            assert (await progress_of(other, "g"))["n"] in (1, 2)


@pytest.mark.parametrize("setup", ["redis", *BEFORE_A_STORE], indirect=True)
async def test_an_empty_redis_again_and_again_under_writers(setup: SetUp) -> None:
    """However often Redis loses everything under writers, they go on, and processes that come later can read it all."""
    async with setup.manager() as manager:
        manager.declare("*", CountTracker("n", 1_000_000))
        port, prefix = setup.place["redis"]
        for _ in range(5):
            calls = [asyncio.ensure_future(manager.track(f"g{n % 7}", {})) for n in range(200)]
            await asyncio.sleep(0)
            for name in _keys_of(port, prefix):
                command(port, "DEL", name)
            for result in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(result, BaseException):
                    assert isinstance(result, BackendUnavailable), repr(result)
        for n in range(7):
            await manager.track(f"g{n}", {})
        async with setup.manager() as other:
            for n in range(7):
                assert await progress_of(other, f"g{n}") == await progress_of(manager, f"g{n}")


async def test_definitions_that_are_lost_are_brought_again(setup: SetUp) -> None:
    """A process that believes its definitions stored puts them again when the authority says that they are not."""
    async with setup.manager() as manager:
        manager.declare("*", CountTracker("n", 100))
        await manager.track("g", {})
        await setup.save(manager)
        await _lose_definitions(setup)
        if setup.decides == "redis":
            assert (await manager.track("new", {})).dirtied[0].progress == 1
            async with setup.manager() as other:
                assert await progress_of(other, "new") == {"n": 1}
