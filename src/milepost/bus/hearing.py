"""The part of a bus that hears of what was committed: by tracking, and with the subjects of handlers."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

from milepost._clock import Clock
from milepost.bus.envelope import Enclosed, Envelope
from milepost.bus.publishing import Publishing
from milepost.bus.run import current_run
from milepost.errors import BackendUnavailable, CascadeLimit
from milepost.events.types import LISTENED, DataLost, Event

__all__ = ["Hearing"]

_log = logging.getLogger("milepost")

_PAUSE_AFTER_TROUBLE: Final = 1.0
_BATCH: Final = 500


class Hearing(Publishing):
    """Takes events that are committed already, or that go into a commit."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._carries_outbox = False
        """Whether the transport's stream is the outbox that tracking writes, so that its events are there already."""
        self._outgoing: deque[Envelope] = deque()
        """Those that are on their way to a transport that is somewhere else than their outbox; or may be, while it is
        not open."""
        self._is_sending = False

    def hear(self, events: Sequence[Event | Enclosed]) -> None:
        """Take events that were committed; who waits for their commit does not wait for their handlers."""
        run = current_run.get()
        for event in events:
            envelope = event.envelope if isinstance(event, Enclosed) else Envelope.of(event)
            if run is not None and not run.over and envelope.cause is None:
                envelope.caused_by(run.envelope)
            if envelope.depth > self.max_depth:
                cause = "" if run is None else f" {run.envelope.type}"
                _log.error("%s", CascadeLimit(self.max_depth, [f"...{cause}", envelope.type]))
                continue
            in_outbox = not isinstance(event, DataLost)  # that is committed with no record
            if in_outbox and self._carries_outbox:
                self._accept(envelope)
            elif in_outbox and self._relay is not None:
                self._accept(envelope)
                self._relay.ring()
            elif self._immediate is not None:
                envelope.committed = in_outbox  # for a transport that comes after this one
                if self._immediate.append_now(envelope) or not isinstance(event, Enclosed):
                    self._accept(envelope)
            else:
                envelope.committed = in_outbox
                self._outgoing.append(envelope)
                if not self._is_sending:
                    self._is_sending = True
                    _ = self._tasks.spawn(self._send_out(), "tracker events")

    async def _send_out(self) -> None:
        """Send tracker events to a transport that is somewhere else than their outbox."""
        try:
            await self.start()
            while self._outgoing:
                batch = [self._outgoing.popleft() for _ in range(min(len(self._outgoing), _BATCH))]
                self._accept_all(await self._persistently(batch))
        finally:
            self._is_sending = False

    async def _persistently(self, batch: Sequence[Envelope]) -> list[Envelope]:
        while True:
            try:
                return await self._append(batch)
            except BackendUnavailable as error:
                _log.warning("tracker events wait for their transport: %s", error)
                await self._clock.sleep(_PAUSE_AFTER_TROUBLE)

    def riding(self, subject: str, envelopes: Sequence[tuple[Envelope, float | None]]) -> list[Enclosed]:
        """Return what of a handler's emits can go into the commit of its subject; the others are sent after it.

        Args:
            subject: the subject's name.
            envelopes: the events, each with the moment it is due.

        Raises:
            QueueOverflow: when handlers emit far more than can be handled.
            OutboxFull: when a durable consumer that refuses to lapse is too far behind.
        """
        relayed = self._relay is not None
        if self._immediate is None and not relayed and not (self._carries_outbox and self.authority is self.store):
            return []
        rides = self.transport.rides_with
        found = [
            Enclosed(envelope)
            for envelope, due in envelopes
            if due is None and envelope.type not in LISTENED and (relayed or rides(subject, envelope.key))
        ]
        if found:
            self._refuse_too_many()
            if self._immediate is not None:
                self._immediate.refuse_if_full(len(found))
        return found
