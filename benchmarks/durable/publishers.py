"""How contenders publish, by many publishers at once as a web server would, and learn that all is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["PUBLISHERS", "publish_all", "until"]

PUBLISHERS: Final = 50
"""How many publish at a time; each contender that can be awaited is slower with fewer."""

_POLL: Final = 0.002
"""Seconds between two looks at whether a contender is done."""


async def publish_all(jobs: int, publish: Callable[[int], Awaitable[object]]) -> None:
    """Publish numbered jobs, one by one for each publisher.

    Args:
        jobs: how many.
        publish: publishes one.
    """
    numbers = iter(range(jobs))

    async def publisher() -> None:
        for number in numbers:
            await publish(number)

    await asyncio.gather(*(publisher() for _ in range(PUBLISHERS)))


async def until(holds: Callable[[], Awaitable[bool]]) -> float:
    """Return when something holds, and what time that is."""
    while not await holds():  # noqa: ASYNC110 (servers do not say when)
        await asyncio.sleep(_POLL)
    return time.perf_counter()
