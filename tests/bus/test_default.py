"""The default manager: ``init``, and a bus that works before it and after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from milepost import (
    CountTracker,
    Event,
    EventBus,
    EventContext,
    InvalidDefinition,
    MongoDBDataStore,
    RedisDataCache,
    RedisTransport,
    RetryPolicy,
    SQLiteTransport,
    default,
)
from milepost.default import event_bus, event_handler, init
from milepost.testing import ManualClock
from milepost.testing.suites.transports import eventually
from tests.servers.mongodb import MongoServer
from tests.servers.valkey import ValkeyServer, command


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Leave the default bus as it was."""
    yield
    event_bus.unregister_all()


async def test_before_init_and_after_it() -> None:
    """Handlers registered before and after ``init`` hear what is published before and after it."""
    heard: list[tuple[str, int]] = []

    @event_handler("user.*")
    async def before(event: Event) -> None:
        heard.append(("before", event.data["n"]))

    await event_bus.publish(Event(name="user.created", data={"n": 1}))
    async with init() as manager:

        @event_handler("user.created")
        async def after(event: Event) -> None:
            heard.append(("after", event.data["n"]))

        assert manager.bus is event_bus
        await event_bus.publish(Event(name="user.created", data={"n": 2}))
        await manager.settle()
    assert sorted(heard) == [("after", 2), ("before", 1), ("before", 2)]


async def test_init_again_after_closing() -> None:
    """A closed default manager makes room for the next one, which has the handlers of the first."""
    heard: list[int] = []

    @event_handler("x")
    async def handler(event: Event) -> None:
        heard.append(event.data["n"])

    for n in range(3):
        async with init():
            await event_bus.publish(Event("x", {"n": n}))
            await event_bus.settle()
    assert heard == [0, 1, 2]


async def test_event_config(tmp_path: Path) -> None:
    """On a transport that lasts the queue's name is a durable consumer's; the retry policy is the handlers'."""
    attempts: list[int] = []

    @event_handler("job", name="job")
    async def job(event: Event) -> None:
        attempts.append(event.data["n"])
        raise ValueError

    config = {"queue_name": "billing", "retry_policy": {"max_retries": 1, "interval_max": 0}}
    async with init(bus=SQLiteTransport(tmp_path / "e.db", synchronous="OFF"), event_config=config) as manager:
        await event_bus.publish(Event("job", {"n": 1}))
        await manager.settle()
        assert attempts == [1, 1]
        assert [failed.consumer for failed in await event_bus.get_failed_jobs()] == ["billing"]
        assert event_bus.retry == RetryPolicy(max_retries=1, interval_max=0)


async def test_redis_and_mongodb(redis_server: ValkeyServer, mongodb: MongoServer) -> None:
    """With a Redis and a MongoDB, Redis is the cache and carries the events; the queue is shared through it."""
    command(redis_server.port, "FLUSHALL")
    uri, database = f"redis://127.0.0.1:{redis_server.port}/14", mongodb.new_database()
    config = {"queue_name": "billing", "retry_policy": {"max_retries": 3}}
    heard: list[str] = []

    @event_bus.on("tracker.all_completed", "user.*", name="bill")
    async def bill(ctx: EventContext) -> None:
        heard.append(f"{ctx.event_type} of {ctx.subject.name}")

    settings = {"mongo_uri": mongodb.url, "database": database, "redis_uri": uri, "event_config": config}
    async with init(**settings) as manager:
        assert isinstance(manager.data_cache, RedisDataCache)
        assert isinstance(manager.data_store, MongoDBDataStore)
        assert isinstance(event_bus.transport, RedisTransport)
        assert await event_bus.transport.carries(manager.data_cache)
        await manager.add_tracker("u", CountTracker(name="n", target=1))
        await manager.track("u", {})
        await event_bus.publish(Event("user.paid", subject="u"))
        await manager.settle()
        assert heard == ["tracker.all_completed of u", "user.paid of u"]
        assert (await event_bus.status()).lags == {"billing": 0}
        later = await event_bus.publish(Event("user.reminded", subject="u"), delay=3600)
    async with init(**settings):
        assert await event_bus.cancel(later)
        await event_bus.settle()
    assert len(heard) == 2


@pytest.mark.parametrize(
    ("given", "database", "uri"),
    [
        ("mongodb://localhost", None, "mongodb://localhost/milepost"),
        ("mongodb://localhost/mine", None, "mongodb://localhost/mine"),
        ("mongodb://localhost/mine?w=1", "other", "mongodb://localhost/other?w=1"),
    ],
)
@pytest.mark.parametrize("spelling", ["mongo_uri", "mongodb_uri"])
def test_the_database(
    spelling: str, given: str, database: str | None, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is the one that is named, else the URI's, else ``milepost``."""
    asked: list[str] = []

    def store_from_url(url: str) -> Any:
        asked.append(url)
        return None

    monkeypatch.setattr(default, "store_from_url", store_from_url)
    init(database=database, **{spelling: given})  # type: ignore[arg-type]
    assert asked == [uri]


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_config": {"queue": "x"}},
        {"event_config": {"queue_name": 3}},
        {"event_config": {"retry_policy": 3}},
        {"event_config": {"retry_policy": {"retries": 3}}},
        {"event_config": {"retry_policy": {"max_retries": -1}}},
        {"mongo_uri": "mongodb://a", "mongodb_uri": "mongodb://b"},
        {"mongo_uri": 3},
    ],
)
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    """A setting that cannot be is refused with a sentence."""
    with pytest.raises(InvalidDefinition):
        init(**wrong)


async def test_another_transport_while_running(clock: ManualClock, tmp_path: Path) -> None:
    """What was published before the transport changed is still handled; durable consumers must not be at work."""
    heard: list[str] = []
    bus = EventBus(clock=clock)

    @bus.on("*", name="h")
    async def handler(ctx: Any) -> None:
        heard.append(ctx.event_type)

    await bus.emit("before", "s")
    await bus.emit("delayed", "s", delay=10)
    bus.use(SQLiteTransport(tmp_path / "e.db", synchronous="OFF"), durable="workers")
    await bus.emit("after", "s")
    await bus.settle()
    await clock.advance(11)
    await eventually(lambda: sorted(heard) == ["after", "before", "delayed"])
    with pytest.raises(RuntimeError, match="durable consumers are at work"):
        bus.use(SQLiteTransport(tmp_path / "other.db"))
    await bus.aclose()
