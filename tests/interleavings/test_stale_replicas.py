"""A process works on a replica that is out of date: of an earlier life, or of a time when the store had it all."""

from __future__ import annotations

import asyncio

import pytest

from milepost import CountTracker, TrackingManager
from milepost.data_caches.base import LeadingCache
from milepost.data_stores.base import BaseDataStore
from milepost.records import LoadedRecord
from tests.interleavings.setups import BEFORE_A_STORE, OVER_A_NETWORK, SETUPS, SetUp, progress_of


async def test_removed_and_made_again_under_a_stale_replica(setup: SetUp) -> None:
    """The earlier life does not go on in the later one: it counts from there, and its milestone is another one."""
    async with setup.manager() as stale, setup.manager() as other:
        await stale.add_tracker("g", CountTracker("n", [3, 100]))
        first = [await stale.track("g", {}) for _ in range(3)][-1].events
        assert await other.remove_tracker("g")
        await other.add_tracker("g", CountTracker("n", [3, 100]))
        assert (await stale.track("g", {})).dirtied[0].progress == 1
        await other.track("g", {})
        second = (await stale.track("g", {})).events
        assert [event.code for event in first] == [event.code for event in second] == ["tracker.stage_completed"]
        assert first[0].id != second[0].id
        await setup.save(stale)
        assert await progress_of(other) == {"n": 3}


async def test_removed_and_made_again_with_as_many_commits(setup: SetUp) -> None:
    """The new life has as many commits as the replica of the old one: it is not taken for it."""
    async with setup.manager() as stale, setup.manager() as other:
        await stale.add_tracker("g", CountTracker("n", 100))
        for _ in range(2):
            await stale.track("g", {})
        await other.remove_tracker("g")
        await other.add_tracker("g", CountTracker("n", 1000))
        for _ in range(2):
            await other.track("g", {})
        (tracker,) = (await stale.track("g", {})).dirtied
        assert (tracker.progress, tracker.target) == (3, 1000)
        assert await progress_of(other) == {"n": 3}


async def test_event_ids_outlive_the_trackers(setup: SetUp) -> None:
    """What a group was told under an id stays told when its trackers were removed and made again by another process."""
    async with setup.manager() as stale, setup.manager() as other:
        await stale.add_tracker("g", CountTracker("n", 100))
        await stale.track("g", {}, event_id="once")
        await other.remove_tracker("g")
        await other.add_tracker("g", CountTracker("n", 100))
        assert (await stale.track("g", {}, event_id="once")).duplicate
        assert (await other.track("g", {}, event_id="once")).duplicate
        assert await progress_of(stale) == {"n": 0}


@pytest.mark.parametrize("setup", OVER_A_NETWORK, indirect=True)
async def test_removed_and_made_again_under_a_commit_on_its_way(setup: SetUp) -> None:
    """A commit that was sent before the removal and arrives after the new life began counts in that life, once."""
    async with setup.proxied() as (late, proxy), setup.manager() as other:
        await late.add_tracker("g", CountTracker("n", 100))
        for _ in range(5):
            await late.track("g", {})
        proxy.fall_silent()
        tracking = asyncio.ensure_future(late.track("g", {}))
        await asyncio.sleep(0)
        await other.remove_tracker("g")
        await other.add_tracker("g", CountTracker("n", 100))
        await other.track("g", {})
        proxy.speak()
        assert (await tracking).dirtied[0].progress == 2
        assert await progress_of(other) == {"n": 2}


class SlowReader:
    """Makes a store hand over what it read only when it is told to."""

    def __init__(self, store: BaseDataStore) -> None:
        self._load = store.load
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()
        store.load = self.load  # type: ignore[method-assign]

    async def load(self, keys: list[str]) -> dict[str, LoadedRecord]:
        """Read, and keep it back."""
        found = await self._load(keys)
        self.has_read.set()
        await self.may_answer.wait()
        return found


@pytest.mark.parametrize("setup", BEFORE_A_STORE, indirect=True)
@pytest.mark.parametrize("leaves", [True, False], ids=["commit, flush, eviction", "commit, flush"])
async def test_a_slow_fill_is_overtaken(setup: SetUp, leaves: bool) -> None:
    """What was read from the store before others moved, saved and let go the group never gets into Redis."""
    async with setup.manager() as quick, setup.manager() as late:
        await quick.add_tracker("g", CountTracker("n", 100))
        await quick.track("g", {})
        await setup.let_go(quick)
        slow = SlowReader(late.data_store)
        reading = asyncio.ensure_future(late.get_trackers("g"))
        await slow.has_read.wait()
        for _ in range(4):
            await quick.track("g", {}, event_id="once")
        await quick.track("g", {})
        await (setup.let_go if leaves else setup.save)(quick)
        slow.may_answer.set()
        assert [tracker.progress for tracker in await reading] == [3]
        assert (await late.track("g", {}, event_id="once")).duplicate
        assert (await late.track("g", {})).dirtied[0].progress == 4
        assert await progress_of(quick) == {"n": 4}


@pytest.mark.parametrize("setup", BEFORE_A_STORE, indirect=True)
async def test_a_slow_fill_is_overtaken_by_a_removal(setup: SetUp) -> None:
    """A group that was removed, saved as removed and forgotten meanwhile does not come back through a slow fill."""
    async with setup.manager() as quick, setup.manager() as late:
        await quick.add_tracker("g", CountTracker("n", 100))
        await setup.let_go(quick)
        slow = SlowReader(late.data_store)
        reading = asyncio.ensure_future(late.get_trackers("g"))
        await slow.has_read.wait()
        await quick.remove_tracker("g")
        await setup.let_go(quick)
        slow.may_answer.set()
        assert await reading == []
        assert await progress_of(quick) == {}


@pytest.mark.parametrize("setup", [way for way in SETUPS if "+" not in way and way != "redis"], indirect=True)
async def test_a_slow_read_through_is_overtaken(setup: SetUp) -> None:
    """With ``write="through"`` what was read too long ago is refused as a base, and nothing is lost."""
    async with setup.manager() as quick, setup.manager() as late:
        await quick.add_tracker("g", CountTracker("n", 100))
        slow = SlowReader(late.data_store)
        tracking = asyncio.ensure_future(late.track("g", {}))
        await slow.has_read.wait()
        for _ in range(4):
            await quick.track("g", {})
        slow.may_answer.set()
        assert (await tracking).dirtied[0].progress == 5
        assert await progress_of(quick) == {"n": 5}


class SlowWriter:
    """Makes a store write what it is given only when it is told to."""

    def __init__(self, manager: TrackingManager) -> None:
        store = manager.data_store
        self._save = store.save
        self.was_asked = asyncio.Event()
        self.may_write = asyncio.Event()
        store.save = self.save  # type: ignore[method-assign]

    async def save(self, changes: list[object]) -> None:
        """Wait, and write."""
        self.was_asked.set()
        await self.may_write.wait()
        await self._save(changes)  # type: ignore[arg-type]


async def backlog(manager: TrackingManager) -> int:
    """Return how many groups the store has not seen as they are."""
    assert isinstance(manager.data_cache, LeadingCache)
    return await manager.data_cache.measure()


@pytest.mark.parametrize("setup", BEFORE_A_STORE, indirect=True)
async def test_two_flushes_at_once_bring_nothing_back(setup: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process saves so slowly that another has taken over and saved the group's removal: it stays removed."""
    monkeypatch.setattr("milepost.data_caches.redis._LEASE", 0.05)
    async with setup.manager() as slow, setup.manager() as quick:
        await slow.add_tracker("g", CountTracker("n", 100))
        await slow.add_tracker("again", CountTracker("n", 100))
        await slow.track("again", {})
        writer = SlowWriter(slow)
        saving = asyncio.ensure_future(setup.save(slow))
        await writer.was_asked.wait()
        await quick.remove_tracker("g")
        await quick.remove_tracker("again")
        await quick.add_tracker("again", CountTracker("n", 100))
        async with asyncio.timeout(20):
            while await backlog(quick):  # until the other's lease has ended
                await setup.save(quick)
                await asyncio.sleep(0.01)
        writer.may_write.set()
        await saving
        assert await quick.data_store.load(["g"]) == {}
        await setup.let_go(quick)
        for manager in (slow, quick):
            assert await progress_of(manager) == {}
            assert await progress_of(manager, "again") == {"n": 0}
