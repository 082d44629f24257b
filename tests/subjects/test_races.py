"""Many that change one subject at the same time: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from milepost import (
    CommitConflict,
    EventBus,
    EventContext,
    SQLiteDataStore,
    StoreUnavailable,
    TrackingManager,
    UndecodableError,
)
from milepost.subjects import Subject
from milepost.testing import ManualClock
from tests.durability.doses import dose, seeded
from tests.durability.opening import manager_over
from tests.subjects.conftest import Heard, changes


async def test_twenty_increments_from_an_absent_property(manager: TrackingManager, heard: Heard) -> None:
    """Twenty tasks, each with its own copy, that add one at the same time make twenty; each is told once."""

    async def increment() -> None:
        counter = await manager.subject("counter")
        counter.set("n", lambda n: n + 1, default=0)
        await counter.store()

    await asyncio.gather(*(increment() for _ in range(20)))
    assert (await manager.subject("counter")).get("n") == 20
    await manager.settle()
    assert changes(heard("subject.")) == [("n", None if n == 0 else n, n + 1) for n in range(20)]


@pytest.mark.parametrize("how", ["await set", "use_cache=False", "one object"])
async def test_twenty_increments_in_other_ways(manager: TrackingManager, how: str) -> None:
    """Awaiting ``set``, going past the cache, or sharing one object between tasks loses none either."""
    shared = await manager.subject("counter")

    async def increment() -> tuple[Any, Any]:
        counter = shared if how == "one object" else await manager.subject("counter")
        return await counter.set("n", lambda n: n + 1, default=0, use_cache=how != "use_cache=False")

    committed = await asyncio.gather(*(increment() for _ in range(20)))
    assert (await manager.subject("counter")).get("n") == 20
    await shared.reload()
    assert shared.get("n") == 20
    assert sorted(new for new, _ in committed) == list(range(1, 21)), "each is told what it made of what"


@pytest.fixture
async def pair(tmp_path: Path, clock: ManualClock) -> Any:
    """Two managers on one file."""
    path = tmp_path / "t.db"
    async with manager_over(path, clock=clock) as one, manager_over(path, clock=clock) as other:
        yield one, other


async def test_functions_are_applied_to_what_the_other_stored(pair: tuple[TrackingManager, TrackingManager]) -> None:
    """Two that loaded the same, and both stored: functions add up, plain values are the last one's."""
    mine, other = [await manager.subject("s") for manager in pair]
    for subject, name in ((mine, "mine"), (other, "other")):
        subject.set("n", lambda n: n + 1, default=0)
        subject.set("names", lambda names, name=name: [*names, name], default=[])
        subject.set("last", name)
        subject.set(name, True)
    await mine.store()
    assert await other.set("n", lambda n: n * 10) == (20, 2)
    assert other.dict() == {"n": 20, "names": ["mine", "other"], "last": "other", "mine": True, "other": True}
    await mine.reload()
    assert mine.dict() == other.dict()


async def test_two_managers_that_interleave(pair: tuple[TrackingManager, TrackingManager]) -> None:
    """Increments from both, amid deletions of other properties and of the subject's neighbour, all count."""
    chance = seeded("two managers, one subject")

    async def work(manager: TrackingManager, name: str) -> int:
        done = 0
        for _ in range(dose(20, 500)):
            subject = await manager.subject("s")
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            subject.set("n", lambda n: n + 1, default=0)
            subject.set(f"of {name}", lambda n: n + 1, default=0)
            if chance.random() < 0.2:
                subject.delete("of nobody")
                (await manager.subject("neighbour")).set("x", 1, use_cache=False)
            await subject.store()
            done += 1
            if chance.random() < 0.2:
                await (await manager.subject("neighbour")).flush()
        return done

    names = [f"{n}" for n in range(6)]
    done = await asyncio.gather(*(work(pair[n % 2], name) for n, name in enumerate(names)))
    for manager in pair:
        subject = await manager.subject("s")
        assert subject.get("n") == sum(done)
        assert [subject.get(f"of {name}") for name in names] == list(done)
    assert sum(manager.status().conflicts for manager in pair), "nobody was in anybody's way: nothing was shown"


async def test_deleted_meanwhile(pair: tuple[TrackingManager, TrackingManager]) -> None:
    """Who stores on a subject that another deleted begins it anew: nothing of before comes back."""
    mine, other = [await manager.subject("s") for manager in pair]
    mine.set("old", 1)
    mine.set("n", 5)
    await mine.store()
    await other.reload()
    other.set("n", lambda n: n + 1, default=0)
    await mine.flush()
    await other.store()
    assert other.dict() == (await pair[0].subject("s")).dict() == {"n": 1}


async def test_a_caller_that_is_cancelled(manager: TrackingManager) -> None:
    """Its changes are stored once, or are still there to be stored; storing again neither loses nor doubles any."""
    chance = seeded("cancelled while storing")
    subject = await manager.subject("s")
    wanted = 0
    for _ in range(dose(60, 2000)):
        subject.set("n", lambda n: n + 1, default=0)
        wanted += 1
        storing = asyncio.ensure_future(subject.store())
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
        storing.cancel()
        await asyncio.wait([storing])
    await subject.store()
    assert not subject.has_changes
    assert subject.get("n") == (await manager.subject("s")).get("n") == wanted


async def test_a_store_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``store`` raises, the changes stay, and storing them later stores them once."""
    store = SQLiteDataStore(tmp_path / "t.db", synchronous="OFF")
    async with TrackingManager(data_store=store) as manager:
        subject = await manager.subject("s")
        subject.set("n", lambda n: n + 1, default=0)

        async def down(commits: object) -> None:
            raise StoreUnavailable("it is down")

        with monkeypatch.context() as patched:
            patched.setattr(store, "commit", down)
            with pytest.raises(StoreUnavailable):
                await subject.store()
            assert subject.has_changes
            assert subject.get("n") == 1
        await subject.store()
        assert (await manager.subject("s")).dict() == {"n": 1}


async def test_races_that_are_never_won(tmp_path: Path, clock: ManualClock) -> None:
    """``CommitConflict`` is raised when others were always faster, and the changes are still there."""
    path = tmp_path / "t.db"
    async with (
        manager_over(path, clock=clock, commit_timeout=0.001) as one,
        manager_over(path, clock=clock) as other,
    ):
        mine: Subject = await one.subject("s")
        loser = one.data_store.commit
        n = 0

        async def too_late(commits: Any) -> Any:
            nonlocal n
            n += 1
            await (await other.subject("s")).set("n", n)
            await asyncio.sleep(0.002)
            return await loser(commits)

        one.data_store.commit = too_late  # type: ignore[method-assign]
        mine.set("mine", True)
        with pytest.raises(CommitConflict, match=r"^subject 's': gave way"):
            await mine.store()
        one.data_store.commit = loser  # type: ignore[method-assign]
        assert mine.has_changes
        await mine.store()
        assert (await other.subject("s")).dict() == {"n": n, "mine": True}


async def test_a_durable_handler_that_runs_again_commits_once(tmp_path: Path, clock: ManualClock) -> None:
    """An event that comes a second time, because the first was not acknowledged, changes its subject once."""
    async with manager_over(tmp_path / "t.db", clock=clock) as manager:
        runs = 0

        @manager.bus.on("go", durable="counting")
        async def count(ctx: EventContext) -> None:
            nonlocal runs
            runs += 1
            ctx.subject.set("n", lambda n: n + 1, default=0)

        id = await manager.bus.emit("go", "s")
        await manager.bus.settle()
        await _again(manager.bus, id)
        await manager.bus.settle()
        assert runs == 2
        assert (await manager.subject("s")).dict() == {"n": 1}


async def _again(bus: EventBus, id: str) -> None:
    """Have the durable handlers run again for an event, as after a lost acknowledgement."""
    envelope = await bus.transport.find(id)
    assert envelope is not None
    (consumer,) = bus._consumers.values()
    (handler,) = bus.matching("counting", envelope.type)
    await consumer.deliverer.deliver(handler, envelope)


async def test_a_property_that_cannot_be_read(tmp_path: Path, clock: ManualClock) -> None:
    """Asking for it raises an error that names it; the others stay readable, it can be deleted, and set again."""
    path = tmp_path / "t.db"
    async with manager_over(path, clock=clock) as manager, await manager.subject("s") as subject:
        subject.set("bad", 1)
        subject.set("good", 2)

    def damage() -> None:
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("UPDATE rows SET body = '[1]' WHERE name = 'p:bad'")
        connection.close()

    await asyncio.to_thread(damage)
    async with manager_over(path, clock=clock) as manager:
        subject = await manager.subject("s")
        for call in (lambda: subject.get("bad"), subject.dict, lambda: subject.set("bad", 1)):
            with pytest.raises(UndecodableError, match="property 'bad' of subject 's' cannot be read"):
                call()
        assert subject.keys() == ["bad", "good"]
        assert subject.has("bad")
        assert await subject.set("good", 3) == (3, 2)
        with pytest.raises(UndecodableError):
            (await manager.subject("s")).get("bad")
        subject.delete("bad")
        subject.set("bad", "new")
        await subject.store()
        assert subject.dict() == (await manager.subject("s")).dict() == {"bad": "new", "good": 3}
        await subject.flush()
        assert [key async for key in manager.data_store.keys("*")] == []
