"""A process whose handler changes its subject and emits, and that kills itself at a chosen statement.

Its arguments are the path of a SQLite file and the number of the statement, counted over the connections with which
the store and the transport write. The statement has not been carried out then.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys

from milepost import EventContext, SQLiteDataStore, TrackingManager
from milepost._clock import Clock
from milepost.bus.transports.sqlite import SQLiteTransport

EVENTS = ("first", "second")


def manager_over(path: str, clock: Clock | None = None) -> TrackingManager:
    """Return a manager whose handler is a durable consumer: ``go`` counts, and emits ``went`` and ``noted``."""
    store = SQLiteDataStore(path, synchronous="OFF")
    manager = TrackingManager(data_store=store, bus=SQLiteTransport(path, synchronous="OFF"), clock=clock)

    @manager.bus.on("go", durable="workers", name="go")
    async def go(ctx: EventContext) -> None:
        ctx.subject.set("n", lambda n: n + 1, default=0)
        await ctx.emit("went", {"for": ctx.event_id})
        await ctx.emit("noted", {"for": ctx.event_id}, subject="audit")

    return manager


async def main(path: str, number: int) -> None:
    """Have the events handled, one after the other."""
    left = number

    def watch(connection: sqlite3.Connection) -> None:
        def count(statement: str) -> None:
            nonlocal left
            left -= 1
            if not left:
                print(f"killed at {statement[:60]!r}", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)

        connection.set_trace_callback(count)

    async with manager_over(path) as manager:
        for event in EVENTS:
            await manager.bus.emit("go", f"subject-{event}")
            await manager.settle()
        assert isinstance(manager.data_store, SQLiteDataStore)
        assert isinstance(manager.bus.transport, SQLiteTransport)
        await manager.data_store._client.write(watch)
        await manager.bus.transport._client.write(watch)
        for event in EVENTS:
            await manager.bus.emit("go", f"subject-{event}")
            await manager.settle()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
