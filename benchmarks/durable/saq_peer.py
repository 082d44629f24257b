"""saq: a queue in Redis lists, a job deleted from the list of unfinished ones when it is done."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.durable.program import Turn
from benchmarks.durable.publishers import publish_all, until

CONCURRENCY = 50  # its default of 10 is slower


@asynccontextmanager
async def opened(port: int, folder: Path) -> AsyncGenerator[Turn, None]:
    """Open a queue on the server at a port."""
    from saq import Queue, Worker

    logging.getLogger("saq").setLevel(logging.ERROR)
    queue = Queue.from_url(f"redis://127.0.0.1:{port}", name="saq")
    handled = 0

    async def handle(ctx: Any, *, number: int) -> None:
        nonlocal handled
        handled += 1

    async def turn(jobs: int, publishers: int) -> float:
        worker = Worker(queue, [("handle", handle)], concurrency=CONCURRENCY)
        working = asyncio.create_task(worker.start())
        await asyncio.sleep(0.2)  # it has begun to wait for jobs
        target = handled + jobs

        async def is_done() -> bool:
            return handled == target and await queue.count("incomplete") == 0

        began = time.perf_counter()
        # No result is waited for, so none is kept.
        await publish_all(jobs, publishers, lambda number: queue.enqueue("handle", number=number, ttl=-1))
        ended = await until(is_done)
        worker.event.set()
        await working
        return ended - began

    yield turn
    await queue.disconnect()


CONTENDERS = {"saq": opened}
