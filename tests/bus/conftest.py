"""A bus in memory with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from milepost import EventBus
from milepost.testing import ManualClock


@pytest.fixture
async def bus(clock: ManualClock) -> AsyncIterator[EventBus]:
    """A started bus in memory."""
    async with EventBus(clock=clock) as started:
        yield started
