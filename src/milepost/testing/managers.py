"""A manager for a test: with a clock that stands still, closed when the test is done."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from milepost._clock import Clock
from milepost.manager import TrackingManager
from milepost.testing.clocks import ManualClock

__all__ = ["open_manager"]


@asynccontextmanager
async def open_manager(*, clock: Clock | None = None, **settings: Any) -> AsyncGenerator[TrackingManager, None]:
    """Open a manager for the length of a ``with`` block.

    Args:
        clock: by default a :class:`ManualClock` of its own.
        **settings: as for ``TrackingManager``.
    """
    async with TrackingManager(clock=ManualClock() if clock is None else clock, **settings) as manager:
        yield manager
