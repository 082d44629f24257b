"""milepost's own contenders: a durable consumer on a transport that lasts."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from benchmarks.durable.program import Turn
from benchmarks.durable.publishers import publish_all
from milepost import Event, EventBus, EventContext
from milepost.bus.transports.urls import transport_from_url

SUBJECTS = 100


@asynccontextmanager
async def opened(url: str, port: int, folder: Path) -> AsyncGenerator[Turn, None]:
    """Open a bus on a transport; without any publisher all jobs are published by one call.

    Args:
        url: where events are kept.
        port: where a Redis server listens.
        folder: where files are kept.
    """
    bus = EventBus(transport_from_url(url.format(port=port, folder=folder)))
    handled = 0

    @bus.on("job", durable="workers")
    async def handle(ctx: EventContext) -> None:
        nonlocal handled
        handled += 1

    async def turn(jobs: int, publishers: int) -> float:
        target = handled + jobs
        began = time.perf_counter()
        if publishers:
            await publish_all(jobs, publishers, lambda n: bus.emit("job", f"s{n % SUBJECTS}", {"number": n}))
        else:
            await bus.publish_many(Event("job", {"number": n}, subject=f"s{n % SUBJECTS}") for n in range(jobs))
        await bus.settle()
        ended = time.perf_counter()
        assert handled == target
        return ended - began

    async with bus:
        yield turn


CONTENDERS = {
    "milepost-redis": partial(opened, "redis://127.0.0.1:{port}/2"),
    "milepost-sqlite": partial(opened, "sqlite:///{folder}/jobs.db"),
}
