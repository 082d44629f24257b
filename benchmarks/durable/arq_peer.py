"""arq: a queue in a Redis sorted set that its worker polls."""

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

MOST_JOBS = 100
POLL_DELAY = 0.01  # its default of half a second would be most of what is measured


@asynccontextmanager
async def opened(port: int, folder: Path) -> AsyncGenerator[Turn, None]:
    """Open a queue on the server at a port."""
    from arq import create_pool
    from arq.connections import RedisSettings
    from arq.worker import Worker, func

    logging.getLogger("arq").setLevel(logging.ERROR)
    settings = RedisSettings("127.0.0.1", port)
    pool = await create_pool(settings)
    handled = 0

    async def handle(ctx: Any, number: int) -> None:
        nonlocal handled
        handled += 1

    async def turn(jobs: int, publishers: int) -> float:
        worker = Worker(
            [func(handle, name="handle", keep_result=0)],
            redis_settings=settings, max_jobs=MOST_JOBS, poll_delay=POLL_DELAY, handle_signals=False,
        )  # fmt: skip
        working = asyncio.create_task(worker.async_run())
        await asyncio.sleep(0.2)  # it has begun to poll
        target = handled + jobs

        async def is_done() -> bool:
            return handled == target and await pool.zcard("arq:queue") == 0

        began = time.perf_counter()
        await publish_all(jobs, publishers, lambda number: pool.enqueue_job("handle", number))
        ended = await until(is_done)
        worker.burst = True  # it ends when the queue is empty
        await working
        await worker.close()
        return ended - began

    yield turn
    await pool.aclose()


CONTENDERS = {"arq": opened}
