"""What a handler is given: the event's parts, copies of its own, and a way to emit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, cast

from milepost.bus.payloads import copied
from milepost.codec import from_jsonable
from milepost.events.types import Event
from milepost.subjects.subject import Subject

if TYPE_CHECKING:
    from milepost.bus.envelope import Envelope
    from milepost.bus.handlers import Handler
    from milepost.bus.run import Run

__all__ = ["EventContext", "NamedSubject", "SubjectLike", "SubjectSource"]


class SubjectLike(Protocol):
    """What a subject is at least: something with a name."""

    @property
    def name(self) -> str:
        """The subject's name."""
        ...


class NamedSubject:
    """A subject of which only the name is known.

    Args:
        name: its name.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<subject {self.name}>"

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return self.name == other.name if isinstance(other, NamedSubject) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)


class SubjectSource(Protocol):
    """Where the subjects of handlers come from."""

    @property
    def is_quick(self) -> bool:
        """Whether every subject can be loaded on the spot."""
        ...

    def load_now(self, name: str) -> Subject | None:
        """Load a subject on the spot; None where a store must be asked."""
        ...

    async def load(self, name: str) -> Subject:
        """Load a subject."""
        ...


class EventContext(ABC):
    """One handler's view of one event.

    What it does to the payload and the metadata no other handler sees.
    """

    attempt = 1
    """Which attempt this is, from 1."""
    # On the class until somebody asks: most handlers look at one of them.
    _event: Event | None = None
    _payload: dict[str, Any] | None = None
    _metadata: dict[str, Any] | None = None
    _subject: Subject | None = None

    def __init__(self, envelope: Envelope, handler: Handler | None) -> None:
        self._envelope = envelope
        self._handler = handler

    @property
    @abstractmethod
    def _run(self) -> Run:
        """The attempt, which is this object as the bus sees it: two that know each other would be left to the
        garbage collector.
        """

    def __repr__(self) -> str:
        return f"<context of {self.event_type} for {self.handler_name}>"

    @property
    def event(self) -> Event:
        """The event, with a payload of its own."""
        event = self._event
        if event is None:
            event = self._event = self._envelope.event()
        return event

    @property
    def event_id(self) -> str:
        """The event's identity."""
        return self._envelope.id

    @property
    def event_type(self) -> str:
        """What happened."""
        return self._envelope.type

    @property
    def subject(self) -> Subject:
        """What it happened to, loaded; committed when the handler succeeds.

        An event that names no subject happened to its source. On a bus without a manager a subject has a name
        and nothing else.
        """
        subject = self._subject
        if subject is None:
            source = self._run.subjects
            subject = None if source is None else source.load_now(self.subject_name)
            if subject is None:
                subject = cast(Subject, NamedSubject(self.subject_name))
            self._subject = subject
        return subject

    @property
    def subject_name(self) -> str:
        """The name of what it happened to."""
        envelope = self._envelope
        return envelope.subject or envelope.source

    async def load_subject(self) -> None:
        """Load the subject, so that it is there when it is asked for."""
        source = self._run.subjects
        if source is not None and self._subject is None:
            self._subject = source.load_now(self.subject_name) or await source.load(self.subject_name)

    @property
    def loaded_subject(self) -> Subject | None:
        """The subject, where it was asked for and can be stored."""
        subject = self._subject
        return subject if isinstance(subject, Subject) else None

    @property
    def payload(self) -> dict[str, Any]:
        """A copy of the payload."""
        payload = self._payload
        if payload is None:
            payload = self._payload = copied(self._envelope.data)
        return payload

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of what travels with the event, and what middleware and predicates noted."""
        metadata = self._metadata
        if metadata is None:
            metadata = self._metadata = copied(self._envelope.metadata)
        return metadata

    def get_metadata(self, key: str, default: Any = None) -> Any:
        """Return one entry of the metadata."""
        return self.metadata.get(key, default)

    def set_metadata(self, key: str, value: Any) -> None:
        """Note something for who comes later in this run."""
        self.metadata[key] = value

    @property
    def property_name(self) -> str | None:
        """For a property that changed: which; None for every other event."""
        return None if self._envelope.change is None else self._envelope.change["name"]

    @property
    def old_value(self) -> Any:
        """For a property that changed: what it was."""
        return None if self._envelope.change is None else from_jsonable(self._envelope.change.get("old"))

    @property
    def new_value(self) -> Any:
        """For a property that changed: what it is."""
        return None if self._envelope.change is None else from_jsonable(self._envelope.change.get("new"))

    @property
    def handler_name(self) -> str | None:
        """The handler's name; None in a middleware that wraps the event."""
        return None if self._handler is None else self._handler.name

    async def emit(
        self,
        event_type: str,
        payload: Mapping[str, Any] | None = None,
        subject: SubjectLike | str | None = None,
        *,
        delay: float | timedelta | None = None,
        at: float | datetime | None = None,
        **extra: Any,
    ) -> str:
        """Emit an event that this one caused. It leaves when the handler succeeds.

        Where the handler has changed ``ctx.subject``, the event is in the same commit: there are both or neither. An
        event that is delayed, and on Redis one about something else than the subject, is sent when that is done.

        Args:
            event_type: what happened.
            payload: JSON values; copied.
            subject: what it happened to; by default this event's subject.
            delay: seconds, or a timedelta, before it is delivered.
            at: when to deliver it, epoch seconds or an aware datetime.
            **extra: metadata that travels with it.

        Returns:
            The event's id.

        Raises:
            CascadeLimit: when the chain of causes is too long.
            TypeError: when the payload is not made of JSON values.
        """
        run = self._run
        about = self._envelope.subject if subject is None else subject
        envelope = run.bus.envelope(event_type, about, payload, extra)
        return await run.take(run.bus, envelope, run.bus.due(delay, at), derive=True)
