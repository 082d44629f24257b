"""How contenders publish, by one publisher or by many at once, and learn that all is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["publish_all", "until"]

_POLL: Final = 0.002
"""Seconds between two looks at whether a contender is done."""


async def publish_all(jobs: int, publishers: int, publish: Callable[[int], Awaitable[object]]) -> None:
    """Publish numbered jobs, each publisher one after the other.

    Args:
        jobs: how many.
        publishers: how many of them at a time.
        publish: publishes one.
    """
    numbers = iter(range(jobs))

    async def publisher() -> None:
        for number in numbers:
            await publish(number)

    await asyncio.gather(*(publisher() for _ in range(publishers)))


async def until(holds: Callable[[], Awaitable[bool]]) -> float:
    """Return when something holds, and what time that is."""
    while not await holds():  # noqa: ASYNC110 (servers do not say when)
        await asyncio.sleep(_POLL)
    return time.perf_counter()
