"""The part of a bus that looks back: history, what caused what, and subscriptions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, cast

from milepost._clock import epoch_seconds
from milepost.bus.envelope import Envelope
from milepost.bus.parts import BusParts
from milepost.bus.streams import EventStream, cursor_of
from milepost.bus.trace import TraceNode, tree_of
from milepost.bus.transports.base import Position
from milepost.events.types import Event
from milepost.queues import Overflow

if TYPE_CHECKING:
    from milepost.bus.bus import EventBus

__all__ = ["LookingBack"]


class LookingBack(BusParts):
    """Reads what the transport keeps."""

    async def history(
        self,
        pattern: str = "*",
        *,
        subject: str = "*",
        since: float | datetime | None = None,
        until: float | datetime | None = None,
    ) -> AsyncIterator[Event]:
        """Iterate over the events that are kept, the oldest first.

        Args:
            pattern: of their types.
            subject: a pattern of their subjects.
            since: not before, epoch seconds or an aware datetime.
            until: before, likewise.
        """
        await self.start()
        begin = None if since is None else epoch_seconds(since, "since")
        end = None if until is None else epoch_seconds(until, "until")
        async for envelope in self.transport.history(pattern, subject, begin, end):
            yield envelope.event()

    async def trace(self, event_id: str) -> TraceNode | None:
        """Return an event that is kept, with all that it caused; None where it is not.

        Args:
            event_id: the event's id.
        """
        await self.start()
        found = await self.transport.find(event_id)
        if found is None:
            return None
        return tree_of(event_id, await self.transport.chain(found.root or found.id))

    async def chain_to(self, envelope: Envelope) -> list[str]:
        """Return the types of the events that led to one, the first one first."""
        known = {one.id: one for one in await self.transport.chain(envelope.root or envelope.id)}
        types = [envelope.type]
        at: Envelope | None = envelope
        while at is not None and at.cause is not None and len(types) <= self.max_depth:
            at = known.get(at.cause)
            types.append("…" if at is None else at.type)
        return types[::-1]

    async def cursor(self) -> Position:
        """Return where the stream ends now, for ``subscribe(after=...)``."""
        await self.start()
        return cursor_of(await self.transport.end())

    def subscribe(
        self,
        *patterns: str,
        subject: str = "*",
        size: int = 1000,
        overflow: Overflow | str = Overflow.DROP_OLDEST,
        after: Position | None = None,
    ) -> EventStream:
        """Return a bounded queue of events, an async context manager and iterator.

        Args:
            *patterns: of event types; none for all.
            subject: a pattern of subjects.
            size: how many events it holds.
            overflow: what happens to an event for which there is no room.
            after: the ``cursor`` of an earlier subscription: what was published since then comes too, from every
                process; ``""`` begins with the first event that is kept. None for what this process publishes from
                now on.

        Raises:
            InvalidDefinition: when a setting is wrong.
        """
        return EventStream(
            cast("EventBus", self), patterns or ("*",), subject, size, overflow, after, self._clock, self._pace.poll
        )
