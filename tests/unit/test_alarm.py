"""Waiting on a clock."""

from __future__ import annotations

import asyncio

from milepost._alarm import Alarm
from milepost.testing import ManualClock


async def test_time_that_passes_as_one_falls_asleep_counts(clock: ManualClock) -> None:
    """Who begins to sleep just as the clock moves on is woken in time: a delayed event is not left lying."""
    sleeping = asyncio.create_task(Alarm(clock).sleep(0.1))
    await asyncio.sleep(0)
    clock.set(clock.time() + 0.2)
    await asyncio.wait_for(sleeping, 1.0)
