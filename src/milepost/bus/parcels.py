"""Parcels: what is to be delivered of one commit, and who waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable
from typing import Any

from milepost.bus.subscriptions import Subscription
from milepost.events.types import Event

__all__ = ["Parcel"]


class Parcel:
    """A commit's deliveries: which event goes to whom, and who waits for their end."""

    __slots__ = ("_future", "_placed", "pending", "stops")

    def __init__(self, stops: Iterable[tuple[Event, Any]]) -> None:
        self.stops = deque(stops)
        self.pending: Awaitable[Any] | None = None
        """What the first stop waits for."""
        self._placed = False
        self._future: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Return how many deliveries have not ended; an event that waits for room has its place in the queue."""
        return len(self.stops) - self._placed

    def wait_for(self, pending: Awaitable[Any]) -> None:
        """Note that the first stop takes its time."""
        self.pending = pending
        self._placed = isinstance(self.stops[0][1], Subscription)

    def leave_stop(self) -> None:
        """Note that the first stop has ended."""
        self.pending = None
        self._placed = False
        self.stops.popleft()

    def future(self) -> asyncio.Future[None]:
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
        return self._future

    def arrived(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
