"""Workers and the NATS server are killed while orders flow; every order counts once, every milestone arrives."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client
from nats.js import errors

from milepost import CountTracker, SQLiteDataStore, SQLiteTransport, TrackingManager
from tests.durability.doses import dose, seeded
from tests.integrations.nats_streams import Names, connected, eventually
from tests.integrations.test_faststream_crashes import counter, is_all_published
from tests.integrations.test_faststream_nats import drained, make_stream, stored
from tests.servers.nats import NatsServer

USERS = 10


async def publish(client: Client, subject: str, number: int) -> None:
    """Publish an order until the server has confirmed it, under the same id."""
    payload = json.dumps({"user": f"user:{number % USERS}"}).encode()
    while True:
        try:
            await client.jetstream().publish(subject, payload, timeout=1, headers={"Nats-Msg-Id": f"order {number}"})
        except (nats.errors.Error, errors.Error, OSError):
            await asyncio.sleep(0.05)
        else:
            return


@pytest.mark.survival
@pytest.mark.timeout(600)
async def test_killed_again_and_again(own_nats: NatsServer, tmp_path: Path) -> None:
    """Workers that share a store are killed, the server too: counts are exact, each milestone is there under one id."""
    orders, kills = dose(600, 20_000), dose(8, 200)
    chance = seeded("workers and NATS killed")
    names, path = Names(), tmp_path / "orders.db"
    arguments = (own_nats.url, names.stream_name, names.inbox, names.outbox, str(path))
    await make_stream(own_nats, names)

    async def shop() -> None:
        async with connected(own_nats.url) as client:
            for number in range(orders):
                await publish(client, names.inbox, number)
                await asyncio.sleep(kills * 0.5 / orders)

    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(counter(*arguments)) for _ in range(2)]
        selling = asyncio.create_task(shop())
        for kill in range(kills):
            await asyncio.sleep(chance.uniform(0.05, 0.5))
            if kill % 4 == 3:
                own_nats.kill()
                own_nats.start()
            else:
                victim = chance.randrange(2)
                workers[victim].kill()
                workers[victim] = await stack.enter_async_context(counter(*arguments))
        await selling
        await eventually(lambda: drained(own_nats, names), within=60)
        async with TrackingManager(data_store=SQLiteDataStore(path), bus=SQLiteTransport(path)) as manager:
            manager.declare("user:*", CountTracker("orders", [5, 1_000_000]))
            await eventually(lambda: is_all_published(manager), within=60)
            counts = {f"user:{n}": await count(manager, f"user:{n}") for n in range(USERS)}
    wrong = {user: n for user, n in counts.items() if n != orders // USERS}
    milestones: Counter[str] = Counter()
    ids: set[str] = set()
    for message in await stored(own_nats.url, names.stream_name, names.outbox):
        event: dict[str, Any] = json.loads(message.data)
        milestones[event["subject"]] += event["id"] not in ids
        ids.add(event["id"])
    missing = [user for user in counts if milestones[user] != 1]
    print(f"{orders} orders, {kills} kills, {len(wrong)} wrong counts, {len(missing)} wrong milestones")
    assert not wrong, wrong
    assert not missing, milestones


async def count(manager: TrackingManager, group: str) -> int:
    """Return how many orders of a user were counted."""
    found = await manager.get_tracker(group, "orders")
    return 0 if found is None else int(found.progress)
