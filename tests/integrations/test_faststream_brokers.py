"""What is particular to other brokers than NATS: Redis as it is, RabbitMQ and Kafka by FastStream's stand-ins."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aio_pika import IncomingMessage
from aiokafka import ConsumerRecord
from faststream.kafka import KafkaBroker, TestKafkaBroker
from faststream.nats import NatsBroker, TestNatsBroker
from faststream.rabbit import RabbitBroker, TestRabbitBroker
from faststream.redis import RedisBroker, StreamSub

from milepost import CountTracker, Event, InvalidDefinition, TrackingManager
from milepost.integrations.faststream import BrokerLink
from tests.integrations.nats_streams import eventually
from tests.servers.valkey import ValkeyServer


def counting() -> TrackingManager:
    """Return a manager that counts the orders of each user."""
    manager = TrackingManager()
    manager.declare("user:*", CountTracker("orders", [2, 4]))
    return manager


async def progress(manager: TrackingManager) -> int:
    """Return how many orders were counted."""
    found = await manager.get_tracker("user:1", "orders")
    assert found is not None
    return int(found.progress)


async def test_rabbitmq_counts_by_message_id(caplog: pytest.LogCaptureFixture) -> None:
    """A message of the same AMQP message id counts once; those without one count each, and a warning says so once."""
    broker, manager = RabbitBroker(logger=None), counting()
    link = BrokerLink(broker, manager)
    link.track("orders", group=lambda event: event.data["user"])
    link.track("others", group=lambda event: event.data["user"], parser=without_id)
    async with manager, TestRabbitBroker(broker, connect_only=False):
        for id in ("a", "a", "b"):
            await broker.publish({"user": "user:1"}, "orders", message_id=id)
        assert await progress(manager) == 2
        with caplog.at_level(logging.WARNING, "milepost"):
            for _ in range(2):
                await broker.publish({"user": "user:1"}, "others")
        assert await progress(manager) == 4
    assert [record.message for record in caplog.records if "have no id" in record.message] == [
        "messages from others have no id: one that is delivered again counts again; "
        "give event_id=..., or have their publisher set a message id"
    ]


async def without_id(message: IncomingMessage, parse: Callable[[IncomingMessage], Awaitable[Any]]) -> Any:
    """Take away the id that the stand-in gives to each message; RabbitMQ gives none."""
    parsed = await parse(message)
    parsed.raw_message = SimpleNamespace(routing_key=message.routing_key, message_id=None, locked=True)
    return parsed


async def test_an_event_id_of_ones_own() -> None:
    """``event_id`` says what a message is known by, where the broker does not."""
    broker, manager = RabbitBroker(logger=None), counting()
    BrokerLink(broker, manager).track("orders", group=lambda event: "user:1", event_id=lambda event: event.data["no"])
    async with manager, TestRabbitBroker(broker, connect_only=False):
        for number in ("1", "2", "1"):
            await broker.publish({"no": number}, "orders")
        assert await progress(manager) == 2


async def test_rabbitmq_is_told_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published to RabbitMQ is persistent, and its AMQP message id is the event's."""
    broker, manager = RabbitBroker(logger=None), TrackingManager()
    publish, persistent = broker.publish, []

    async def noting(*arguments: Any, **options: Any) -> None:
        persistent.append(options["persist"])  # the stand-in does not pass it on
        await publish(*arguments, **options)

    monkeypatch.setattr(broker, "publish", noting)
    BrokerLink(broker, manager).publish("order.*", to="orders")
    received: list[tuple[bytes, IncomingMessage]] = []

    @broker.subscriber("orders")
    async def take(body: Any) -> None:
        message: Any = broker.context.get_local("message")
        received.append((message.body, message.raw_message))

    async with manager, TestRabbitBroker(broker, connect_only=False):
        await manager.bus.emit("order.paid", "order:1", {"total": 12})
        await manager.settle()
    ((body, raw),) = received
    event = json.loads(body)
    assert (event["type"], event["data"]) == ("order.paid", {"total": 12})
    assert raw.message_id == event["id"]
    assert raw.content_type == "application/cloudevents+json"
    assert persistent == [True]


async def test_kafka_keeps_the_order_of_a_subject() -> None:
    """What is published to Kafka has the event's subject as its key, and so one partition for each subject."""
    broker, manager = KafkaBroker(logger=None), TrackingManager()
    BrokerLink(broker, manager).publish("order.*", to=lambda event: event.type, options={"headers": {"tenant": "n"}})
    received: list[ConsumerRecord[Any, Any]] = []

    @broker.subscriber("order.paid")
    async def take(body: Any) -> None:
        message: Any = broker.context.get_local("message")
        received.append(message.raw_message)

    async with manager, TestKafkaBroker(broker, connect_only=False):
        await manager.bus.emit("order.paid", "order:1", {"total": 12})
        await manager.settle()
    (record,) = received
    headers = dict(record.headers)
    assert record.key == b"order:1"
    assert headers["message_id"].decode() == json.loads(record.value)["id"]
    assert headers["tenant"] == b"n"


async def test_kafka_messages_are_known_by_their_offset() -> None:
    """A Kafka message's event has its topic as type, and what it is known by are topic, partition and offset."""
    broker, manager = KafkaBroker(logger=None), TrackingManager()
    BrokerLink(broker, manager).emit("orders", group_id="milepost")
    seen: list[Event] = []

    @manager.bus.event_handler("*")
    async def take(event: Event) -> None:
        seen.append(event)

    async with manager, TestKafkaBroker(broker, connect_only=False):
        await broker.publish({"total": 12}, "orders")
        await manager.settle()
    (event,) = seen
    assert event.type == "orders"
    assert event.id.startswith("orders:0:0:")


async def test_streams_of_redis(redis_server: ValkeyServer) -> None:
    """A stream's messages are known by their ids in it; poison among them is acknowledged, as it is kept elsewhere."""
    broker, manager = RedisBroker(f"redis://127.0.0.1:{redis_server.port}", logger=None), counting()
    stream = StreamSub("faststream orders", group="goals", consumer="1", polling_interval=10)
    BrokerLink(broker, manager).track(stream=stream, group=lambda event: event.data["user"])

    async def pending() -> int:
        groups = await client.xinfo_groups(stream.name)
        return sum(int(group["pending"]) + int(group["lag"] or 0) for group in groups)

    async with broker, manager:
        client: Any = await broker.connect()
        await broker.start()
        for body in ({"user": "user:1"}, [1, 2], {"user": "user:1"}):
            await broker.publish(body, stream=stream.name)
        await eventually(lambda: is_zero(pending))
        assert await progress(manager) == 2
        (job,) = await manager.bus.get_failed_jobs()
        assert job.event.data["body"] == "[1,2]"
        assert str(job.event.data["position"]).startswith(f"{stream.name}:")


async def is_zero(count: Callable[[], Awaitable[int]]) -> bool:
    """Whether nothing is left."""
    return await count() == 0


async def test_core_nats_is_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    """Core NATS delivers once at most, so that a message without an id is nothing to warn about."""
    broker, manager = NatsBroker(logger=None), counting()
    BrokerLink(broker, manager).track("orders", group=lambda event: event.data["user"])
    async with manager, TestNatsBroker(broker, connect_only=False):
        for _ in range(2):
            await broker.publish({"user": "user:1"}, "orders")
        assert await progress(manager) == 2
    assert caplog.records == []


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("nats://localhost", TrackingManager()), TypeError, "broker must be a broker of FastStream's"),
        ((NatsBroker(), None), TypeError, "manager must be a TrackingManager, got None"),
        ((NatsBroker(), TrackingManager(), -1), InvalidDefinition, "pause must be a number of seconds of at least 0"),
    ],
)
async def test_wrong_arguments_are_named(arguments: tuple[Any, ...], error: type[Exception], words: str) -> None:
    """What cannot be joined is refused at once, with a word on what is allowed."""
    broker, manager, *pause = arguments
    with pytest.raises(error, match=words):
        BrokerLink(broker, manager, **({"pause": pause[0]} if pause else {}))


WITHOUT = """
import sys

class No:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "faststream":
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, No())
import milepost
try:
    import milepost.integrations.faststream
except milepost.MissingExtra as missing:
    print(missing)
"""


def test_without_faststream_it_says_how_to_get_it() -> None:
    """Importing the adapter without FastStream names the pip command; importing milepost does not need it."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == 'faststream is not installed; run: pip install "milepost[faststream]"\n'
