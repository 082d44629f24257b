"""A process whose events are committed in one place and go to a stream in another, and that is killed on the way.

Its arguments are the path of the store's file, that of the bus's, and the number of the call at which it kills itself:
calls that append events to the stream, or that note in the store that they were.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from milepost import CountTracker, EventContext, SQLiteDataStore, TrackingManager
from milepost.bus.transports.sqlite import SQLiteTransport

TIMES = 3


def manager_over(store: str, stream: str) -> TrackingManager:
    """Return a manager whose handler changes its subject and emits; each ``go`` counts in a tracker too."""
    transport = SQLiteTransport(stream, synchronous="OFF")
    manager = TrackingManager(data_store=SQLiteDataStore(store, synchronous="OFF"), bus=transport)
    manager.declare("g", CountTracker("times", [1, 2, 3]))

    @manager.bus.on("go", name="go")
    async def go(ctx: EventContext) -> None:
        ctx.subject.set("n", lambda n: n + 1, default=0)
        await ctx.emit("went")
        await manager.track("g", {})

    return manager


async def main(store: str, stream: str, number: int) -> None:
    """Have the handler run a few times."""
    left = number

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        async def counting(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = await call(*arguments)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return counting

    async with manager_over(store, stream) as manager:
        kept: Any = manager.data_store
        transport: Any = manager.bus.transport
        transport.append, kept.moved = counted(transport.append), counted(kept.moved)
        for _ in range(TIMES):
            await manager.bus.emit("go", "s")
            await manager.settle()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
