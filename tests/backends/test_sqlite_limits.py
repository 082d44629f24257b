"""What the SQLite store keeps no more of: old events, and values larger than SQLite can hold."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from milepost import (
    BaseLimiter,
    CountTracker,
    InvalidDefinition,
    KeyValueInList,
    RecordTooLarge,
    SQLiteDataStore,
    TrackingManager,
    TrackResult,
)
from milepost.records import Committed, Revision, TooLarge
from milepost.testing import EventRecorder, ManualClock
from milepost.testing.suites.material import (
    ABSENT,
    INCARNATION,
    SOME_DEFINITIONS,
    change_to,
    commit_to,
    event_id,
    events_of,
    outbox_ids,
    read,
    send,
    texts,
)

FIRST = Revision(INCARNATION, 1)


@asynccontextmanager
async def opened(path: Path, clock: ManualClock, **settings: Any) -> AsyncGenerator[SQLiteDataStore, None]:
    """Open a store for the length of a ``with`` block; it has one definition for rows to need."""
    store = SQLiteDataStore(path, synchronous="OFF", **settings)
    await store.open(clock, 256)
    try:
        await store.put_definitions(SOME_DEFINITIONS)
        yield store
    finally:
        await store.aclose()


async def lower(store: SQLiteDataStore, category: int, limit: int) -> None:
    """Give SQLite a limit that a test can reach; its own are compiled in, a gigabyte for one value."""
    for run in (store._client.write, store._client.read):
        await run(lambda connection: connection.setlimit(category, limit))


# --- the outbox ------------------------------------------------------------------------


async def test_the_outbox_keeps_so_many_events(tmp_path: Path, clock: ManualClock) -> None:
    """The last ``outbox_size`` events stay, whoever brought them; positions go on growing."""
    async with opened(tmp_path / "t.db", clock, outbox_size=3) as store:
        await send(store, "a", None, {"x": "1"}, events=events_of("1", "2"))
        first = await store.outbox()
        await send(store, "a", FIRST, {"x": "2"}, events=events_of("3", "4"))
        assert await outbox_ids(store) == ["2", "3", "4"]
        await store.save([change_to("b", FIRST, {"x": "1"}, events=events_of("5"))])
        assert await outbox_ids(store) == ["3", "4", "5"]
        await send(store, "c", None, {"x": "1"}, events=events_of(*"6789"))
        assert await outbox_ids(store) == ["7", "8", "9"]
        assert (await store.outbox())[0][0] > first[-1][0]


async def test_no_outbox(tmp_path: Path, clock: ManualClock) -> None:
    """With ``outbox_size=0`` no event is kept, and commits are as they are."""
    async with opened(tmp_path / "t.db", clock, outbox_size=0) as store:
        assert isinstance(await send(store, "a", None, {"x": "1"}, events=events_of("1")), Committed)
        assert await store.outbox() == []


async def test_the_outbox_keeps_events_for_so_long(tmp_path: Path, clock: ManualClock) -> None:
    """Events older than ``outbox_age`` make room for the next one, whenever what they tell of happened."""
    async with opened(tmp_path / "t.db", clock, outbox_age=60) as store:
        await send(store, "a", None, {"x": "1"}, events=events_of("1", "2"))
        await clock.advance(40)
        await send(store, "a", FIRST, {"x": "2"}, events=events_of("3"))
        assert await outbox_ids(store) == ["1", "2", "3"]
        await clock.advance(20)
        await send(store, "b", None, {"x": "1"}, events=events_of("4"))
        assert await outbox_ids(store) == ["1", "2", "3", "4"], "they are 60 seconds old, not older"
        await clock.advance(1)
        await send(store, "c", None, {"x": "1"})
        assert await outbox_ids(store) == ["1", "2", "3", "4"], "nothing came that needs room"
        await store.save([change_to("d", FIRST, {"x": "1"}, events=events_of("5"))])
        assert await outbox_ids(store) == ["3", "4", "5"]
        await clock.advance(1000)
        await send(store, "e", None, {"x": "1"}, events=events_of("6"))
        assert await outbox_ids(store) == ["6"]


async def test_the_outbox_outlives_a_clock_that_is_set_back(tmp_path: Path, clock: ManualClock) -> None:
    """When the clock goes back an hour, events stay until it has come so far again, and none goes early."""
    async with opened(tmp_path / "t.db", clock, outbox_age=60) as store:
        await send(store, "a", None, {"x": "1"}, events=events_of("1"))
        clock.set(clock.time() - 3600)
        await send(store, "b", None, {"x": "1"}, events=events_of("2"))
        await clock.advance(61)
        await send(store, "c", None, {"x": "1"}, events=events_of("3"))
        assert await outbox_ids(store) == ["1", "2", "3"]


@pytest.mark.parametrize("age", [0, -1, True, "60", float("nan"), float("inf")])
def test_an_age_that_is_none(age: Any, tmp_path: Path) -> None:
    """``outbox_age`` is a number of seconds or None; the error says so."""
    with pytest.raises(InvalidDefinition, match="outbox_age must be a number of seconds greater than 0, got"):
        SQLiteDataStore(tmp_path / "t.db", outbox_age=age)


# --- sizes -----------------------------------------------------------------------------

HUGE = "x" * 3000


async def test_one_commit_that_is_too_large(tmp_path: Path, clock: ManualClock) -> None:
    """Whatever is too large in it, row, event or name: it alone is refused, and changes nothing."""
    async with opened(tmp_path / "t.db", clock) as store:
        await lower(store, sqlite3.SQLITE_LIMIT_LENGTH, 2000)
        epoch = await store.epoch()
        for case, refused in enumerate(
            (
                commit_to("a", None, {"x": HUGE}, epoch=epoch, seen=(event_id(1),)),
                commit_to("a", None, {HUGE: "1"}, epoch=epoch),
                commit_to(HUGE, None, {"x": "1"}, epoch=epoch),
                commit_to("a", None, {"x": "1"}, epoch=epoch, events=events_of("told", HUGE)),
            )
        ):
            before, after = (
                commit_to(f"{side} {case}", None, {"x": "1"}, epoch=epoch, events=events_of(f"{side} {case}"))
                for side in ("before", "after")
            )
            outcomes = await store.commit([before, refused, after])
            assert [type(outcome) for outcome in outcomes] == [Committed, TooLarge, Committed]
            assert (await read(store, before.key)).rows == (await read(store, after.key)).rows == texts({"x": "1"})
            assert await outbox_ids(store) == [f"{side} {n}" for n in range(case + 1) for side in ("before", "after")]
        assert await read(store, "a") == ABSENT


async def test_a_tracker_that_is_too_large(tmp_path: Path, clock: ManualClock) -> None:
    """Adding it raises ``RecordTooLarge`` that says why; what is tracked at the same moment is tracked."""
    store = SQLiteDataStore(tmp_path / "t.db", synchronous="OFF")
    async with TrackingManager(data_store=store, clock=clock) as manager:
        recorder = EventRecorder(manager)
        await lower(store, sqlite3.SQLITE_LIMIT_LENGTH, 2000)
        await manager.add_tracker("g", CountTracker("n", 10))
        huge = CountTracker("huge", 10, conditions=[KeyValueInList("name", [HUGE])])
        with pytest.raises(RecordTooLarge, match="too big"):
            await manager.add_tracker("g", huge)
        with pytest.raises(RecordTooLarge, match="too big"):
            await manager.update_tracker("g", CountTracker("n", 10, conditions=[KeyValueInList("name", [HUGE])]))
        refused, tracked = await asyncio.gather(
            manager.add_tracker("another", huge), manager.track("g", {}), return_exceptions=True
        )
        assert isinstance(refused, RecordTooLarge)
        assert isinstance(tracked, TrackResult)
        assert tracked.dirtied[0].progress == 1
        assert [tracker.name for tracker in await manager.get_trackers("g")] == ["n"]
        assert await manager.get_trackers("another") == []
        calls = [manager.track("g", {}), manager.add_tracker("g", huge), manager.track("g", {})]
        first, refused, last = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(refused, RecordTooLarge)
        assert [isinstance(done, TrackResult) and done.dirtied[0].progress for done in (first, last)] == [2, 3]
        assert recorder.codes == ["tracker.added"]


class Hoarder(BaseLimiter):
    """A limiter that remembers far too much."""

    def __init__(self) -> None:
        super().__init__()
        self.everything = ""

    def post_track(self, data: Any, post_tracker: Any, *args: Any, **kwargs: Any) -> bool:
        self.everything += "x" * 700
        return True


async def test_a_state_that_outgrows_the_store(tmp_path: Path, clock: ManualClock) -> None:
    """``track`` raises ``RecordTooLarge`` and changes nothing, in that group alone; what replaces it works."""
    store = SQLiteDataStore(tmp_path / "t.db", synchronous="OFF")
    async with TrackingManager(data_store=store, clock=clock) as manager:
        await manager.add_tracker("g", CountTracker("n", 10, limiters=[Hoarder()]))
        await manager.add_tracker("other", CountTracker("n", 10))
        await lower(store, sqlite3.SQLITE_LIMIT_LENGTH, 2000)
        for _ in range(2):
            await manager.track("g", {})
        for _ in range(2):
            refused, tracked = await manager.track_many([("g", {}), ("other", {})])
            assert isinstance(refused.error, RecordTooLarge)
            assert "group 'g'" in str(refused.error)
            assert tracked.ok
        assert [(await manager.get_trackers(group))[0].progress for group in ("g", "other")] == [2, 2]
        await manager.remove_tracker("g")
        await manager.add_tracker("g", CountTracker("n", 10))
        assert (await manager.track("g", {})).dirtied[0].progress == 1


async def test_a_group_in_memory_that_is_too_large_for_the_store(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With ``write="behind"`` the others are saved and it is said why it is not; when there is room, it is too."""
    store = SQLiteDataStore(tmp_path / "t.db", synchronous="OFF")
    async with TrackingManager(data_store=store, write="behind", clock=clock, flush_interval=1) as manager:
        await lower(store, sqlite3.SQLITE_LIMIT_LENGTH, 2000)
        await manager.add_tracker("huge", CountTracker("n", 10, conditions=[KeyValueInList("name", [HUGE])]))
        await manager.add_tracker("small", CountTracker("n", 10))
        for _ in range(3):
            await clock.advance(1)
            while manager.status().store_error is None:
                await asyncio.sleep(0)
        assert "too big" in (manager.status().store_error or "")
        assert manager.status().backlog == 1
        assert list(await store.load(["huge", "small"])) == ["small"]
        assert [record.message for record in caplog.records if "the store is behind" in record.message]
        await lower(store, sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
        await clock.advance(1)
        while manager.status().backlog:
            await asyncio.sleep(0)
        assert sorted(await store.load(["huge", "small"])) == ["huge", "small"]


async def test_more_of_everything_than_sqlite_binds_at_once(tmp_path: Path, clock: ManualClock) -> None:
    """How many records, trackers and definitions go into one call is not limited by SQLite's variables."""
    store = SQLiteDataStore(tmp_path / "t.db", synchronous="OFF")
    async with TrackingManager(data_store=store, clock=clock) as manager:
        await lower(store, sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
        await manager.add_trackers("g", [CountTracker(f"t{n}", 1 + n) for n in range(1500)])
        assert len(await manager.get_trackers("g")) == 1500
        manager.declare("many *", CountTracker("n", 10))
        results = await manager.track_many((f"many {n}", {}) for n in range(1500))
        assert all(result.dirtied for result in results)
        assert len(await store.load([f"many {n}" for n in range(1500)])) == 1500
        changes = [change_to(f"many {n}", Revision(INCARNATION * 2, 1), {"x": "1"}) for n in range(1500)]
        await store.save(changes)
        assert (await read(store, "many 1499")).revision == Revision(INCARNATION * 2, 1)


async def test_a_closed_file_is_whole(tmp_path: Path, clock: ManualClock) -> None:
    """When the store is closed nothing is left in a journal beside the file, so that the file alone can be copied."""
    for n in range(30):
        path = tmp_path / f"{n}.db"
        async with opened(path, clock) as store:
            await send(store, "a", None, {"x": "1"})
            await read(store, "a")
        assert [left.name for left in tmp_path.glob(f"{n}.db-wal")] == []
