"""One of the processes that share a group in Redis: ``python -m benchmarks.redis_worker PORT PREFIX CALLS``."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import Final

from milepost import CountTracker, KeyValueEQ, TrackingManager

__all__ = ["CALLERS", "EVENT", "NEVER", "login_tracker", "redis_manager"]

CALLERS: Final = 100
NEVER: Final = 10**12
EVENT: Final = {"event_type": "login", "user_id": 17}


def login_tracker() -> CountTracker:
    return CountTracker(name="logins", target=NEVER, conditions=[KeyValueEQ(key="event_type", value="login")])


async def redis_manager(stack: AsyncExitStack, port: int, prefix: str) -> TrackingManager:
    from milepost import RedisDataCache

    return await stack.enter_async_context(TrackingManager(RedisDataCache("127.0.0.1", port, key_prefix=prefix)))


async def work(port: int, prefix: str, calls: int) -> None:
    """Track one group with 100 callers: begin when told to on standard input, and say how it went."""
    async with AsyncExitStack() as stack:
        manager = await redis_manager(stack, port, prefix)
        await manager.track("shared", EVENT)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

        async def caller() -> None:
            for _ in range(calls // CALLERS):
                await manager.track("shared", EVENT)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(work(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
