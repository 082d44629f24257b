"""Events that are committed in one place and go to a stream in another: moved, confirmed, and only then let go."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from milepost import CountTracker, EventContext, MongoDBDataStore, SQLiteDataStore, StoreUnavailable, TrackingManager
from milepost.bus.transports.sqlite import SQLiteTransport
from milepost.data_stores.base import BaseDataStore
from milepost.testing import ManualClock
from tests.servers.mongodb import MongoServer
from tests.subjects import relayed


def events_in(path: Path) -> list[dict[str, Any]]:
    """Return the events in a file, in order."""
    with closing(sqlite3.connect(path)) as connection:
        return [json.loads(body) for (body,) in connection.execute("SELECT body FROM outbox ORDER BY position")]


@pytest.fixture(params=["sqlite", "mongodb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BaseDataStore:
    """A store whose outbox is not the bus's stream."""
    if request.param == "sqlite":
        return SQLiteDataStore(tmp_path / "track.db", synchronous="OFF", outbox_size=3)
    server: MongoServer = request.getfixturevalue("mongodb")
    return MongoDBDataStore(server.url, prefix=f"{tmp_path.name}.", outbox_size=3)


@pytest.mark.survival
@pytest.mark.slow
async def test_killed_on_the_way(tmp_path: Path) -> None:
    """Whatever was committed when a process is killed is in the stream when the next one has started, once."""
    killed = 0
    for number in range(1, 100):
        store, stream = tmp_path / f"{number}.db", tmp_path / f"{number} bus.db"
        process = subprocess.run(
            [sys.executable, "-W", "error", relayed.__file__, str(store), str(stream), str(number)],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            assert process.returncode == -signal.SIGKILL, process.stderr
            killed += 1
        async with relayed.manager_over(str(store), str(stream)) as manager:
            await manager.settle()
            times = (await manager.subject("s")).get("n", 0)
            tracker = await manager.get_tracker("g", "times")
        assert tracker is not None
        told = Counter(event["type"] for event in events_in(stream))
        assert told["went"] == told["subject.property_changed"] == times
        assert told["tracker.stage_completed"] + told["tracker.all_completed"] == tracker.progress
        committed = {event["id"] for event in events_in(store)}
        assert len(committed) == len(events_in(store))
        assert committed <= {event["id"] for event in events_in(stream)}
        if not process.returncode:
            break
    print(f"{killed} kills")
    assert killed > 2 * relayed.TIMES
    assert times == relayed.TIMES


async def test_durable_consumers_get_what_is_moved(store: BaseDataStore, tmp_path: Path) -> None:
    """A subject's changes, what is emitted with them and milestones, in order, and handlers of this process too."""
    consumed: list[str] = []
    heard: list[str] = []
    async with TrackingManager(
        data_store=store, bus=SQLiteTransport(tmp_path / "bus.db", synchronous="OFF")
    ) as manager:

        @manager.bus.on("go")
        async def go(ctx: EventContext) -> None:
            ctx.subject.set("n", 1)
            await ctx.emit("went")

        @manager.bus.on("*", durable="all")
        async def consume(ctx: EventContext) -> None:
            consumed.append(ctx.event_type)

        @manager.bus.on("*")
        async def hear(ctx: EventContext) -> None:
            heard.append(ctx.event_type)

        manager.declare("g", CountTracker("n", 1))
        id = await manager.bus.emit("go", "s")
        await manager.settle()
        await manager.track("g", {})
        await manager.settle()
        reached = ["tracker.progressed", "tracker.all_completed"]
        assert consumed == heard == ["go", "subject.property_changed", "went", *reached]
        tree = await manager.bus.trace(id)
        assert tree is not None
        assert [node.event.type for node in tree] == ["go", "subject.property_changed", "went"]


async def test_nothing_is_let_go_before_it_is_moved(
    store: BaseDataStore, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the stream does not answer, events wait in the outbox, more than it keeps otherwise; then they go on."""
    transport = SQLiteTransport(tmp_path / "bus.db", synchronous="OFF")
    append = transport.append
    down = True

    async def sometimes(envelopes: Sequence[Any]) -> list[bool]:
        if down:
            raise StoreUnavailable("it does not answer")
        return await append(envelopes)

    monkeypatch.setattr(transport, "append", sometimes)
    async with TrackingManager(data_store=store, bus=transport, clock=clock) as manager:
        for n in range(10):
            await (await manager.subject("s")).set("n", n)
        await asyncio.sleep(0.05)
        assert [event async for event in manager.bus.history("*")] == []
        down = False
        await clock.advance(5)
        await manager.settle()
        told = [event.data["new_value"] async for event in manager.bus.history("subject.*")]
        assert told == list(range(10))


async def test_two_processes_move_each_event_once(tmp_path: Path, clock: ManualClock) -> None:
    """Both move what both have committed; the stream has each event once, and each subject's in order."""
    path, stream = tmp_path / "track.db", tmp_path / "bus.db"

    def opened() -> TrackingManager:
        kept = SQLiteDataStore(path, synchronous="OFF")
        return TrackingManager(data_store=kept, bus=SQLiteTransport(stream, synchronous="OFF"), clock=clock)

    async def change(manager: TrackingManager, name: str) -> None:
        for n in range(30):
            await (await manager.subject(name)).set("n", n)

    async with opened() as one, opened() as other:
        await asyncio.gather(change(one, "a"), change(other, "b"), change(one, "c"), change(other, "d"))
        await one.settle()
        await other.settle()
    told = [(event["subject"], event["data"]["new_value"]) for event in events_in(stream)]
    for name in "abcd":
        assert [n for subject, n in told if subject == name] == list(range(30))
    assert len(told) == 120


async def test_it_begins_with_what_is_committed_then(tmp_path: Path, clock: ManualClock) -> None:
    """What was committed while the bus was in memory is past; it does not flood a stream that is new."""
    path, stream = tmp_path / "track.db", tmp_path / "bus.db"
    async with TrackingManager(data_store=SQLiteDataStore(path, synchronous="OFF"), clock=clock) as manager:
        await (await manager.subject("s")).set("n", 1)
    kept = SQLiteDataStore(path, synchronous="OFF")
    async with TrackingManager(data_store=kept, bus=SQLiteTransport(stream), clock=clock) as manager:
        await (await manager.subject("s")).set("n", 2)
        await manager.settle()
    assert [event["data"]["new_value"] for event in events_in(stream)] == [2]
