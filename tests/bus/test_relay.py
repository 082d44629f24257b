"""Tracker events whose outbox is not the stream of the bus are moved there by a relay, at least once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from milepost import (
    BackendUnavailable,
    BaseDataStore,
    Consumer,
    CountTracker,
    EventContext,
    MongoDBDataStore,
    RedisTransport,
    SQLiteDataStore,
    SQLiteTransport,
    TrackingManager,
    Transport,
)
from milepost.bus.envelope import Envelope
from milepost.testing import ManualClock
from milepost.testing.suites.transports import eventually
from tests.servers.mongodb import MongoServer
from tests.servers.valkey import ValkeyServer

_prefixes = count()
MakeStore = Callable[[], BaseDataStore]
MakeTransport = Callable[[], Transport]


@pytest.fixture(params=["sqlite", "mongodb"])
def store_there(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Opens stores over the same place; a small outbox."""
    if request.param == "sqlite":
        return lambda: SQLiteDataStore(tmp_path / "t.db", synchronous="OFF", outbox_size=10)
    server: MongoServer = request.getfixturevalue("mongodb")
    database = server.new_database()
    return lambda: MongoDBDataStore(server.url, database=database, outbox_size=10)


@pytest.fixture(params=["sqlite", "redis"])
def stream_elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> MakeTransport:
    """Makes transports over the same place, which is not the store's."""
    if request.param == "sqlite":
        return lambda: SQLiteTransport(tmp_path / "events.db", synchronous="OFF")
    server: ValkeyServer = request.getfixturevalue("redis_server")
    prefix = f"relay{next(_prefixes)}"
    return lambda: RedisTransport("127.0.0.1", server.port, key_prefix=prefix)


async def test_what_was_committed_is_moved_in_order_and_once(
    store_there: MakeStore, stream_elsewhere: MakeTransport, clock: ManualClock
) -> None:
    """Milestones arrive in the order of their commits, each once; handlers of the process and durable ones hear."""
    heard: list[tuple[str, str]] = []
    async with TrackingManager(data_store=store_there(), bus=stream_elsewhere(), clock=clock) as manager:

        @manager.bus.on("tracker.*completed")
        async def here(ctx: EventContext) -> None:
            heard.append(("here", ctx.event_type))

        @manager.bus.on("tracker.*completed", durable="mail")
        async def mail(ctx: EventContext) -> None:
            heard.append(("mail", ctx.event_type))

        await manager.add_tracker("u", CountTracker(name="n", target=[1, 2]))
        await manager.track("u", {})
        await manager.track("u", {})
        await manager.settle()
        kept = [event.type async for event in manager.bus.history("tracker.*completed")]
    assert kept == ["tracker.stage_completed", "tracker.all_completed"]
    assert sorted(heard) == sorted((who, what) for who in ("here", "mail") for what in kept)


class Deaf:
    """A transport that takes nothing while it is told not to; what was sent to it may be there all the same."""

    def __init__(self, transport: Transport, *, takes_before_it_fails: bool) -> None:
        self.transport = transport
        self._append = transport.append
        self._takes = takes_before_it_fails
        self.fails = True
        transport.append = self.append  # type: ignore[method-assign]

    async def append(self, envelopes: Any) -> list[bool]:
        if not self.fails or not any(isinstance(one, Envelope) and one.type.startswith("tracker") for one in envelopes):
            return await self._append(envelopes)
        if self._takes:
            await self._append(envelopes)
        raise BackendUnavailable("not now")


@pytest.mark.parametrize("takes", [False, True])
async def test_a_process_that_ends_before_it_moved_its_events(
    takes: bool, store_there: MakeStore, stream_elsewhere: MakeTransport, clock: ManualClock
) -> None:
    """What a process committed and could not move, or moved and could not confirm, the next one moves: all of it,
    though the outbox is small, and nothing twice.
    """
    deaf = Deaf(stream_elsewhere(), takes_before_it_fails=takes)
    manager = TrackingManager(data_store=store_there(), bus=deaf.transport, clock=clock)
    await manager.start()
    await manager.add_tracker("u", CountTracker(name="n", target=list(range(1, 41))))
    for _ in range(40):
        await manager.track("u", {})
    manager.bus._close_timeout = 0.05
    await manager.aclose()
    async with TrackingManager(data_store=store_there(), bus=stream_elsewhere(), clock=clock) as manager:
        targets: list[int] = []

        @manager.bus.on("tracker.*completed", durable="mail")
        async def mail(ctx: EventContext) -> None:
            targets.append(ctx.payload["target"])

        await eventually(lambda: len(targets) >= 40)
        await manager.settle()
        assert targets == list(range(1, 41))


async def test_events_wait_while_the_stream_does_not_take_them(
    store_there: MakeStore, stream_elsewhere: MakeTransport, clock: ManualClock
) -> None:
    """Tracking goes on while the transport is away, and its events follow."""
    deaf = Deaf(stream_elsewhere(), takes_before_it_fails=False)
    async with TrackingManager(data_store=store_there(), bus=deaf.transport, clock=clock) as manager:
        await manager.bus.declare_consumer(Consumer("mail"))
        await manager.add_tracker("u", CountTracker(name="n", target=[1, 2, 3]))
        for _ in range(3):
            assert (await manager.track("u", {})).ok
        assert [event.type async for event in manager.bus.history()] == []
        deaf.fails = False
        await clock.advance(2)
        await manager.settle()
        kept = [event.type async for event in manager.bus.history("tracker.*completed")]
        assert kept == ["tracker.stage_completed"] * 2 + ["tracker.all_completed"]
