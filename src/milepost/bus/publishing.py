"""The part of a bus where events are published: made, accepted, delayed, sent on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from milepost._clock import Clock, epoch_seconds
from milepost.bus.context import SubjectLike
from milepost.bus.envelope import EMPTY, Envelope
from milepost.bus.ids import fresh_ids
from milepost.bus.parts import BusParts
from milepost.bus.payloads import checked_payload
from milepost.bus.registering import Registering
from milepost.bus.run import current_run
from milepost.errors import QueueOverflow
from milepost.events.types import Event

__all__ = ["Publishing"]

_EMITS_PER_BREATH: Final = 256
_BEYOND: Final = 10
"""How many times its capacity a bus takes of what handlers emit, who cannot wait for themselves."""


class Publishing(Registering, BusParts):
    """Takes events, and has them kept and handled."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._time = clock.time
        self._ids = fresh_ids()
        self._published = 0
        self._declares = False
        self._keep: Callable[[Envelope], None] | None = None

    async def emit(
        self,
        event_type: str,
        subject: SubjectLike | str | None = None,
        payload: Mapping[str, Any] | None = None,
        *,
        delay: float | timedelta | None = None,
        at: float | datetime | None = None,
        **extra: Any,
    ) -> str:
        """Emit an event. Returns when it is accepted, not when it is handled.

        Within a handler it is one of the handler's own, as with ``ctx.emit``: it leaves when that succeeds.

        Args:
            event_type: what happened.
            subject: what it happened to, or its name; None for nothing in particular.
            payload: JSON values; copied.
            delay: seconds, or a timedelta, before it is delivered.
            at: when to deliver it, epoch seconds or an aware datetime.
            **extra: metadata that travels with it.

        Returns:
            The event's id.

        Raises:
            TypeError: when the payload is not made of JSON values.
            ManagerClosed: after ``aclose``.
            OutboxFull: when a durable consumer that refuses to lapse is too far behind.
            BackendUnavailable: when the transport does not answer.
        """
        keep = self._keep
        if (
            keep is None
            or extra
            or delay is not None
            or at is not None
            or event_type.__class__ is not str
            or not event_type
            or self._lines.pending >= self._capacity
            or current_run.get() is not None
        ):
            return await self._emit_any(self.envelope(event_type, subject, payload, extra), self.due(delay, at))
        if subject is not None and not isinstance(subject, str):
            subject = subject_name(subject)
        id = next(self._ids)
        envelope = Envelope(id, event_type, subject, checked_payload(payload), self._time())
        published = self._published = self._published + 1
        keep(envelope)
        if self._local[event_type] or self.event_layers:
            self._lines.accept(envelope)
        if not published % _EMITS_PER_BREATH:
            await asyncio.sleep(0)  # let handlers run: who emits in a loop waits for nothing else
        return id

    async def _emit_any(self, envelope: Envelope, due: float | None) -> str:
        """Emit an event to which there may be more: a cause, a delay, a transport that takes time."""
        run = current_run.get()
        if run is not None and not run.over:
            return await run.take(self, envelope, due, derive=True)
        await self.send([(envelope, due)])
        return envelope.id

    def _note_shape(self) -> None:
        """Note whether an event needs no more than to be kept in memory and shown to handlers of this process."""
        immediate = self._immediate
        bare = immediate is not None and self._running and not self._declares and not self._streams
        self._keep = immediate.append_new if immediate is not None and bare else None

    async def publish(
        self, event: Event, *, delay: float | timedelta | None = None, at: float | datetime | None = None
    ) -> str:
        """Publish an event. Returns when it is accepted, not when it is handled.

        An event whose id is in the stream already is not published again.

        Args:
            event: the event.
            delay: seconds, or a timedelta, before it is delivered.
            at: when to deliver it, epoch seconds or an aware datetime.

        Returns:
            The event's id.

        Raises:
            TypeError: for something that is no event, or a payload that is not made of JSON values.
            ManagerClosed: after ``aclose``.
            OutboxFull: when a durable consumer that refuses to lapse is too far behind.
            BackendUnavailable: when the transport does not answer.
        """
        (id,) = await self.publish_many([event], delay=delay, at=at)
        return id

    async def publish_many(
        self, events: Iterable[Event], *, delay: float | timedelta | None = None, at: float | datetime | None = None
    ) -> list[str]:
        """Publish events in order, with one round trip. Otherwise like :meth:`publish`.

        Returns:
            The events' ids.
        """
        due = self.due(delay, at)
        given = list(events)
        envelopes = [self._envelope_of(event) for event in given]
        run = current_run.get()
        if run is not None and not run.over:
            return [
                await run.take(self, envelope, due, derive="id" not in event.model_fields_set)
                for event, envelope in zip(given, envelopes, strict=True)
            ]
        await self.send([(envelope, due) for envelope in envelopes])
        return [envelope.id for envelope in envelopes]

    def envelope(
        self,
        event_type: str,
        subject: SubjectLike | str | None,
        payload: Mapping[str, Any] | None,
        extra: Mapping[str, Any],
    ) -> Envelope:
        """Return an event of these parts that nothing caused.

        Raises:
            TypeError: when one of them is of the wrong type.
        """
        if event_type.__class__ is not str and not isinstance(event_type, str):
            raise TypeError(f"event_type must be text, got {event_type!r}")
        if not event_type:
            raise ValueError("event_type must not be empty")
        if subject is not None and not isinstance(subject, str):
            subject = subject_name(subject)
        made = Envelope(next(self._ids), event_type, subject, checked_payload(payload), self._time())
        if extra:
            made.metadata = checked_payload(extra, "extra")
        return made

    def _envelope_of(self, event: Any) -> Envelope:
        if not isinstance(event, Event):
            raise TypeError(f"event must be an Event, got {event!r}")
        time = event.time.timestamp() if "time" in event.model_fields_set else self._time()
        made = Envelope(event.id, event.type, event.subject, checked_payload(event.data, "data"), time)
        made.metadata = checked_payload(event.metadata, "metadata") if event.metadata else EMPTY
        made.source = event.source
        made.cause, made.root, made.depth = event.cause, event.root, event.depth
        made.change = None if event.change is None else checked_payload(event.change, "change")
        return made

    def due(self, delay: float | timedelta | None, at: float | datetime | None) -> float | None:
        """Return when an event is to be delivered, epoch seconds; None for at once.

        Raises:
            TypeError: when both are given, or one is of the wrong type.
            ValueError: for a delay below 0.
        """
        if delay is None:
            return None if at is None else epoch_seconds(at, "at")
        if at is not None:
            raise TypeError("give delay or at, not both")
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"delay must be seconds or a timedelta, got {delay!r}")
        if not 0 <= seconds < 1e11:
            raise ValueError(f"delay must be a number of seconds of at least 0, got {delay!r}")
        return epoch_seconds(self._time() + seconds, "delay")

    async def send(self, envelopes: Sequence[tuple[Envelope, float | None]], *, inside: bool = False) -> None:
        """Have events accepted, each with the moment it is due; None for at once.

        Args:
            envelopes: the events.
            inside: whether a handler waits for it, who must not be waited for in turn.

        Raises:
            QueueOverflow: when handlers emit far more than can be handled.
        """
        if not self._running and not (inside and self._closed and not self._tasks.closed):
            await self.start()
        if not inside:
            await self._lines.room(self._capacity)
            for stream in self._streams:
                await stream.room()
        else:
            self._refuse_too_many()
        before = self._published
        await self._send_on(envelopes)
        if not inside and before // _EMITS_PER_BREATH != self._published // _EMITS_PER_BREATH:
            await asyncio.sleep(0)

    async def _send_on(self, envelopes: Sequence[tuple[Envelope, float | None]]) -> None:
        """Give events to the transport, and those that are due to whoever wants them."""
        now = [envelope for envelope, due in envelopes if due is None]
        for envelope, due in envelopes:
            if due is not None:
                await self.transport.delay(envelope, due)
                self._keep_delays()
        if now:
            accepted = await self._append(now)
            self._published += len(now)
            self._accept_all(accepted)

    async def _append(self, envelopes: Sequence[Envelope]) -> list[Envelope]:
        """Append events, except those that are in the stream with their commit; return those that are not known yet."""
        there = {one.id for one in envelopes if one.committed} if self._carries_outbox else ()
        if not there:
            new = await self.transport.append(envelopes)
            return [envelope for envelope, is_new in zip(envelopes, new, strict=True) if is_new]
        others = [envelope for envelope in envelopes if envelope.id not in there]
        flags = iter(await self.transport.append(others) if others else ())
        return [envelope for envelope in envelopes if envelope.id in there or next(flags)]

    def _refuse_too_many(self) -> None:
        if self._lines.pending > _BEYOND * self._capacity:
            raise QueueOverflow(f"{self._lines.pending} events wait to be handled; handlers emit more than they handle")

    async def cancel(self, event_id: str) -> bool:
        """Cancel a delayed event.

        Args:
            event_id: what ``emit`` or ``publish`` returned.

        Returns:
            Whether it was still waiting.
        """
        await self.start()
        return await self.transport.cancel(event_id)


def subject_name(subject: Any) -> str:
    """Return the name of a subject that was handed in.

    Raises:
        TypeError: when it has none.
    """
    name = subject if isinstance(subject, str) else getattr(subject, "name", None)
    if not isinstance(name, str):
        raise TypeError(f"subject must be a name, or something with a name, got {subject!r}")
    return name
