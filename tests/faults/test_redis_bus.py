"""A bus whose Redis fails: replies that are lost, scripts that are forgotten, slots that move, data that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from milepost import CacheUnavailable, CommitUncertain, Event, EventBus, EventContext, Pace, RedisTransport
from milepost._clock import SystemClock
from milepost.backends.redis.keys import Keys, slot_of
from milepost.bus.transports.base import BEGINNING, Consumer
from milepost.testing.suites.transports import event, eventually, ids
from tests.faults.proxy import Proxy
from tests.servers.valkey import ValkeyCluster, ValkeyServer, command

_prefixes = count()


def transport_on(port: int, **settings: Any) -> RedisTransport:
    """Return a transport with a prefix of its own."""
    settings.setdefault("key_prefix", f"busfault{next(_prefixes)}")
    return RedisTransport("127.0.0.1", port, **settings)


@asynccontextmanager
async def opened(port: int, **settings: Any) -> AsyncIterator[RedisTransport]:
    """An open transport."""
    transport = transport_on(port, **settings)
    await transport.open(SystemClock())
    try:
        yield transport
    finally:
        await transport.aclose()


async def kept(transport: RedisTransport) -> list[str]:
    """Return the ids of the events that are kept."""
    return [one.id async for one in transport.history()]


def appends(request: bytes) -> bool:
    """Whether a request publishes the event of these tests."""
    return b"lost reply" in request


async def test_events_whose_reply_is_lost_are_published_once(redis_server: ValkeyServer) -> None:
    """The connection is cut between publishing and its reply: each event is there once, and its publisher is told
    that it is new.
    """
    async with Proxy("127.0.0.1", redis_server.port) as proxy, opened(proxy.port) as transport:
        await transport.append([event("known")])
        proxy.lose_reply_to(appends)
        batch = [event("lost reply"), event("known"), event("lost reply"), event("other", subject="t")]
        assert await transport.append(batch) == [True, False, False, True]
        assert proxy.lost_replies == 1
        assert await kept(transport) == ["known", "lost reply", "other"]


async def test_what_cannot_be_learned_is_uncertain(redis_server: ValkeyServer) -> None:
    """The reply is lost and the server stays away: ``CommitUncertain``; published again, it is there once."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy, opened(proxy.port, patience=0.05) as transport:
        refusing: list[asyncio.Future[None]] = []

        def lose_and_refuse(request: bytes) -> bool:
            if appends(request):
                refusing.append(asyncio.ensure_future(proxy.refuse()))
            return appends(request)

        proxy.lose_reply_to(lose_and_refuse)
        with pytest.raises(CommitUncertain):
            await transport.append([event("lost reply")])
        await asyncio.gather(*refusing)
        with pytest.raises(CacheUnavailable):
            await transport.append([event("never sent")])
        await proxy.accept()
        await transport.append([event("lost reply")])
        assert await kept(transport) == ["lost reply"]


async def test_scripts_are_sent_again_where_the_server_forgot_them(redis_server: ValkeyServer) -> None:
    """``SCRIPT FLUSH`` on the server goes unnoticed."""
    async with opened(redis_server.port) as transport:
        await transport.append([event("a")])
        command(redis_server.port, "SCRIPT", "FLUSH")
        assert await transport.append([event("b")]) == [True]
        await transport.declare(Consumer("c"))
        command(redis_server.port, "SCRIPT", "FLUSH")
        assert len(await transport.claim("c", "me", 10, 100)) == transport.partitions


async def test_publishing_goes_on_while_a_slot_moves(redis_cluster: ValkeyCluster) -> None:
    """The slot of a subject is moved to another node: everything arrives, once and in order."""
    prefix = f"busfault{next(_prefixes)}"
    url = f"redis+cluster://127.0.0.1:{redis_cluster.port}"
    bus = EventBus(RedisTransport.from_url(url, key_prefix=prefix), pace=Pace(lease=2.0))
    done: list[int] = []

    @bus.on("job", durable="workers")
    async def work(ctx: EventContext) -> None:
        done.append(ctx.payload["n"])

    async with bus:
        keys = Keys(prefix, 16)
        slot = slot_of(keys.tags[keys.partition("s")][1:-1])
        moving = asyncio.create_task(asyncio.to_thread(redis_cluster.move, slot))
        n = 0
        while not moving.done() or n < 50:
            await bus.publish(Event("job", {"n": n}, subject="s", id=f"job {n}"))
            n += 1
        await moving
        await bus.publish(Event("job", {"n": n}, subject="s"))
        await eventually(lambda: len(done) > n)
        assert done == list(range(n + 1))


async def test_a_consumer_survives_an_outage(redis_server: ValkeyServer) -> None:
    """While the server does not answer nothing is lost: what was published is handled when it does."""
    async with Proxy("127.0.0.1", redis_server.port) as proxy:
        prefix = f"busfault{next(_prefixes)}"
        bus = EventBus(transport_on(proxy.port, key_prefix=prefix, patience=0.05), pace=Pace(lease=2.0, poll=0.02))
        done: list[str] = []

        @bus.on("job", durable="workers")
        async def work(ctx: EventContext) -> None:
            done.append(ctx.event_id)

        async with bus, opened(redis_server.port, key_prefix=prefix) as elsewhere:
            await bus.emit("job", "s")
            await bus.settle()
            await proxy.refuse()
            assert await elsewhere.append([event(f"{n}", "job") for n in range(20)]) == [True] * 20
            await asyncio.sleep(0.2)
            await proxy.accept()
            await eventually(lambda: len(done) == 21)
        assert done[1:] == [f"{n}" for n in range(20)]


async def test_a_consumer_begins_anew_where_redis_lost_everything(
    redis_server: ValkeyServer, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Redis comes back empty: the consumer is declared again, says so, and handles what is published from then on."""
    own = ValkeyServer(tmp_path)
    own.start()
    try:
        bus = EventBus(transport_on(own.port), pace=Pace(lease=0.5, poll=0.02))
        done: list[str] = []

        @bus.on("job", durable="workers")
        async def work(ctx: EventContext) -> None:
            done.append(ctx.subject.name)

        async with bus:
            await bus.emit("job", "before")
            await bus.settle()
            command(own.port, "FLUSHALL")
            await bus.emit("job", "after")
            await eventually(lambda: done[:2] == ["before", "after"])
            await eventually(lambda: "begins anew" in caplog.text)
            await bus.emit("job", "later")
            await eventually(lambda: "later" in done)
    finally:
        own.stop()


async def test_who_waits_asks_for_little(tmp_path: Path) -> None:
    """Consumers that wait do not ask the server again and again, and yet hear at once of what another publishes."""
    own = ValkeyServer(tmp_path)
    own.start()
    try:
        prefix = "quiet"
        bus = EventBus(transport_on(own.port, key_prefix=prefix))
        heard = asyncio.Event()

        for name in ("one", "two"):

            @bus.on("job", durable=name, name=name)
            async def work(ctx: EventContext) -> None:
                heard.set()

        async with bus, opened(own.port, key_prefix=prefix) as elsewhere:
            await asyncio.sleep(0.5)
            before = requests_to(own)
            await asyncio.sleep(1.0)
            assert requests_to(own) - before < 20
            began = asyncio.get_running_loop().time()
            await elsewhere.append([event("x", "job")])
            await heard.wait()
            assert asyncio.get_running_loop().time() - began < 0.5
    finally:
        own.stop()


def requests_to(server: ValkeyServer) -> int:
    """Return how often a server has read something from a connection."""
    lines = command(server.port, "INFO", "stats").split(b"\r\n")
    return int(next(line for line in lines if line.startswith(b"total_reads_processed")).split(b":")[1])


async def test_an_event_that_cannot_be_read_is_passed_over(
    redis_server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no event stays where it is, is named in the log, and holds nothing up."""
    async with opened(redis_server.port) as transport:
        await transport.append([event("a")])
        keys = Keys(transport.key_prefix, 16)
        stream = keys.of(keys.partition("s"), "o").decode()
        command(redis_server.port, "XADD", stream, "9999999999999999-2", "e", "{no json")
        everywhere = dict.fromkeys(range(16), BEGINNING)
        batch = await transport.read(everywhere, 10)
        assert ids(batch.entries) == ["a"]
        assert "9999999999999999-2" in caplog.text
        assert (await transport.read(batch.reached, 10)).entries == []
