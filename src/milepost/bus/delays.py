"""The keeper of delayed events: moves each into the stream when it is due, and looks for work left by others."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from milepost._alarm import Alarm
from milepost._clock import Clock
from milepost.bus.envelope import Envelope
from milepost.bus.transports.base import Transport
from milepost.errors import MilepostError

__all__ = ["DelayKeeper"]

_log = logging.getLogger("milepost")

_PAUSE_AFTER_TROUBLE: Final = 1.0
_POLLS_WHERE_TOLD: Final = 10
"""How many times as long it takes until a keeper looks that is told when there is something."""


class DelayKeeper:
    """Delivers delayed events; never early.

    Args:
        transport: where they are kept.
        clock: what time it is.
        deliver: takes those that are due.
        look_around: called each time round, for what other processes left.
        poll: how many seconds to sleep at most where other processes may add delayed events.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        deliver: Callable[[list[Envelope]], None],
        look_around: Callable[[], Awaitable[None]],
        poll: float,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._deliver = deliver
        self._look_around = look_around
        self._poll = poll if transport.lasting else None
        self._alarm = Alarm(clock)

    def note(self) -> None:
        """Look again: there is another delayed event."""
        self._alarm.ring()

    async def run(self) -> None:
        """Work until cancelled."""
        if self._transport.listen(self.note, "work") and self._poll is not None:
            self._poll *= _POLLS_WHERE_TOLD
        try:
            while True:
                try:
                    await self._alarm.sleep(await self._round())
                except MilepostError as error:
                    _log.warning("delayed events wait: %s", error)
                    await self._clock.sleep(_PAUSE_AFTER_TROUBLE)
        finally:
            self._transport.unlisten(self.note)

    async def _round(self) -> float | None:
        """Move what is due; return after how many seconds to look again."""
        await self._look_around()
        due = await self._transport.next_due()
        while due is not None and due <= self._clock.time():
            self._deliver(await self._transport.release(self._clock.time()))
            due = await self._transport.next_due()
        if due is None:
            return self._poll
        left = max(0.0, due - self._clock.time())
        return left if self._poll is None else min(left, self._poll)
