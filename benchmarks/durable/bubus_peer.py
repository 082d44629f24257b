"""bubus: in memory, so that nothing survives its process; it publishes without waiting, as many as it takes."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.durable.program import Turn

AT_A_TIME = 50  # it refuses more than 100 unhandled events


@asynccontextmanager
async def opened(port: int, folder: Path) -> AsyncGenerator[Turn, None]:
    """Open a bus."""
    from bubus import BaseEvent, EventBus

    logging.getLogger("bubus").setLevel(logging.CRITICAL)

    class Job(BaseEvent[None]):
        number: int

    bus = EventBus("peer")
    handled = 0

    async def handle(event: Job) -> None:
        nonlocal handled
        handled += 1

    bus.on(Job, handle)

    async def turn(jobs: int, publishers: int) -> float:
        target = handled + jobs
        began = time.perf_counter()
        for first in range(0, jobs, AT_A_TIME):
            for event in [bus.dispatch(Job(number=number)) for number in range(first, min(first + AT_A_TIME, jobs))]:
                await event
        ended = time.perf_counter()
        assert handled == target
        return ended - began

    yield turn
    await bus.stop(clear=True)


CONTENDERS = {"bubus": opened}
