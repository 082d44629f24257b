"""A process that joins NATS with trackers is killed at the two moments that matter, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from milepost import CountTracker, SQLiteDataStore, SQLiteTransport, TrackingManager
from tests.integrations import order_counter
from tests.integrations.nats_streams import Names, connected, eventually
from tests.integrations.test_faststream_nats import drained, make_stream, progress, put, stored
from tests.servers.nats import NatsServer


@asynccontextmanager
async def counter(*arguments: str) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """A process that counts; it is killed at the end, if it was not before."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, order_counter.__file__, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def is_all_published(manager: TrackingManager) -> bool:
    """Whether the durable consumer has acknowledged every event."""
    return (await manager.bus.status()).lags == {"out": 0}


@pytest.mark.parametrize("moment", ["tracked", "published"])
async def test_killed_at_the_worst_moment(nats_server: NatsServer, tmp_path: Path, moment: str) -> None:
    """Every order counts exactly once and its milestone is in the stream once, under its one id.

    Killed between the commit and the acknowledgement the order is delivered again; killed between the broker's
    confirmation and the note of it the milestone is published again.
    """
    names = Names()
    path = tmp_path / "orders.db"
    arguments = (nats_server.url, names.stream_name, names.inbox, names.outbox, str(path))
    await make_stream(nats_server, names)
    await put(nats_server.url, names.inbox, *({"user": "user:1", "order": n} for n in range(8)))
    async with counter(*arguments, moment) as process:
        assert await asyncio.wait_for(process.wait(), 30) == -9
    async with counter(*arguments):
        await eventually(lambda: drained(nats_server, names))
        async with TrackingManager(data_store=SQLiteDataStore(path), bus=SQLiteTransport(path)) as manager:
            manager.declare("user:*", CountTracker("orders", [5, 1_000_000]))
            assert await progress(manager) == 8
            await eventually(lambda: is_all_published(manager))
    (milestone,) = await stored(nats_server.url, names.stream_name, names.outbox)
    event = json.loads(milestone.data)
    assert (event["type"], event["subject"]) == ("tracker.stage_completed", "user:1")
    async with connected(nats_server.url) as client:
        info = await client.jetstream().stream_info(names.stream_name)
    assert info.state.messages == 9
