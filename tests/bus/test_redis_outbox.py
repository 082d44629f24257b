"""The outbox that tracking writes in Redis is the stream of the bus, and both have one keeper."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from milepost import (
    Consumer,
    CountTracker,
    EventContext,
    InvalidDefinition,
    MemoryTransport,
    OutboxFull,
    RedisDataCache,
    RedisTransport,
    TrackingManager,
)
from milepost.bus.envelope import Enclosed, Envelope
from milepost.records import Commit, Committed, Revision
from milepost.subjects.rows import SubjectRow
from milepost.testing import ManualClock
from milepost.testing.suites.transports import eventually
from tests.servers.valkey import ValkeyCluster, ValkeyServer

_prefixes = count()
Over = Callable[..., TrackingManager]


@pytest.fixture(params=["server", "cluster"])
def over(request: pytest.FixtureRequest, clock: ManualClock) -> Over:
    """Makes managers whose cache and whose bus are in the same Redis; again in a test, over the same."""
    if request.param == "server":
        server: ValkeyServer = request.getfixturevalue("redis_server")
        url = f"redis://127.0.0.1:{server.port}"
    else:
        cluster: ValkeyCluster = request.getfixturevalue("redis_cluster")
        url = f"redis+cluster://127.0.0.1:{cluster.port}"
    prefix = f"outbox{next(_prefixes)}"

    def opened(outbox_size: int = 100_000, **settings: Any) -> TrackingManager:
        cache = RedisDataCache.from_url(url, key_prefix=prefix, outbox_size=outbox_size)
        return TrackingManager(cache, bus=RedisTransport.from_url(url, key_prefix=prefix), clock=clock, **settings)

    return opened


async def test_durable_consumers_get_what_tracking_committed(over: Over) -> None:
    """Milestones from before a consumer's process began reach it, once, and nothing was published twice."""
    async with over() as manager:
        await manager.bus.declare_consumer(Consumer("mail"))
        await manager.add_tracker("u", CountTracker(name="n", target=[1, 2]))
        await manager.track("u", {})
        await manager.track("u", {})
        await manager.bus.emit("sent.too", "u")
    heard: list[tuple[str, str]] = []
    for _ in range(2):
        async with over() as manager:

            @manager.bus.on("tracker.*completed", durable="mail")
            async def mail(ctx: EventContext) -> None:
                heard.append((ctx.event_type, ctx.event.name))

            await manager.settle()
            kept = [event.type async for event in manager.bus.history(subject="u")]
    assert heard == [("tracker.stage_completed", "n"), ("tracker.all_completed", "n")]
    assert kept == ["tracker.added", "tracker.stage_completed", "tracker.all_completed", "sent.too"]


async def test_milestones_are_found_and_traced(over: Over) -> None:
    """What tracking committed is found by its id, and with it what it caused."""
    async with over() as manager:
        ids: list[str] = []

        @manager.bus.on("tracker.all_completed")
        async def listen(ctx: EventContext) -> None:
            ids.append(ctx.event.id)
            await ctx.emit("mail.sent")

        await manager.add_tracker("u", CountTracker(name="n", target=1))
        await manager.track("u", {})
        await manager.settle()
        tree = await manager.bus.trace(ids[0])
        assert str(tree) == "tracker.all_completed of u\n  mail.sent of u"


async def test_commits_are_refused_where_that_was_chosen(over: Over) -> None:
    """With a consumer that must not lapse, a commit with events is refused when it is too far behind: no progress."""
    async with over() as manager:
        await manager.bus.declare_consumer(Consumer("strict", max_lag=3, on_lag="refuse"))
        await manager.add_tracker("g", CountTracker(name="n", target=[1, 2, 3, 4, 5]))
        await manager.track("g", {})
        await manager.track("g", {})
        with pytest.raises(OutboxFull, match="'strict' is 3 events behind"):
            await manager.track("g", {})
        (tracker,) = await manager.get_trackers("g")
        assert tracker.progress == 2
        await manager.bus.forget_consumer("strict")
        assert (await manager.track("g", {})).ok
        (tracker,) = await manager.get_trackers("g")
        assert tracker.progress == 3


async def test_a_commit_that_was_refused_is_accepted_when_the_consumer_has_caught_up(over: Over) -> None:
    """Whoever must not lapse acknowledges, and commits go on."""
    async with over() as manager:
        transport = manager.bus.transport
        await manager.bus.declare_consumer(Consumer("strict", max_lag=2, on_lag="refuse"))
        await manager.add_tracker("g", CountTracker(name="n", target=[1, 2, 3, 4, 5]))
        await manager.track("g", {})
        with pytest.raises(OutboxFull):
            await manager.track("g", {})
        ends = await transport.end()
        claims = await transport.claim("strict", "me", 10, 100)
        await transport.acknowledge("strict", {one.partition: (one.token, ends[one.partition]) for one in claims})
        assert (await manager.track("g", {})).ok
        assert await transport.lags() == {"strict": 1}


async def test_tracking_keeps_what_a_consumer_has_not_passed(over: Over) -> None:
    """A small outbox is not trimmed before a consumer; one that lapses is said to have, and finds the newest events."""
    async with over(outbox_size=16) as manager:
        await manager.bus.declare_consumer(Consumer("slow"))
        await manager.add_tracker("g", CountTracker(name="n", target=list(range(1, 100))))
        for _ in range(50):
            await manager.track("g", {})
        assert (await manager.bus.status()).lags == {"slow": 51}
        assert len([event async for event in manager.bus.history()]) == 51
        await manager.bus.declare_consumer(Consumer("slow", max_lag=10))
        await manager.track("g", {})
        status = await manager.bus.status()
        assert status.lags["slow"] <= 10
        assert status.lags["slow"] + status.lapsed["slow"] == 52
        kept = [event.type async for event in manager.bus.history()]
        assert len(kept) == status.lags["slow"]


async def test_without_consumers_the_outbox_keeps_its_size(over: Over) -> None:
    """Events are kept up to the outbox's size, each partition its share, and the newest."""
    async with over(outbox_size=160) as manager:
        await manager.add_tracker("g", CountTracker(name="n", target=list(range(1, 200))))
        for _ in range(60):
            await manager.track("g", {})
        stages = [event.data["target"] async for event in manager.bus.history("tracker.stage*")]
        assert 10 <= len(stages) <= 11
        assert stages[-1] == 60


async def test_a_cache_without_an_outbox_sends_its_events(over: Over) -> None:
    """With ``outbox_size=0`` milestones are sent to the bus instead, once."""
    async with over(outbox_size=0) as manager:
        heard: list[str] = []

        @manager.bus.on("tracker.*", durable="mail")
        async def mail(ctx: EventContext) -> None:
            heard.append(ctx.event_type)

        await manager.add_tracker("u", CountTracker(name="n", target=1))
        await manager.track("u", {})
        await manager.settle()
        assert heard == ["tracker.added", "tracker.progressed", "tracker.all_completed"]


async def test_flush_forgets_events_and_keeps_consumers(over: Over) -> None:
    """Flushing deletes all of milepost's data, the bus's among it; the bus goes on, in other processes too."""
    heard: list[str] = []
    async with over() as manager, over() as other:

        @other.bus.on("x", durable="d")
        async def handler(ctx: EventContext) -> None:
            heard.append(ctx.subject.name)

        await other.settle()
        await manager.bus.emit("x", "before")
        await other.settle()
        await manager.bus.emit("x", "never", delay=60)
        await manager.flush(confirm=True)
        assert [event async for event in manager.bus.history()] == []
        assert await manager.bus.transport.delayed() == []
        assert (await manager.bus.status()).lags == {"d": 0}
        await manager.bus.emit("x", "after")
        await other.settle()
        await other.settle()
        assert heard == ["before", "after"]


async def test_what_is_delayed_after_a_flush_is_delivered(over: Over, clock: ManualClock) -> None:
    """A process that does nothing but delay events need not know that another one has deleted all data."""
    async with over() as manager, over() as other:
        await other.bus.start()
        await manager.add_tracker("u", CountTracker(name="n", target=1))
        await manager.flush(confirm=True)
        await other.bus.emit("later", "s", delay=60)
    heard: list[str] = []
    async with over() as manager:

        @manager.bus.on("later", durable="d")
        async def handler(ctx: EventContext) -> None:
            heard.append(ctx.subject.name)

        await clock.advance(61)
        await eventually(lambda: heard == ["s"])


async def test_the_number_of_partitions_is_agreed_upon(redis_server: ValkeyServer, clock: ManualClock) -> None:
    """A bus has as many partitions as the cache; one that is told another number says what is wrong."""
    prefix = f"outbox{next(_prefixes)}"
    cache = RedisDataCache("127.0.0.1", redis_server.port, key_prefix=prefix, partitions=4)
    transport = RedisTransport("127.0.0.1", redis_server.port, key_prefix=prefix)
    async with TrackingManager(cache, bus=transport) as manager:
        await manager.bus.start()
        assert transport.partitions == 4
    wrong = RedisTransport("127.0.0.1", redis_server.port, key_prefix=prefix, partitions=5)
    with pytest.raises(InvalidDefinition, match="partitions must be 4"):
        await wrong.open(clock)


async def test_another_redis_is_not_taken_for_the_outbox(redis_server: ValkeyServer, clock: ManualClock) -> None:
    """The same prefix in another database is another place: milestones are sent there."""
    prefix = f"outbox{next(_prefixes)}"
    cache = RedisDataCache("127.0.0.1", redis_server.port, key_prefix=prefix)
    transport = RedisTransport("127.0.0.1", redis_server.port, db=1, key_prefix=prefix)
    async with TrackingManager(cache, bus=transport, clock=clock) as manager:
        assert not await transport.carries(cache)
        await manager.add_tracker("u", CountTracker(name="n", target=1))
        await manager.settle()
        assert [event.type async for event in manager.bus.history()] == ["tracker.added"]


async def test_a_bus_may_be_started_before_its_manager(over: Over) -> None:
    """Its stream is the outbox all the same, and nothing is published twice."""
    manager = over()
    await manager.bus.emit("early")
    async with manager:
        await manager.add_tracker("u", CountTracker(name="n", target=1))
        await manager.settle()
        assert [event.type async for event in manager.bus.history()] == ["early", "tracker.added"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_durable_consumer_is_durable_where_the_cache_is_redis(
    when: str, redis_server: ValkeyServer, clock: ManualClock
) -> None:
    """Nobody has to choose a transport: with a Redis cache, a durable consumer has its events from that Redis."""
    prefix = f"outbox{next(_prefixes)}"
    heard: list[str] = []
    for name in ("u", "v"):
        cache = RedisDataCache("127.0.0.1", redis_server.port, key_prefix=prefix)
        manager = TrackingManager(cache, clock=clock)
        if when == "after":
            await manager.bus.emit("in.memory")

        @manager.bus.on("tracker.all_completed", durable="mail")
        async def mail(ctx: EventContext) -> None:
            heard.append(ctx.subject.name)

        async with manager:
            await manager.add_tracker(name, CountTracker(name="n", target=1))
            await manager.track(name, {})
            await manager.settle()
            assert isinstance(manager.bus.transport, RedisTransport)
            assert await manager.bus.transport.carries(cache)
    assert heard == ["u", "v"]


async def test_without_a_durable_consumer_the_bus_is_in_memory(redis_server: ValkeyServer, clock: ManualClock) -> None:
    """Handlers of this process alone cost no round trips."""
    cache = RedisDataCache("127.0.0.1", redis_server.port, key_prefix=f"outbox{next(_prefixes)}")
    async with TrackingManager(cache, clock=clock) as manager:

        @manager.bus.on("x")
        async def handler(ctx: EventContext) -> None: ...

        await manager.bus.emit("x")
        await manager.settle()
        assert isinstance(manager.bus.transport, MemoryTransport)


async def test_a_subjects_events_are_in_one_partition(over: Over) -> None:
    """What a subject's handler emits, its properties' changes and its tracker's milestones keep their order."""
    async with over() as manager:

        @manager.bus.on("count")
        async def work(ctx: EventContext) -> None:
            await ctx.subject.set("n", ctx.payload["n"])
            await ctx.emit("counted", {"n": ctx.payload["n"]})

        await manager.bus.declare_consumer(Consumer("all"))
        await manager.add_tracker("u", CountTracker(name="n", target=1))
        await manager.track("u", {})
        await manager.bus.emit("count", "u", {"n": 1})
        await manager.settle()
        transport = manager.bus.transport
        batch = await transport.read(dict.fromkeys(range(transport.partitions), ""), 100)
        assert len({entry.partition for entry in batch.entries}) == 1
        assert [entry.envelope.type for entry in batch.entries] == [
            "tracker.added",
            "tracker.all_completed",
            "count",
            "subject.property_changed",
            "counted",
        ]


async def test_an_event_that_another_caused_is_committed_once(over: Over) -> None:
    """A handler that is run again emits with its commit what it has emitted before: by its id it is there once."""
    async with over() as manager:
        await manager.bus.start()
        emitted = Envelope("emitted", "y", "u", {"n": 1}, 2.0)
        emitted.caused_by(Envelope("cause", "x", "u", {}, 1.0))
        epoch = await manager.data_cache.epoch()
        for n, base in enumerate((None, Revision(1, 1))):
            commit = Commit("$subject:u", epoch, base, 1, {"p:n": SubjectRow("p:n", n)}, events=(Enclosed(emitted),))
            assert await manager.data_cache.commit([commit]) == [Committed()]
        assert [event.id async for event in manager.bus.history()] == ["emitted"]
        assert await manager.bus.transport.append([emitted]) == [False]
        found = await manager.bus.transport.find("emitted")
        assert found is not None
        assert found.cause == "cause"
