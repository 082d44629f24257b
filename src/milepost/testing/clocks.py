"""A clock that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
from datetime import datetime
from itertools import count

from milepost._clock import epoch_seconds

__all__ = ["ManualClock"]


class ManualClock:
    """Stands still until it is moved; what sleeps on it wakes when its time has come.

    Args:
        start: where it stands, epoch seconds or an aware datetime.
    """

    def __init__(self, start: float | datetime = 1_700_000_000.0) -> None:
        self._now = epoch_seconds(start, "start")
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def time(self) -> float:
        """Return epoch seconds."""
        return self._now

    @property
    def sleepers(self) -> int:
        """How many wait for the clock to be moved."""
        return sum(not waking.done() for _, _, waking in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Return when the clock was moved that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waking = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), waking))
        await waking

    async def advance(self, seconds: float) -> None:
        """Move the clock on, stopping at each moment at which something wakes, and let it run.

        Args:
            seconds: how far; not below 0.
        """
        if seconds < 0:
            raise ValueError(f"time goes on; to step the clock back use set(), got {seconds!r}")
        await self._breathe()
        until = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            moment, _, waking = heapq.heappop(self._sleepers)
            if not waking.done():
                self._now = max(self._now, moment)
                waking.set_result(None)
                await self._breathe()
        self._now = until
        await self._breathe()

    def set(self, now: float | datetime) -> None:
        """Step the clock to any moment, also back, as a machine's clock may be; wakes nobody.

        Args:
            now: epoch seconds or an aware datetime.
        """
        self._now = epoch_seconds(now, "now")

    @staticmethod
    async def _breathe() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
