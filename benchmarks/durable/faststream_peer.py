"""FastStream with Redis streams and a consumer group."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.durable.program import Turn
from benchmarks.durable.publishers import publish_all, until

STREAM = "faststream"
GROUP = "workers"
RECORDS = 100
"""How many a read may bring; by default it is as many as there are."""


@asynccontextmanager
async def opened(port: int, folder: Path) -> AsyncGenerator[Turn, None]:
    """Open a broker on the server at a port."""
    from faststream.redis import RedisBroker, StreamSub

    broker = RedisBroker(f"redis://127.0.0.1:{port}", logger=None)
    handled = 0

    @broker.subscriber(stream=StreamSub(STREAM, group=GROUP, consumer="1", max_records=RECORDS))
    async def handle(body: dict[str, int]) -> None:
        nonlocal handled
        handled += 1

    client = await broker.connect()
    await broker.start()

    async def turn(jobs: int, publishers: int) -> float:
        target = handled + jobs

        async def is_done() -> bool:
            return handled == target and (await client.xpending(STREAM, GROUP))["pending"] == 0

        began = time.perf_counter()
        await publish_all(jobs, publishers, lambda number: broker.publish({"number": number}, stream=STREAM))
        return await until(is_done) - began

    yield turn
    await broker.stop()


CONTENDERS = {"faststream": opened}
