"""A bus that gets another transport while events are on their way, or whose start fails or is overtaken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count

import pytest

from milepost import (
    BackendUnavailable,
    Consumer,
    CountTracker,
    Event,
    EventBus,
    EventContext,
    MemoryTransport,
    RedisDataCache,
    RedisTransport,
    TrackingManager,
)
from milepost._clock import Clock
from milepost.bus.envelope import Envelope
from milepost.testing import ManualClock
from tests.servers.valkey import ValkeyServer

_prefixes = count()


@pytest.fixture
def manager(redis_server: ValkeyServer, clock: ManualClock) -> TrackingManager:
    """A manager over Redis for whose bus nobody has chosen a transport: it is in memory until it must be durable."""
    cache = RedisDataCache("127.0.0.1", redis_server.port, key_prefix=f"changing{next(_prefixes)}")
    return TrackingManager(cache, clock=clock)


async def test_what_is_committed_while_the_transport_is_opened_is_heard_once(manager: TrackingManager) -> None:
    """A durable handler that comes late gets each milestone once: it is in the outbox, and not published besides."""
    heard: list[str] = []
    async with manager:
        await manager.bus.emit("in.memory")

        @manager.bus.on("tracker.*", durable="mail")
        async def mail(ctx: EventContext) -> None:
            heard.append(ctx.subject.name)

        names = [f"u{n}" for n in range(20)]
        await asyncio.gather(*(manager.add_tracker(name, CountTracker(name="n", target=1)) for name in names))
        await manager.settle()
        assert len([event async for event in manager.bus.history()]) == len(names)
    assert sorted(heard) == sorted(names)


async def test_what_was_committed_before_is_carried_once(manager: TrackingManager) -> None:
    """What waits in memory is handled when the transport changes, and is not published into its own outbox."""
    here: list[str] = []
    durable: list[str] = []
    gate = asyncio.Event()
    async with manager:

        @manager.bus.on("tracker.*", "done")
        async def listen(ctx: EventContext) -> None:
            await gate.wait()
            here.append(ctx.event_type)

        @manager.bus.on("work")
        async def work(ctx: EventContext) -> None:
            await ctx.subject.set("n", 1)
            await ctx.emit("done")

        await manager.bus.emit("work", "u")
        await manager.add_tracker("u", CountTracker(name="n", target=[1, 2]))
        await manager.track("u", {})
        while manager.bus._lines.pending < 4:
            await asyncio.sleep(0.001)

        @manager.bus.on("tracker.*", "done", durable="mail")
        async def mail(ctx: EventContext) -> None:
            durable.append(ctx.event_type)

        gate.set()
        await manager.settle()
    expected = ["done", "tracker.added", "tracker.progressed", "tracker.stage_completed"]
    assert sorted(here) == expected
    assert sorted(durable) == expected


async def test_a_handler_that_runs_meanwhile_can_emit(manager: TrackingManager) -> None:
    """What a handler emits while the next transport is being opened is sent when it is open; nothing fails."""
    heard: list[str] = []
    begun, gate = asyncio.Event(), asyncio.Event()
    async with manager:

        @manager.bus.on("x")
        async def handler(ctx: EventContext) -> None:
            begun.set()
            await gate.wait()
            await ctx.emit("y")

        @manager.bus.on("y")
        async def after(ctx: EventContext) -> None:
            heard.append(ctx.event_type)

        await manager.bus.emit("x", "s")
        await begun.wait()

        @manager.bus.on("z", durable="mail")
        async def mail(ctx: EventContext) -> None: ...

        gate.set()
        await manager.settle()
        assert heard == ["y"]
        assert await manager.bus.get_failed_jobs() == []


async def test_a_durable_handler_that_comes_during_the_start_is_durable(manager: TrackingManager) -> None:
    """It makes no difference whether the bus has just been started, is being started, or was not."""
    async with manager:
        emitting = asyncio.create_task(manager.bus.emit("x"))
        await asyncio.sleep(0)

        @manager.bus.on("x", durable="mail")
        async def mail(ctx: EventContext) -> None: ...

        await emitting
        await manager.settle()
        assert isinstance(manager.bus.transport, RedisTransport)


async def test_a_consumer_that_is_declared_during_the_start_is_declared_once(
    manager: TrackingManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transport is opened, and it is the one that is closed in the end."""
    opened: list[RedisTransport] = []
    really = RedisTransport.open

    async def noted(transport: RedisTransport, clock: Clock) -> None:
        opened.append(transport)
        await really(transport, clock)

    monkeypatch.setattr(RedisTransport, "open", noted)
    async with manager:
        await asyncio.gather(manager.bus.emit("x"), manager.bus.declare_consumer(Consumer("a")))
        assert (await manager.bus.status()).lags == {"a": 1}
        assert opened == [manager.bus.transport]


async def test_a_start_that_failed_can_be_made_again(redis_server: ValkeyServer, clock: ManualClock) -> None:
    """Where Redis did not answer in the middle of the start, the next call starts the bus."""
    trouble = [BackendUnavailable("just now")]

    class Troubled(RedisTransport):
        async def carries(self, store: object) -> bool:
            if trouble:
                raise trouble.pop()
            return False

    bus = EventBus(Troubled("127.0.0.1", redis_server.port, key_prefix=f"changing{next(_prefixes)}"), clock=clock)
    bus.store = object()
    with pytest.raises(BackendUnavailable, match="just now"):
        await bus.start()
    await bus.emit("x")
    assert [event.type async for event in bus.history()] == ["x"]
    await bus.aclose()


async def test_closing_handles_what_was_carried(clock: ManualClock) -> None:
    """A bus that got another transport and was closed before it began with it handles what was published before."""
    heard: list[str] = []
    bus = EventBus(clock=clock)

    @bus.on("x")
    async def handler(ctx: EventContext) -> None:
        heard.append(ctx.subject.name)

    await bus.emit("x", "1")
    bus.use(MemoryTransport())
    await bus.aclose()
    assert heard == ["1"]


class SlowTransport(MemoryTransport):
    """Takes a while to declare a consumer."""

    def __init__(self) -> None:
        super().__init__()
        self.declaring = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def declare(self, consumer: Consumer) -> None:
        self.declaring.set()
        await self.may_go_on.wait()
        await super().declare(consumer)


async def test_what_is_published_during_the_start_comes_after_what_was_carried(clock: ManualClock) -> None:
    """Events of a subject keep their order over a change of the transport."""
    heard: list[str] = []
    bus = EventBus(clock=clock)

    @bus.on("*")
    async def handler(ctx: EventContext) -> None:
        heard.append(ctx.event_type)

    await bus.emit("first", "s")
    transport = SlowTransport()
    bus.use(transport)
    declaring = asyncio.create_task(bus.declare_consumer(Consumer("a")))
    await transport.declaring.wait()
    second = asyncio.create_task(bus.emit("second", "s"))
    also = asyncio.create_task(bus.declare_consumer(Consumer("b")))
    await asyncio.sleep(0.01)
    transport.may_go_on.set()
    await asyncio.gather(declaring, second, also)
    await bus.settle()
    assert heard == ["first", "second"]
    assert (await bus.status()).lags.keys() == {"a", "b"}
    await bus.aclose()


class Silent(SlowTransport):
    """Does not answer when something is appended, and is not in this process."""

    async def append(self, envelopes: Sequence[Envelope]) -> list[bool]:
        raise BackendUnavailable("not now")


async def test_what_waits_for_a_transport_is_carried_to_the_next(clock: ManualClock) -> None:
    """Tracker events that the former transport would not take are heard on the next one."""
    heard: list[str] = []
    silent = Silent()
    silent.may_go_on.set()
    bus = EventBus(silent, clock=clock)
    bus._immediate = None

    @bus.on("*")
    async def handler(ctx: EventContext) -> None:
        heard.append(ctx.event_type)

    await bus.start()
    for name in ("first", "second"):
        bus.hear([Event(name, subject="s")])
        await asyncio.sleep(0.01)
    bus.use(MemoryTransport())
    await bus.start()
    await clock.advance(1)
    await bus.settle()
    assert sorted(heard) == ["first", "second"]
    await bus.aclose()


async def test_the_former_transport_is_closed_with_the_bus(redis_server: ValkeyServer, clock: ManualClock) -> None:
    """A bus that went on with another transport leaves no connection behind."""
    former = RedisTransport("127.0.0.1", redis_server.port, key_prefix=f"changing{next(_prefixes)}")
    bus = EventBus(former, clock=clock)
    await bus.emit("x")
    bus.use(MemoryTransport())
    await bus.emit("x")
    await bus.aclose()
    with pytest.raises(BackendUnavailable, match="is not open"):
        await former.append([])
