"""FastStream on a real NATS: messages drive trackers once, poison is set aside, milestones go out at least once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from faststream import FastStream
from faststream.nats import PullSub
from nats.js.errors import NotFoundError

from milepost import (
    CountTracker,
    Event,
    EventContext,
    InvalidDefinition,
    RedisDataCache,
    RedisTransport,
    RetryPolicy,
    SQLiteDataStore,
    SQLiteTransport,
    TrackingManager,
)
from milepost.integrations.faststream import BrokerLink
from tests.integrations.nats_streams import ConsumerConfig, Names, connected, eventually, quiet_broker
from tests.servers.nats import NatsServer
from tests.servers.valkey import ValkeyServer

SOON = RetryPolicy(None, interval_start=0.05, interval_max=0.05)


@pytest.fixture
def names() -> Names:
    """A stream of the test's own."""
    return Names()


def counting(**settings: Any) -> TrackingManager:
    """Return a manager that counts the paid orders of each user."""
    manager = TrackingManager(**settings)
    manager.declare("user:*", CountTracker("orders", [2, 4]))
    return manager


def user(event: Event) -> str:
    """Return the group of an order."""
    return str(event.data["user"])


async def progress(manager: TrackingManager, group: str = "user:1") -> int:
    """Return how many orders were counted."""
    found = await manager.get_tracker(group, "orders")
    assert found is not None
    return int(found.progress)


async def unacknowledged(url: str, stream: str, durable: str) -> int:
    """Return how many messages a JetStream consumer has not acknowledged or not been given."""
    async with connected(url) as client:
        info = await client.jetstream().consumer_info(stream, durable)
    return int(info.num_ack_pending or 0) + int(info.num_pending or 0)


async def put(url: str, subject: str, *bodies: Any, **headers: str) -> None:
    """Publish into a stream as another program would."""
    async with connected(url) as client:
        for body in bodies:
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            await client.jetstream().publish(subject, payload, headers=headers or None)


async def stored(url: str, stream: str, subject: str) -> list[Any]:
    """Return the messages of a subject that are in a stream."""
    found = []
    async with connected(url) as client:
        jetstream = client.jetstream()
        last = (await jetstream.stream_info(stream)).state.last_seq
        for number in range(1, last + 1):
            try:
                message = await jetstream.get_msg(stream, number)
            except NotFoundError:
                continue
            if message.subject == subject:
                found.append(message)
    return found


async def test_messages_drive_trackers(nats_server: NatsServer, names: Names) -> None:
    """Each message of a stream is tracked once in the group that it names, and acknowledged."""
    broker, manager = quiet_broker(nats_server.url), counting()
    BrokerLink(broker, manager).track(names.inbox, stream=names.stream, durable="goals", pull_sub=True, group=user)
    async with broker, manager:
        await broker.start()
        await put(nats_server.url, names.inbox, *({"user": f"user:{n % 2}"} for n in range(6)))
        await eventually(lambda: drained(nats_server, names))
        assert [await progress(manager, f"user:{n}") for n in range(2)] == [3, 3]


async def drained(server: NatsServer, names: Names, durable: str = "goals") -> bool:
    """Whether everything was acknowledged."""
    return await unacknowledged(server.url, names.stream_name, durable) == 0


async def test_a_message_that_is_sent_twice_counts_once(nats_server: NatsServer, names: Names) -> None:
    """The publisher's own id counts, so that one that publishes again, far apart, is not counted again."""
    stream = names.stream
    stream.config.duplicate_window = 0.1  # JetStream has forgotten the first one by then
    broker, manager = quiet_broker(nats_server.url), counting()
    BrokerLink(broker, manager).track(names.inbox, stream=stream, durable="goals", pull_sub=True, group=user)
    async with broker, manager:
        await broker.start()
        await put(nats_server.url, names.inbox, {"user": "user:1"}, **{"Nats-Msg-Id": "order 1"})
        await asyncio.sleep(0.3)
        await put(nats_server.url, names.inbox, {"user": "user:1"}, **{"Nats-Msg-Id": "order 1"})
        await put(nats_server.url, names.inbox, {"user": "user:1"}, **{"Nats-Msg-Id": "order 2"})
        assert len(await stored(nats_server.url, names.stream_name, names.inbox)) == 3
        await eventually(lambda: drained(nats_server, names))
        assert await progress(manager) == 2


async def test_a_chain_of_one_correlation_is_no_duplicate(nats_server: NatsServer, names: Names) -> None:
    """Messages that share a correlation id, as replies in a chain do, are different messages."""
    broker, manager = quiet_broker(nats_server.url), counting()
    BrokerLink(broker, manager).track(names.inbox, stream=names.stream, durable="goals", pull_sub=True, group=user)
    async with broker, manager:
        await broker.start()
        for _ in range(3):
            await broker.publish({"user": "user:1"}, names.inbox, correlation_id="one chain", stream=names.stream_name)
        await eventually(lambda: drained(nats_server, names))
        assert await progress(manager) == 3


async def test_redelivered_counts_once(nats_server: NatsServer, names: Names) -> None:
    """A message whose acknowledgement did not come in time is delivered to somebody else and not counted again."""
    brokers, manager = [quiet_broker(nats_server.url) for _ in range(2)], counting()
    manager.declare("user:*", CountTracker("first", [1, 9]))
    deliveries = 0
    late = asyncio.Event()

    @manager.on_event("tracker.stage_completed")
    async def hold(event: Event) -> None:
        await late.wait()  # `track` returns after this, when the message has been delivered again

    def group(event: Event) -> str:
        nonlocal deliveries
        deliveries += 1
        if deliveries == 2:
            late.set()
        return "user:1"

    how: dict[str, Any] = {"durable": "goals", "pull_sub": True, "config": ConsumerConfig(ack_wait=0.3)}
    for broker in brokers:
        BrokerLink(broker, manager).track(names.inbox, stream=names.stream, group=group, **how)
    async with brokers[0], brokers[1], manager:
        for broker in brokers:
            await broker.start()
        await put(nats_server.url, names.inbox, {})
        await eventually(lambda: deliveries == 2)
        await eventually(lambda: drained(nats_server, names))
        assert await progress(manager) == 1


async def test_poison_is_set_aside_and_can_be_run_again(nats_server: NatsServer, names: Names) -> None:
    """A message that can never be applied is rejected and kept as a failed delivery; those behind it count."""
    broker, manager = quiet_broker(nats_server.url), counting()
    knows_users = False

    def group(event: Event) -> str:
        if "user" not in event.data and not knows_users:
            raise LookupError("an order of nobody")
        return str(event.data.get("user", "user:0"))

    BrokerLink(broker, manager).track(names.inbox, stream=names.stream, durable="goals", pull_sub=True, group=group)
    async with broker, manager:
        await broker.start()
        poison = [[1, 2], b"\xff no text", {"nobody": True}]
        await put(nats_server.url, names.inbox, *poison, {"user": "user:1"})
        await put(nats_server.url, names.inbox, b"{not json", **{"content-type": "application/json"})
        await put(nats_server.url, names.inbox, {"user": "user:1"})
        await eventually(lambda: drained(nats_server, names))
        assert await progress(manager) == 2

        failed = await manager.bus.get_failed_jobs()
        reasons = [job.reason for job in failed]
        assert len(failed) == 3, reasons
        assert "must be a JSON object or a CloudEvent, got list" in reasons[0]
        assert "must be a JSON object or a CloudEvent, got bytes" in reasons[1]
        assert failed[0].event.data["body"] == "[1, 2]"
        assert reasons[2] == "LookupError: an order of nobody"
        assert failed[2].event.data == {"nobody": True}

        knows_users = True
        for job in failed:
            await manager.bus.retry_job(job.id)
        await manager.settle()
        assert await progress(manager, "user:0") == 1
        assert [job.event.type for job in await manager.bus.get_failed_jobs()] == ["message.unreadable"] * 2


async def test_while_the_authority_is_down_messages_wait(nats_server: NatsServer, names: Names, tmp_path: Path) -> None:
    """Messages that come while Redis is away are given back and counted, once each, when it is there again."""
    valkey = ValkeyServer(tmp_path / "redis", options=["--appendonly", "yes", "--appendfsync", "always"])
    valkey.start()
    try:
        broker = quiet_broker(nats_server.url)
        redis: dict[str, Any] = {"host": "127.0.0.1", "port": valkey.port, "timeout": 1.0, "patience": 0.5}
        manager = counting(data_cache=RedisDataCache(**redis), bus=RedisTransport(**redis), commit_timeout=1.0)
        link = BrokerLink(broker, manager, pause=0.1)
        link.track(names.inbox, stream=names.stream, durable="goals", pull_sub=True, group=user)
        async with broker, manager:
            await broker.start()
            await put(nats_server.url, names.inbox, {"user": "user:1"})
            await eventually(lambda: drained(nats_server, names))
            valkey.stop()
            await put(nats_server.url, names.inbox, {"user": "user:1"}, {"user": "user:1"})
            await eventually(lambda: redelivered(nats_server, names))
            valkey.start()
            await eventually(lambda: drained(nats_server, names))
            assert await progress(manager) == 3
            assert await manager.bus.get_failed_jobs() == []
    finally:
        valkey.stop()


async def redelivered(server: NatsServer, names: Names) -> bool:
    """Whether a message was given back at least once."""
    async with connected(server.url) as client:
        info = await client.jetstream().consumer_info(names.stream_name, "goals")
    return bool(info.num_redelivered)


async def test_the_broker_goes_away_and_comes_back(own_nats: NatsServer, names: Names) -> None:
    """A server that was killed and started again goes on delivering, and nothing counts twice.

    It need not have written down what was acknowledged, and then delivers that again.
    """
    broker, manager = quiet_broker(own_nats.url), counting()
    link = BrokerLink(broker, manager)
    config, pull = ConsumerConfig(ack_wait=1), PullSub(timeout=0.5)
    link.track(names.inbox, stream=names.stream, durable="goals", pull_sub=pull, config=config, group=user)
    async with broker, manager:
        await broker.start()
        await put(own_nats.url, names.inbox, {"user": "user:1"})
        await eventually(lambda: drained(own_nats, names))
        own_nats.kill()
        own_nats.start()
        await put(own_nats.url, names.inbox, {"user": "user:1"})
        await eventually(lambda: drained(own_nats, names))
        assert await progress(manager) == 2


async def test_messages_become_events(nats_server: NatsServer, names: Names) -> None:
    """A JSON message is an event of the type and subject that were asked for, its headers the metadata."""
    broker, manager = quiet_broker(nats_server.url), TrackingManager()
    link = BrokerLink(broker, manager)
    link.emit(
        names.inbox,
        stream=names.stream,
        durable="in",
        pull_sub=True,
        type="order.paid",
        subject=lambda event: event.data["order"],
    )
    seen: list[EventContext] = []

    @manager.bus.on("order.*")
    async def paid(ctx: EventContext) -> None:
        seen.append(ctx)

    async with broker, manager:
        await broker.start()
        await put(nats_server.url, names.inbox, {"order": "order:7"}, tenant="north")
        await eventually(lambda: len(seen) == 1)
    (ctx,) = seen
    assert (ctx.event_type, ctx.subject.name, ctx.payload) == ("order.paid", "order:7", {"order": "order:7"})
    assert ctx.get_metadata("tenant") == "north"


async def test_a_message_that_was_set_aside_becomes_an_event_later(nats_server: NatsServer, names: Names) -> None:
    """When a failed message is run again it is the event that it would have been, caused by nothing."""
    broker, manager = quiet_broker(nats_server.url), TrackingManager()
    types: dict[str, str] = {}
    how: dict[str, Any] = {"stream": names.stream, "durable": "in", "pull_sub": True}
    BrokerLink(broker, manager).emit(names.inbox, type=lambda event: types[event.data["kind"]], **how)
    seen: list[Event] = []

    @manager.bus.event_handler("order.*")
    async def take(event: Event) -> None:
        seen.append(event)

    async with broker, manager:
        await broker.start()
        await put(nats_server.url, names.inbox, {"kind": "paid"}, **{"Nats-Msg-Id": "7"})
        await eventually(lambda: drained(nats_server, names, "in"))
        (job,) = await manager.bus.get_failed_jobs()
        assert (job.reason, job.event.id) == ("KeyError: 'paid'", "7")
        types["paid"] = "order.paid"
        await manager.bus.retry_job(job.id)
        await manager.settle()
        assert await manager.bus.get_failed_jobs() == []
    (event,) = seen
    assert (event.id, event.type, event.cause, event.depth) == ("7", "order.paid", None, 0)


async def test_milestones_are_published(nats_server: NatsServer, names: Names) -> None:
    """A milestone is a CloudEvent with its stable id in the headers, and JetStream drops it when it is sent again."""
    broker, manager = quiet_broker(nats_server.url), counting()
    await make_stream(nats_server, names)
    link = BrokerLink(broker, manager)
    link.publish("tracker.*_completed", to=names.outbox, stream=names.stream_name)
    link.publish("tracker.*_completed", to=lambda event: names.outbox, stream=names.stream_name)  # once more
    async with broker, manager:
        for _ in range(4):
            await manager.track("user:1", {})
        await manager.settle()
    messages = await stored(nats_server.url, names.stream_name, names.outbox)
    events = [json.loads(message.data) for message in messages]
    assert [(event["type"], event["subject"]) for event in events] == [
        ("tracker.stage_completed", "user:1"),
        ("tracker.all_completed", "user:1"),
    ]
    for message, event in zip(messages, events, strict=True):
        assert message.headers["Nats-Msg-Id"] == message.headers["message_id"] == event["id"]
        assert message.headers["content-type"] == "application/cloudevents+json"
        assert event["specversion"] == "1.0"


async def make_stream(server: NatsServer, names: Names) -> None:
    """Make a stream, as its owner would."""
    async with connected(server.url) as client:
        await client.jetstream().add_stream(config=names.stream.config, subjects=[names.inbox, names.outbox])


async def test_an_event_crosses_to_another_manager(nats_server: NatsServer, names: Names) -> None:
    """What one service publishes is the same event in another: its id, type, subject, data and cause."""
    broker, manager = quiet_broker(nats_server.url), TrackingManager()
    other_broker, other = quiet_broker(nats_server.url), TrackingManager()
    await make_stream(nats_server, names)
    BrokerLink(broker, manager).publish("order.*", to=names.inbox, stream=names.stream_name)
    BrokerLink(other_broker, other).emit(names.inbox, stream=names.stream, durable="in", pull_sub=True)
    seen: list[Event] = []

    @manager.bus.on("cart.closed")
    async def submit(ctx: EventContext) -> None:
        await ctx.emit("order.submitted", {"total": 12}, "order:1", tenant="north")

    @other.bus.event_handler("order.*")
    async def take(event: Event) -> None:
        seen.append(event)

    async with broker, manager, other_broker, other:
        await other_broker.start()
        root = await manager.bus.emit("cart.closed", "cart:1")
        await eventually(lambda: seen)
    (event,) = seen
    assert (event.type, event.subject, event.data) == ("order.submitted", "order:1", {"total": 12})
    assert (event.cause, event.root, event.depth, event.metadata) == (root, root, 1, {"tenant": "north"})


async def test_milestones_wait_for_the_broker(own_nats: NatsServer, names: Names, tmp_path: Path) -> None:
    """With ``durable`` a milestone that is reached while the server is away is published, once, when it is back."""
    broker = quiet_broker(own_nats.url)
    path = tmp_path / "t.db"
    manager = counting(data_store=SQLiteDataStore(path), bus=SQLiteTransport(path))
    await make_stream(own_nats, names)
    link = BrokerLink(broker, manager)
    link.publish("tracker.*_completed", to=names.outbox, stream=names.stream_name, durable="out", retry=SOON,
                 options={"timeout": 0.5})  # fmt: skip
    async with broker, manager:
        for _ in range(2):
            await manager.track("user:1", {})
        await manager.settle()
        own_nats.kill()
        for _ in range(2):
            await manager.track("user:1", {})
        own_nats.start()
        await manager.settle()
        assert (await manager.bus.status()).failed == 0
    types = [json.loads(one.data)["type"] for one in await stored(own_nats.url, names.stream_name, names.outbox)]
    assert types == ["tracker.stage_completed", "tracker.all_completed"]


async def test_without_durable_it_is_tried_for_a_while(own_nats: NatsServer, names: Names) -> None:
    """An event that could not be published is a failed delivery that names the broker's error, and can be retried."""
    broker, manager = quiet_broker(own_nats.url), TrackingManager()
    link = BrokerLink(broker, manager)
    once = RetryPolicy(1, interval_start=0.01)
    link.publish("order.*", to=names.outbox, stream=names.stream_name, retry=once)  # nobody has made that stream
    async with broker, manager:
        await manager.bus.emit("order.paid", "order:1", {"total": 1})
        await manager.settle()
        (job,) = await manager.bus.get_failed_jobs()
        assert (job.event.type, job.attempts) == ("order.paid", 2)
        assert job.reason.startswith(f"BrokerUnavailable: {names.outbox} does not take order.paid: ")
        await make_stream(own_nats, names)
        await manager.bus.retry_job(job.id)
        await manager.settle()
        assert await manager.bus.get_failed_jobs() == []
    assert len(await stored(own_nats.url, names.stream_name, names.outbox)) == 1


async def test_hooks_of_an_app(nats_server: NatsServer, names: Names) -> None:
    """A FastStream app starts the manager before messages come and closes it while milestones can still go out."""
    broker, manager = quiet_broker(nats_server.url), counting()
    link = BrokerLink(broker, manager)
    link.track(names.inbox, stream=names.stream, durable="goals", pull_sub=True, group=user)
    link.publish("tracker.*_completed", to=names.outbox, stream=names.stream_name)
    app = FastStream(broker, logger=None, on_startup=[manager.start], on_shutdown=[manager.aclose])
    await app.start()
    assert manager.status().started
    await put(nats_server.url, names.inbox, {"user": "user:1"}, {"user": "user:1"})
    await eventually(lambda: drained(nats_server, names))
    await app.stop()
    assert manager.status().closed
    assert len(await stored(nats_server.url, names.stream_name, names.outbox)) == 1


async def test_durable_needs_somebody_who_confirms(nats_server: NatsServer) -> None:
    """At least once cannot be promised without a stream, so that is refused by name."""
    link = BrokerLink(quiet_broker(nats_server.url), TrackingManager())
    with pytest.raises(InvalidDefinition, match="the JetStream stream: nobody confirms otherwise"):
        link.publish("order.*", to="orders", durable="out")


@pytest.mark.parametrize("option", ["ack_policy", "no_reply"])
async def test_acknowledging_is_not_the_callers(nats_server: NatsServer, option: str) -> None:
    """An option that would acknowledge a message before its commit is refused by name."""
    link = BrokerLink(quiet_broker(nats_server.url), TrackingManager())
    with pytest.raises(InvalidDefinition, match=f"{option} is not to be given"):
        link.track("orders", group=user, **{option: False})
