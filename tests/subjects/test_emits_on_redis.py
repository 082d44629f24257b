"""Redis: what a handler emits about its subject is in the script that commits the subject, and known by its id."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from milepost import EventContext, RedisDataCache, TrackedModel, TrackingManager
from milepost.bus.transports.redis import RedisTransport
from milepost.subjects import dispatch_model_event
from tests.servers.valkey import ValkeyServer


class Stored(TrackedModel):
    name: str = ""


@pytest.fixture
async def manager(redis_server: ValkeyServer, tmp_path: Path) -> AsyncIterator[TrackingManager]:
    """A manager whose cache has the bus's streams as its outboxes."""
    cache = RedisDataCache("127.0.0.1", redis_server.port, key_prefix=tmp_path.name)
    async with TrackingManager(cache, bus=RedisTransport.beside(cache)) as manager:
        yield manager


async def outbox(manager: TrackingManager) -> list[tuple[str, str]]:
    """Return the events that are kept, as (type, subject)."""
    found = [json.loads(text) for _, text in await manager.data_cache.outbox()]
    return [(event["type"], event["subject"]) for event in found]


async def test_emits_about_the_subject_are_in_its_commit(
    manager: TrackingManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not sent a second time; those about others, which lie elsewhere, are sent when it has committed."""
    sent: list[str] = []
    append = manager.bus.transport.append

    async def noted(envelopes: Sequence[Any]) -> list[bool]:
        sent.extend(envelope.type for envelope in envelopes)
        return await append(envelopes)

    @manager.bus.on("go", durable="workers")
    async def go(ctx: EventContext) -> None:
        ctx.subject.set("n", 1)
        await ctx.emit("went")
        await ctx.emit("noted", subject="somebody else")

    monkeypatch.setattr(manager.bus.transport, "append", noted)
    await manager.bus.emit("go", "s")
    await manager.settle()
    assert sent == ["go", "noted"]
    told = [event for event in await outbox(manager) if event[1] == "s"]
    assert told == [("go", "s"), ("subject.property_changed", "s"), ("went", "s")]
    assert ("noted", "somebody else") in await outbox(manager)


async def test_what_was_committed_is_known_by_its_id(manager: TrackingManager) -> None:
    """Published again, by whom or in which way ever, it is the same event: a model's own, and a handler's."""
    Stored.bind(manager)
    model = Stored(id="1")
    await model.create()
    for _ in range(2):
        await dispatch_model_event(manager.bus, Stored, "created", "1", model)
    ids: list[str] = []

    @manager.bus.on("go", name="go")
    async def go(ctx: EventContext) -> None:
        ctx.subject.set("n", lambda n: n + 1, default=0)
        ids.append(await ctx.emit("went"))

    id = await manager.bus.emit("go", "s")
    await manager.settle()
    event = await manager.bus.transport.find(ids[0])
    assert event is not None
    assert await manager.bus.transport.append([event]) == [False]
    tree = await manager.bus.trace(id)
    assert tree is not None
    assert [node.event.type for node in tree] == ["go", "subject.property_changed", "went"]
    assert [type for type, _ in await outbox(manager)].count("stored.created") == 1
    Stored.bind(None)
