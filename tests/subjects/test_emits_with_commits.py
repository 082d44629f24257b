"""What a handler emits leaves with its subject's commit: in one step, so that there are both or neither."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from milepost import Consumer, EventBus, EventContext, SQLiteDataStore, TrackingManager
from milepost.bus.transports.memory import MemoryTransport
from milepost.bus.transports.sqlite import SQLiteTransport
from milepost.testing import ManualClock
from tests.durability.doses import dose
from tests.subjects import doomed
from tests.subjects.conftest import Heard, heard_from


def stream(path: Path) -> list[dict[str, object]]:
    """Return the events in a file, in order."""
    with closing(sqlite3.connect(path)) as connection:
        return [json.loads(body) for (body,) in connection.execute("SELECT body FROM outbox ORDER BY position")]


def counted(path: Path) -> dict[str, int]:
    """Return what the handler has counted, by subject."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT key, body FROM rows WHERE name = 'p:n'").fetchall()
    return {key.removeprefix("$subject:"): json.loads(body)["v"] for key, body in rows}


@pytest.fixture
async def durable(tmp_path: Path, clock: ManualClock) -> AsyncIterator[TrackingManager]:
    """A manager whose stream is the outbox of its SQLite file."""
    path = tmp_path / "track.db"
    store, transport = SQLiteDataStore(path, synchronous="OFF"), SQLiteTransport(path, synchronous="OFF")
    async with TrackingManager(data_store=store, bus=transport, clock=clock) as manager:
        yield manager


@pytest.mark.survival
@pytest.mark.slow
async def test_killed_at_every_statement(tmp_path: Path) -> None:
    """After a kill at any statement there is, for each time that was counted, what was emitted then, and no more.

    The next process finishes what was begun: every event is counted once, and everything emitted once.
    """
    kills: Counter[str] = Counter()
    step = max(1, 60 // dose(20, 60))
    for number in range(1, 1000, step):
        path = tmp_path / f"{number}.db"
        process = subprocess.run(
            [sys.executable, "-W", "error", doomed.__file__, str(path), str(number)],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, process.stderr
        times, events = counted(path), stream(path)
        went = Counter(event["subject"] for event in events if event["type"] == "went")
        noted = Counter(event["data"]["for"] for event in events if event["type"] == "noted")  # type: ignore[index]
        assert times == went, f"{number}: {process.stdout}"
        assert noted == Counter(event["data"]["for"] for event in events if event["type"] == "went")  # type: ignore[index]
        kills[f"{sum(times.values()) - 2} counted"] += 1
        later = ManualClock(time.time() + 3600)  # when the dead process's leases have run out
        async with doomed.manager_over(str(path), later) as manager:
            await manager.settle()
        events = stream(path)
        asked = Counter(event["subject"] for event in events if event["type"] == "go")
        assert counted(path) == asked == Counter(event["subject"] for event in events if event["type"] == "went")
        path.unlink()
    print(f"{kills.total()} kills: {dict(kills)}")
    assert len(kills) > 1, "some before the commit and some after it"


async def test_one_transaction(durable: TrackingManager, tmp_path: Path) -> None:
    """The subject's change, its event and what was emitted are next to each other in the stream, in that order.

    They are filed under the subject they are about, so that consumers get each subject's events in order.
    """

    @durable.bus.on("go")
    async def go(ctx: EventContext) -> None:
        await ctx.emit("went")
        await ctx.emit("noted", subject="audit")
        ctx.subject.set("n", 1)

    await durable.bus.emit("go", "s")
    await durable.settle()
    with closing(sqlite3.connect(tmp_path / "track.db")) as connection:
        found = connection.execute("SELECT type, key FROM outbox ORDER BY position").fetchall()
    assert found == [("go", "s"), ("subject.property_changed", "s"), ("went", "s"), ("noted", "audit")]


async def test_they_are_handled_and_traced(durable: TrackingManager) -> None:
    """Handlers in this process hear of them, with their causes, and the whole chain can be looked at later."""
    heard = heard_from(durable)

    @durable.bus.on("go")
    async def go(ctx: EventContext) -> None:
        ctx.subject.set("n", 1)
        await ctx.emit("went")

    id = await durable.bus.emit("go", "s")
    await durable.settle()
    assert [event.type for event in heard()] == ["go", "subject.property_changed", "went"]
    assert {event.cause for event in heard()[1:]} == {id}
    tree = await durable.bus.trace(id)
    assert tree is not None
    assert [node.event.type for node in tree] == ["go", "subject.property_changed", "went"]


async def test_a_lost_race_doubles_nothing(durable: TrackingManager, tmp_path: Path) -> None:
    """Where another process was faster, the functions are applied again, and what was emitted is sent once."""
    path, heard = tmp_path / "track.db", heard_from(durable)
    async with TrackingManager(data_store=SQLiteDataStore(path, synchronous="OFF")) as other:

        @durable.bus.on("go")
        async def go(ctx: EventContext) -> None:
            ctx.subject.set("n", lambda n: n + 1, default=0)
            await ctx.emit("went")
            for _ in range(2):
                await (await other.subject("s")).set("n", lambda n: n + 1, default=0)

        await durable.bus.emit("go", "s")
        await durable.settle()
        assert (await other.subject("s")).get("n") == 3
    assert len(heard("went")) == 1
    assert [event["type"] for event in stream(path)].count("went") == 1


@pytest.mark.parametrize("changes_again", [True, False])
async def test_a_redelivered_handler_emits_nothing_new(
    changes_again: bool, durable: TrackingManager, tmp_path: Path
) -> None:
    """One that is run again after its commit finds its emits in the stream, also where it changes nothing any more."""
    ids: list[str] = []

    @durable.bus.on("go", durable="workers", name="go")
    async def go(ctx: EventContext) -> None:
        if changes_again or not ctx.subject.has("n"):
            ctx.subject.set("n", lambda n: n + 1, default=0)
        ids.append(await ctx.emit("went"))

    await durable.bus.emit("go", "s")
    await durable.settle()
    with closing(sqlite3.connect(tmp_path / "track.db")) as connection, connection:
        connection.execute("UPDATE shares SET position = 0, owner = NULL")  # as if nothing had been acknowledged
    async with TrackingManager(
        data_store=SQLiteDataStore(tmp_path / "track.db", synchronous="OFF"),
        bus=SQLiteTransport(tmp_path / "track.db", synchronous="OFF"),
    ) as again:
        again.bus.register(go, "go", durable="workers", name="go")
        await asyncio.wait_for(_until(lambda: len(ids) == 2), 20)
        await again.settle()
    assert ids[0] == ids[1]
    assert [event["type"] for event in stream(tmp_path / "track.db")].count("went") == 1
    assert counted(tmp_path / "track.db") == {"s": 1}


async def _until(holds: object) -> None:
    while not holds():  # type: ignore[operator]
        await asyncio.sleep(0.01)


async def test_a_handler_that_changes_nothing_emits(manager: TrackingManager, heard: Heard) -> None:
    """A subject that is asked, or given the value it has, is not committed; what was emitted is sent all the same."""

    @manager.bus.on("go")
    async def go(ctx: EventContext) -> None:
        ctx.subject.set("n", 1)
        await ctx.emit("went")

    for _ in range(2):
        await manager.bus.emit("go", "s")
        await manager.settle()
    assert len(heard("went")) == 2
    assert len(heard("subject.")) == 1


async def test_a_delayed_emit_waits(manager: TrackingManager, clock: ManualClock, heard: Heard) -> None:
    """With a delay it is not in the commit, but kept until it is due."""

    @manager.bus.on("go")
    async def go(ctx: EventContext) -> None:
        ctx.subject.set("n", 1)
        await ctx.emit("later", delay=60)
        await ctx.emit("now")

    await manager.bus.emit("go", "s")
    await manager.settle()
    assert [event.type for event in heard()][-1] == "now"
    assert heard("later") == []
    await clock.advance(60)
    await manager.settle()
    assert len(heard("later")) == 1


@pytest.mark.parametrize("lasting", [False, True])
async def test_no_room_for_an_emit_is_the_handlers_failure(lasting: bool, tmp_path: Path, clock: ManualClock) -> None:
    """Where a consumer refuses to lapse and is too far behind, neither the change nor the emit is there."""
    path = tmp_path / "track.db"
    transport = SQLiteTransport(path, synchronous="OFF") if lasting else MemoryTransport()
    bus = EventBus(transport, clock=clock)
    store = SQLiteDataStore(path, synchronous="OFF")
    async with TrackingManager(data_store=store, bus=bus, clock=clock) as manager:
        await bus.declare_consumer(Consumer("elsewhere", max_lag=2, on_lag="refuse"))

        @bus.on("go")
        async def go(ctx: EventContext) -> None:
            ctx.subject.set("n", 1, muted=True)
            for n in range(3):
                await ctx.emit("went", {"n": n})

        await bus.emit("go", "s")
        await manager.settle()
        (failed,) = await bus.get_failed_jobs("go")
        assert "OutboxFull" in failed.reason
        assert not (await manager.subject("s")).has("n")
        assert [event.type async for event in bus.history("went")] == []
