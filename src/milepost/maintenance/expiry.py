"""The sweeper: drops trackers whose time is over, without anyone touching their group."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from milepost._alarm import Alarm
from milepost._clock import Clock
from milepost.errors import MilepostError
from milepost.records import Authority
from milepost.tracking.commands import Expire

__all__ = ["Sweeper"]

_log = logging.getLogger("milepost")

_PAUSE_AFTER_TROUBLE: Final = 1.0


class Sweeper:
    """Expires rows when their deadline has come.

    Args:
        authority: knows the deadlines.
        run: carries a command out on a group.
        clock: what deadlines go by.
        poll: how many seconds to sleep at most; other processes may have added deadlines.
    """

    def __init__(
        self, authority: Authority, run: Callable[[str, Expire], Awaitable[Any]], clock: Clock, poll: float
    ) -> None:
        self._authority = authority
        self._run_command = run
        self._clock = clock
        self._poll = poll
        self._alarm = Alarm(clock)
        self._next: float | None = None

    def note(self, deadline: float) -> None:
        """Wake up earlier if this deadline comes first."""
        if self._next is None or deadline < self._next:
            self._next = deadline
            self._alarm.ring()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self._alarm.sleep(await self.sweep())
            except MilepostError as error:
                _log.warning("expiry waits: %s", error)
                await self._clock.sleep(_PAUSE_AFTER_TROUBLE)

    async def sweep(self) -> float:
        """Expire what is due; return after how many seconds to look again."""
        tried: set[str] = set()
        while True:
            now = self._clock.time()
            due = [key for key in await self._authority.due(now) if key not in tried]
            if due:
                tried.update(due)
                await asyncio.gather(*(self._run_command(key, Expire(now)) for key in due))
                continue
            self._next = await self._authority.next_deadline()
            later = self._clock.time()
            if self._next is None:
                return self._poll
            if self._next > later:
                return min(self._poll, self._next - later)
            if self._next <= now:  # it was tried and is still there: a row of the group cannot be read
                return self._poll
