"""Replies that are lost, and a file that cannot be reached."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from milepost import CommitUncertain, CountTracker, SQLiteDataStore, StoreUnavailable
from milepost.records import Commit, Outcome
from milepost.testing import EventRecorder, ManualClock
from tests.durability.doses import dose, seeded
from tests.durability.opening import far, manager_over, progress_in, store_over


class Forgetful(SQLiteDataStore):
    """Applies commits, and loses the next replies; or loses the commits themselves."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, synchronous="OFF")
        self.lost_replies = 0
        self.lost_requests = 0

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        if self.lost_requests:
            self.lost_requests -= 1
            raise CommitUncertain("nobody knows; it was never sent")
        outcomes = await super().commit(commits)
        if self.lost_replies:
            self.lost_replies -= 1
            raise CommitUncertain("nobody knows; it was applied")
        return outcomes


@pytest.mark.parametrize("lost", ["lost_replies", "lost_requests"])
async def test_one_lost_answer_is_nobodys_business(lost: str, tmp_path: Path, clock: ManualClock) -> None:
    """What is sent again because its reply was lost is applied once, told to the caller, and announced once."""
    store = Forgetful(tmp_path / "t.db")
    async with manager_over(tmp_path / "t.db", clock=clock, data_store=store) as manager:
        recorder = EventRecorder(manager)
        setattr(store, lost, 1)
        await manager.add_tracker("g", CountTracker(name="n", target=[1, 2, 3, 1000]))
        for n in (1, 2, 3):
            setattr(store, lost, 1)
            assert (await manager.track("g", {})).dirtied[0].progress == n
        setattr(store, lost, 1)
        assert await manager.remove_tracker("g")
        assert recorder.codes == ["tracker.added", *["tracker.stage_completed"] * 3, "tracker.removed"]
        assert len(await store.outbox()) == 5
        assert await manager.get_trackers("g") == []


@pytest.mark.parametrize("lost", ["lost_replies", "lost_requests"])
async def test_when_it_stays_unknown_the_caller_is_told(lost: str, tmp_path: Path, clock: ManualClock) -> None:
    """``CommitUncertain`` is raised; the truth is learned from the store, and a retry with the event id counts once."""
    path = tmp_path / "t.db"
    store = Forgetful(path)
    async with manager_over(path, clock=clock, data_store=store) as manager:
        await manager.add_tracker("g", CountTracker(name="n", target=[1, 1000]))
        setattr(store, lost, 10**6)
        with pytest.raises(CommitUncertain):
            await manager.track("g", {}, event_id="e")
        setattr(store, lost, 0)
        applied = lost == "lost_replies"
        assert (await manager.get_trackers("g"))[0].progress == applied
        assert (await manager.track("g", {}, event_id="e")).duplicate is applied
        assert (await manager.get_trackers("g"))[0].progress == 1
        assert len(await store.outbox()) == 2
        assert (await manager.track("g", {}, event_id="next")).dirtied[0].progress == 2


@pytest.mark.survival
async def test_replies_lost_at_random(tmp_path: Path, clock: ManualClock) -> None:
    """Many callers that call again with their event id whenever the outcome is unknown: each event counts once."""
    chance = seeded("replies lost at random")
    path = tmp_path / "t.db"
    store = Forgetful(path)
    calls = dose(25, 1000)
    uncertain = 0
    async with manager_over(path, max_groups=3, clock=clock, data_store=store) as manager:
        manager.declare("*", CountTracker(name="n", target=[2, 7, 20, 10**6]))

        async def call(caller: int) -> None:
            nonlocal uncertain
            for n in range(calls):
                if chance.random() < 0.2:
                    setattr(store, chance.choice(("lost_replies", "lost_requests")), chance.randrange(5))
                while True:
                    try:
                        await manager.track(f"g{caller % 5}", {}, event_id=f"{caller} {n}")
                        break
                    except CommitUncertain:
                        uncertain += 1

        await asyncio.gather(*(call(caller) for caller in range(10)))
        outbox = await store.outbox(limit=10**6)
    print(f"{calls * 10} calls, {uncertain} of them uncertain at first")
    assert uncertain
    assert await progress_in(path) == {f"g{n}.n": 2 * calls for n in range(5)}
    assert len(outbox) == 5 * sum(target <= 2 * calls for target in (2, 7, 20))


async def test_while_the_file_is_locked_nothing_is_changed(tmp_path: Path, clock: ManualClock) -> None:
    """Every call that would change something raises ``StoreUnavailable``; when the lock is gone all is as before."""
    path = tmp_path / "t.db"
    async with manager_over(path, clock=clock, data_store=store_over(path, timeout=0.05)) as manager:
        recorder = EventRecorder(manager)
        await manager.add_tracker("g", CountTracker(name="n", target=[1, 2, 100]))
        await manager.track("g", {})
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            for group in ("g", "another"):
                for call in (
                    manager.track(group, {}, event_id="e"),
                    manager.add_tracker(group, far("more")),
                    manager.reset_tracker("g", "n"),
                    manager.remove_tracker("g"),
                    manager.flush(confirm=True),
                ):
                    with pytest.raises(StoreUnavailable, match="locked"):
                        await call
            (result,) = await manager.track_many([("g", {})])
            assert isinstance(result.error, StoreUnavailable)
        assert await progress_in(path) == {"g.n": 1}
        assert recorder.codes == ["tracker.added", "tracker.stage_completed"]
        assert (await manager.track("g", {}, event_id="e")).dirtied[0].progress == 2
        await manager.add_tracker("g", far("more"))
        assert [tracker.name for tracker in await manager.get_trackers("g")] == ["n", "more"]


async def test_a_file_that_is_locked_at_the_start(tmp_path: Path, clock: ManualClock) -> None:
    """The start is refused, changes nothing, and may be tried again."""
    path = tmp_path / "t.db"
    manager = manager_over(path, clock=clock, data_store=store_over(path, timeout=0.05))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await manager.track("g", {})
    async with manager:
        await manager.add_tracker("g", far())
    assert await progress_in(path) == {"g.n": 0}


async def test_a_file_that_cannot_be_a_store(tmp_path: Path, clock: ManualClock) -> None:
    """A folder that is missing, a folder instead of a file, another program's database: said in one error, unharmed."""
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as theirs:
        theirs.execute("CREATE TABLE records (mine)")
        theirs.commit()
    (tmp_path / "text.db").write_text("this is not a database, it is a letter\n" * 50)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for path in (tmp_path / "no" / "t.db", tmp_path, tmp_path / "theirs.db", tmp_path / "text.db"):
        manager = manager_over(path, clock=clock)
        with pytest.raises(StoreUnavailable, match=str(path.name)):
            await manager.start()
        await manager.aclose()
    assert (tmp_path / "text.db").read_bytes() == before["text.db"]
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as theirs:
        assert theirs.execute("SELECT name FROM sqlite_master").fetchall() == [("records",)]
