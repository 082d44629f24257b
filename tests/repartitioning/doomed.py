"""A program: ``repartition`` in small pages, which kills itself after a number of calls to Redis.

``python doomed.py URL PREFIX PARTITIONS CALLS [SCRIPT]``; it ends with status 0 when it was done before. With the name
of a script only its calls count.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import milepost.backends.redis.moving as moving
import milepost.maintenance.repartitioning as repartitioning
from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.scripts import Call

_counted = sys.argv[5] if len(sys.argv) > 5 else None
_run = RedisClient.run
_ends = iter(range(int(sys.argv[4]) - 1, -1, -1))


async def run_and_die(self: RedisClient, calls: Sequence[Call]) -> list[Any]:
    """Carry calls out, half of them where there are several, and die when it is time."""
    counts = _counted is None or any(call.script is not None and call.script.name == _counted for call in calls)
    if not counts or next(_ends, 0):
        return await _run(self, calls)
    await _run(self, calls[: (len(calls) + 1) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


if __name__ == "__main__":
    moving._RECORDS_AT_ONCE = 5  # type: ignore[misc]
    moving._PAGE = 20  # type: ignore[misc]
    repartitioning._PAGE = 20  # type: ignore[misc]
    RedisClient.run = run_and_die  # type: ignore[method-assign]
    _ = asyncio.run(repartitioning.repartition(sys.argv[1], int(sys.argv[3]), key_prefix=sys.argv[2], force=True))
