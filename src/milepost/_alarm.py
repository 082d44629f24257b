"""Waiting on a clock, unless something wakes us first."""

from __future__ import annotations

import asyncio

from milepost._clock import Clock

__all__ = ["Alarm"]


class Alarm:
    """Sleeps on a clock; can be woken.

    Args:
        clock: whose seconds are slept.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._woken: asyncio.Future[None] | None = None
        self._rung = False

    def ring(self) -> None:
        """Wake whoever sleeps, or whoever sleeps next."""
        self._rung = True
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def sleep(self, seconds: float | None) -> None:
        """Return after that many seconds of the clock, or when the alarm rings; None waits for the ring alone."""
        if not self._rung:
            self._woken = asyncio.get_running_loop().create_future()
            try:
                if seconds is None:
                    await self._woken
                else:
                    await self._race(seconds, self._woken)
            finally:
                self._woken = None
        self._rung = False

    async def _race(self, seconds: float, woken: asyncio.Future[None]) -> None:
        sleeping = asyncio.ensure_future(self._sleep_until(self._clock.time() + seconds, seconds))
        try:
            await asyncio.wait({sleeping, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            await asyncio.wait({sleeping})

    async def _sleep_until(self, moment: float, at_most: float) -> None:
        """Sleep; the clock may have moved on since that was decided."""
        await self._clock.sleep(min(at_most, moment - self._clock.time()))
