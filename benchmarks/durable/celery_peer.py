"""Celery with its Redis broker: one publisher in the main thread, its worker in another one of the same process."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.durable.program import Turn
from benchmarks.durable.publishers import until

PREFETCH = 1000  # with its default of 4 it was up to a tenth slower


@asynccontextmanager
async def opened(port: int, folder: Path) -> AsyncGenerator[Turn, None]:
    """Open an app on the server at a port."""
    from celery import Celery
    from celery.contrib.testing.worker import start_worker

    logging.disable(logging.WARNING)
    app = Celery("peer", broker=f"redis://127.0.0.1:{port}/1", set_as_current=False)
    app.conf.update(
        task_acks_late=True,  # otherwise a job is acknowledged before it is handled
        task_ignore_result=True,
        worker_prefetch_multiplier=PREFETCH,
        worker_hijack_root_logger=False,
    )
    handled = 0

    @app.task(name="handle")
    def handle(number: int) -> None:
        nonlocal handled
        handled += 1

    async def turn(jobs: int, publishers: int) -> float:
        with start_worker(app, pool="solo", perform_ping_check=False), app.connection_for_read() as connection:
            client = connection.default_channel.client
            target = handled + jobs

            async def is_done() -> bool:
                return handled == target and client.hlen("unacked") == 0

            began = time.perf_counter()
            for number in range(jobs):
                handle.apply_async((number,))
            return await until(is_done) - began

    yield turn


CONTENDERS = {"celery": opened}
