"""The relay: moves what tracking has committed from its outbox into a stream that is elsewhere.

It is appended there, then that is noted in the outbox, and only then may the outbox let go of it. So it gets there
at least once; who moves an event again, because a process died in between, or because two do so at once, finds its id
in the stream.
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
from milepost.data_stores.base import BaseDataStore, RelayedStore
from milepost.errors import MilepostError

__all__ = ["Relay", "relay_between"]

_log = logging.getLogger("milepost")

_AT_ONCE: Final = 500
_LOOK_EVERY: Final = 1.0
"""Seconds after which to look for what a process has left that died."""
_PAUSE_AFTER_TROUBLE: Final = 1.0


class Relay:
    """Moves events on, as every process does that has the same store and the same transport.

    Args:
        store: where the outbox is.
        source: the same store.
        transport: where events go.
        clock: what waiting goes by.
        moved: called when something was moved.
    """

    def __init__(
        self,
        store: BaseDataStore,
        source: RelayedStore,
        transport: Transport,
        clock: Clock,
        moved: Callable[[], None],
    ) -> None:
        self._store = store
        self._source = source
        self._transport = transport
        self._clock = clock
        self._moved = moved
        self._name = repr(transport)
        self._alarm = Alarm(clock)
        self._asked = 0
        self._idle = asyncio.Event()

    async def begin(self) -> None:
        """Have everything kept from now on until it was moved.

        Raises:
            StoreUnavailable: when the store does not answer.
        """
        await self._source.relayed(self._name)

    def note(self) -> None:
        """Look again: something was committed."""
        self._asked += 1
        self._idle.clear()
        self._alarm.ring()

    async def settle(self) -> None:
        """Return when all was moved that was noted."""
        await self._idle.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            asked = self._asked
            try:
                while await self._move():
                    pass
            except MilepostError as error:
                _log.warning("tracker events wait for their transport: %s", error)
                await self._clock.sleep(_PAUSE_AFTER_TROUBLE)
                continue
            if asked == self._asked:
                self._idle.set()
                await self._alarm.sleep(_LOOK_EVERY)

    async def _move(self) -> bool:
        """Move the next events; return whether there were any."""
        after = await self._source.relayed(self._name)
        page = await self._store.outbox(after, _AT_ONCE)
        if not page:
            return False
        envelopes = [envelope for position, text in page if (envelope := _decoded(text, position)) is not None]
        if envelopes:
            _ = await self._transport.append(envelopes)
            self._moved()
        await self._source.confirm_relayed(self._name, page[-1][0])
        return True


def relay_between(store: object, transport: Transport, clock: Clock, moved: Callable[[], None]) -> Relay | None:
    """Return a relay from a store to a transport elsewhere; None where the store has no outbox to move on."""
    if isinstance(store, RelayedStore) and isinstance(store, BaseDataStore) and store.keeps_events:
        return Relay(store, store, transport, clock, moved)
    return None


def _decoded(text: str, position: int) -> Envelope | None:
    """Return an event; None, and a line in the log, where it cannot be read. It stays where it is."""
    try:
        return Envelope.decode(text)
    except ValueError as error:
        _log.error("the event at position %d of the outbox cannot be read and is not moved on: %s", position, error)
        return None
