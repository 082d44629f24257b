"""An event as the bus carries it: a small object, from which an ``Event`` is made where one is asked for.

The payload in it is nobody's to change; handlers get copies.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from milepost._clock import utc
from milepost.bus.payloads import copied
from milepost.codec import loads
from milepost.events.types import EVENT_CLASSES, Event, TrackerEvent, decode_event, encode_event

__all__ = ["EMPTY", "Enclosed", "Envelope"]

_PLAIN: Final = {"specversion", "id", "type", "source", "subject", "time", "data"}
_CAUSED: Final = {*_PLAIN, "cause", "root", "depth"}
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00\Z")

EMPTY: Final[dict[str, Any]] = {}
"""What stands for no metadata; never changed."""


class Envelope:
    """One event on its way.

    Args:
        id: the event's identity.
        type: what happened.
        subject: what it happened to; None for nothing in particular.
        data: the payload, checked and not shared.
        time: when, epoch seconds.
    """

    # On the class, so that an event that nothing caused is made of five attributes.
    source = "milepost"
    cause: str | None = None
    root: str | None = None
    depth = 0
    metadata: dict[str, Any] = EMPTY
    change: dict[str, Any] | None = None
    committed = False
    """Whether it is in the outbox of what decides commits, where that keeps one."""
    _event: Event | None = None

    def __init__(self, id: str, type: str, subject: str | None, data: dict[str, Any], time: float) -> None:
        self.id = id
        self.type = type
        self.subject = subject
        self.data = data
        self.time = time

    @classmethod
    def of(cls, event: Event) -> Envelope:
        """Return the envelope of an event."""
        made = cls(event.id, event.type, event.subject, copied(event.data), event.time.timestamp())
        if event.metadata:
            made.metadata = copied(event.metadata)
        made.source = event.source
        made.cause = event.cause
        made.root = event.root
        made.depth = event.depth
        if event.change is not None:
            made.change = copied(event.change)
        made._event = event
        return made

    @classmethod
    def decode(cls, text: str | bytes) -> Envelope:
        """Return the envelope of an event that :meth:`encoded` told of.

        Raises:
            ValueError: when the text is no event.
        """
        body = loads(text)
        if not isinstance(body, dict) or not _is_plain(body):
            return cls.of(decode_event(text))
        made = cls(
            body["id"], body["type"], body["subject"], body["data"], datetime.fromisoformat(body["time"]).timestamp()
        )
        made.source = body["source"]
        if "cause" in body:
            made.cause, made.root, made.depth = body["cause"], body["root"], body["depth"]
        return made

    def caused_by(self, cause: Envelope) -> None:
        """Note what caused the event."""
        self.cause = cause.id
        self.root = cause.root or cause.id
        self.depth = cause.depth + 1

    @property
    def key(self) -> str:
        """What decides the partition: the subject, or the id where there is none."""
        return self.id if self.subject is None else self.subject

    @property
    def moment(self) -> datetime:
        """When it happened."""
        return utc(self.time)

    def event(self) -> Event:
        """Return an event with a payload of its own."""
        known = self._event
        if isinstance(known, TrackerEvent):
            return known.model_copy(update={"data": copied(self.data), "metadata": copied(self.metadata)})
        made = EVENT_CLASSES.get(self.type, Event)
        return made(
            id=self.id,
            type=self.type,
            source=self.source,
            subject=self.subject,
            time=self.moment,
            data=copied(self.data),
            cause=self.cause,
            root=self.root,
            depth=self.depth,
            metadata=copied(self.metadata),
            change=None if self.change is None else copied(self.change),
        )

    def encoded(self) -> str:
        """Return the event as a CloudEvent in JSON."""
        return encode_event(self, self.moment.isoformat())


def _is_plain(body: dict[str, Any]) -> bool:
    """Whether there is no more to an event than a bus mostly writes, and all of it is what it should be.

    It is then read in a quarter of the time that its model takes.
    """
    names = body.keys()
    if names != _PLAIN and names != _CAUSED:
        return False
    id, kind, source, subject = body["id"], body["type"], body["source"], body["subject"]
    if not (isinstance(id, str) and id and isinstance(kind, str) and kind and isinstance(source, str)):
        return False
    if kind in EVENT_CLASSES or not isinstance(body["data"], dict) or not _MOMENT.match(str(body["time"])):
        return False
    if not (subject is None or isinstance(subject, str)):
        return False
    if names == _PLAIN:
        return True
    texts = isinstance(body["cause"], str) and isinstance(body["root"], str)
    return texts and body["depth"].__class__ is int


class Enclosed:
    """An event of the bus as an outbox takes it, with the commit of the subject that its handler has changed.

    Args:
        envelope: the event.
    """

    __slots__ = ("envelope",)

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope

    @property
    def id(self) -> str:
        """The event's identity."""
        return self.envelope.id

    @property
    def type(self) -> str:
        """What happened."""
        return self.envelope.type

    @property
    def time(self) -> datetime:
        """When it happened."""
        return self.envelope.moment

    @property
    def subject(self) -> str | None:
        """What it happened to."""
        return self.envelope.subject

    @property
    def root(self) -> str | None:
        """The id of the event that began the chain."""
        return self.envelope.root

    def encoded(self) -> str:
        """Return the event as a CloudEvent in JSON."""
        return self.envelope.encoded()
