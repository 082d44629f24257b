"""The relay: moves events from the outbox in which they were committed to a stream that is somewhere else.

An event is moved, that is confirmed, and then the outbox lets it go; so it is moved at least once, and by its id once.
Several processes may do so at once: what one has moved, the stream knows already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from milepost._alarm import Alarm
from milepost._clock import Clock
from milepost.bus.envelope import Envelope
from milepost.bus.transports.base import Transport
from milepost.data_stores.base import RelayedOutbox
from milepost.errors import BackendUnavailable, OutboxFull

__all__ = ["Relay"]

_log = logging.getLogger("milepost")

_BATCH: Final = 500
_PAUSE_AFTER_TROUBLE: Final = 1.0
_LOOK_EVERY: Final = 30.0
"""Seconds after which to look for events whose process died before it moved them on."""


class Relay:
    """Moves events on, for one bus.

    Args:
        outbox: where they are.
        transport: where they go.
        clock: what pauses go by.
        on_moved: told when some were moved.
    """

    def __init__(self, outbox: RelayedOutbox, transport: Transport, clock: Clock, on_moved: Callable[[], None]) -> None:
        self._outbox = outbox
        self._transport = transport
        self._clock = clock
        self._on_moved = on_moved
        self._news = Alarm(clock)
        self._one_at_a_time = asyncio.Lock()

    def ring(self) -> None:
        """Move on what was committed just now."""
        self._news.ring()

    async def run(self) -> None:
        """Move events on as they are committed, until cancelled."""
        while True:
            try:
                await self.move_all()
            except (BackendUnavailable, OutboxFull) as error:
                _log.warning("events wait in their outbox: %s", error)
                await self._clock.sleep(_PAUSE_AFTER_TROUBLE)
            else:
                await self._news.sleep(_LOOK_EVERY)

    async def move_all(self) -> None:
        """Move on all that there is.

        Raises:
            BackendUnavailable: when the store or the transport does not answer; the events stay.
            OutboxFull: when a durable consumer that refuses to lapse is too far behind; the events stay.
        """
        async with self._one_at_a_time:
            while entries := await self._outbox.unmoved(_BATCH):
                envelopes = [envelope for entry in entries if (envelope := _decoded(*entry)) is not None]
                if envelopes:
                    await self._transport.append(envelopes)
                await self._outbox.moved(entries[-1][0])
                self._on_moved()


def _decoded(position: int, text: str) -> Envelope | None:
    """Return an event; None, and a line in the log, where it cannot be read."""
    try:
        return Envelope.decode(text)
    except ValueError as error:
        _log.error("the event at position %d cannot be read and is not moved on: %s", position, error)
        return None
