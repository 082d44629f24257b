"""Events: Pydantic models shaped like CloudEvents 1.0, one class per code."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from milepost._clock import utc_now
from milepost.codec import dumps, loads
from milepost.errors import UnknownEventError
from milepost.events import codes
from milepost.limiters.base import BaseLimiter
from milepost.records import Loss
from milepost.trackers.snapshot import TrackerSnapshot

__all__ = [
    "EVENT_CLASSES",
    "LISTENED",
    "TRACKER_EVENTS",
    "DataLost",
    "EngineEvent",
    "Event",
    "TrackerAdded",
    "TrackerAllCompleted",
    "TrackerEvent",
    "TrackerExpired",
    "TrackerLimited",
    "TrackerProgressed",
    "TrackerRemoved",
    "TrackerReset",
    "TrackerStageCompleted",
    "code_of",
    "decode_event",
    "encode_event",
    "event_from",
]


class Told(Protocol):
    """What an event's JSON is made of: an :class:`Event`, or what the bus carries it as."""

    id: Any
    type: Any
    source: Any
    subject: Any
    data: Any
    cause: Any
    root: Any
    depth: Any
    metadata: Any
    change: Any


def encode_event(event: Told, time: str) -> str:
    """Return a CloudEvent in JSON.

    Cause, root and depth are extension attributes. So are metadata and change, as JSON text, because an
    attribute's value is text or a number (CloudEvents 1.0.2, "Type System").

    Args:
        event: what to encode.
        time: when it happened, ISO 8601.
    """
    body: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": time,
        "data": event.data,
    }
    if event.cause is not None:
        body["cause"] = event.cause
        body["root"] = event.root
        body["depth"] = event.depth
    if event.metadata:
        body["metadata"] = dumps(event.metadata)
    if event.change is not None:
        body["change"] = dumps(event.change)
    return dumps(body)


def decode_event(text: str | bytes) -> Event:
    """Return the event that a CloudEvent's JSON tells of, of the class that belongs to its type.

    Raises:
        ValueError: when it is not the JSON of an event.
    """
    body = loads(text)
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise ValueError("an event's JSON is an object with a type")
    return event_from(body)


def event_from(attributes: Mapping[str, Any]) -> Event:
    """Return the event of a CloudEvent's attributes, its type and data among them.

    Raises:
        ValueError: when one of them is not what it should be.
    """
    fields = {field: attributes[field] for field in Event.model_fields if attributes.get(field) is not None}
    for field in ("metadata", "change"):
        if field in fields:
            fields[field] = loads(fields[field])
    return EVENT_CLASSES.get(fields["type"], Event)(**fields)


class Event(BaseModel):
    """Something that happened, with the attributes of a CloudEvent (CNCF CloudEvents 1.0.2).

    Args:
        type: what happened, such as ``order.paid``.
        name: another spelling of ``type``.
        data: the payload, made of JSON values.
        subject: what it happened to.
        source: who tells.
        id: its identity: two events of one id are the same event. By default random.
        time: when it happened; by default now, or when it is published.
        cause: the id of the event that caused it.
        root: the id of the event that began the chain.
        depth: how many causes came before it.
        metadata: what travels with the event and is not part of what happened.
        change: for a property that changed: its ``name``, its ``old`` and its ``new`` value.

    Raises:
        TypeError: for both spellings of the type at once, or none.
        ValueError: for a field that is not what it should be.
    """

    model_config = ConfigDict(frozen=True)

    id: str = Field(default_factory=lambda: uuid.uuid4().hex, min_length=1)
    """The same event has the same id, however often it is delivered."""
    type: str = Field(min_length=1)
    """What happened, such as ``tracker.limited``."""
    source: str = "milepost"
    subject: str | None = None
    """What it happened to; for tracker events the group id."""
    time: datetime = Field(default_factory=utc_now)
    data: dict[str, Any] = {}
    cause: str | None = None
    """The id of the event that caused it; None for the first of a chain."""
    root: str | None = None
    """The id of the first event of the chain; None for the first itself."""
    depth: int = 0
    """How many causes came before it."""
    metadata: dict[str, Any] = {}
    change: dict[str, Any] | None = None

    def __init__(
        self,
        type: str | None = None,
        data: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        subject: str | None = None,
        source: str | None = None,
        id: str | None = None,
        time: datetime | None = None,
        cause: str | None = None,
        root: str | None = None,
        depth: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        change: Mapping[str, Any] | None = None,
    ) -> None:
        if (type is None) == (name is None):
            raise TypeError("an Event needs its type, given as `type` or as `name`")
        given = {
            "type": name if type is None else type,
            "data": data,
            "subject": subject,
            "source": source,
            "id": id,
            "time": time,
            "cause": cause,
            "root": root,
            "depth": depth,
            "metadata": metadata,
            "change": change,
        }
        super().__init__(**{field: value for field, value in given.items() if value is not None})

    @property
    def name(self) -> str:
        """The event's type; for a tracker event the tracker's name."""
        return self.type

    def encoded(self) -> str:
        """Return the event as a CloudEvent in JSON."""
        return encode_event(self, self.time.isoformat())


class EngineEvent(Event):
    """An event that the engine itself tells of."""

    CODE: ClassVar[str | None] = None

    def __init__(self, **fields: Any) -> None:
        BaseModel.__init__(self, **fields)  # the engine makes these: no other spellings, no detour

    @property
    def code(self) -> str:
        """The event's type."""
        return self.type

    @property
    def event_ts(self) -> float:
        """When it happened, epoch seconds."""
        return self.time.timestamp()


class TrackerEvent(EngineEvent):
    """Something that happened to a tracker."""

    _tracker: TrackerSnapshot | None = PrivateAttr(default=None)
    _limiter: BaseLimiter | None = PrivateAttr(default=None)

    @property
    def group_id(self) -> str:
        """The group that the tracker belongs to."""
        return self.subject or ""

    @property
    def name(self) -> str:
        """The tracker's name, which is not the event's type."""
        return str(self.data["name"])

    @property
    def tracker(self) -> TrackerSnapshot:
        """The tracker at that moment; for a milestone, in the stage just finished.

        Raises:
            LookupError: for an event that was read back in a process that does not know the definition.
        """
        if self._tracker is None:
            raise LookupError(f"the snapshot of event {self.id} stayed in the process that made it; read its `data`")
        return self._tracker

    @property
    def times(self) -> int:
        """How many whole cycles one datum completed (``loop_forever``)."""
        return int(self.data.get("times", 1))


class TrackerAdded(TrackerEvent):
    """A tracker was added."""

    CODE = codes.EVENT_TRACKER_ADDED


class TrackerStageCompleted(TrackerEvent):
    """A target was passed that is not the last."""

    CODE = codes.EVENT_TRACKER_STAGE_COMPLETED


class TrackerAllCompleted(TrackerEvent):
    """The last target was reached."""

    CODE = codes.EVENT_TRACKER_ALL_COMPLETED


class TrackerReset(TrackerEvent):
    """A tracker was reset by hand."""

    CODE = codes.EVENT_TRACKER_RESET


class TrackerLimited(TrackerEvent):
    """A limiter began to refuse."""

    CODE = codes.EVENT_TRACKER_LIMITED

    @property
    def limiter(self) -> BaseLimiter:
        """The limiter, as it was at that moment.

        Raises:
            LookupError: for an event that was read back.
        """
        if self._limiter is None:
            return self.tracker.limiters[int(self.data["limiter"])]
        return self._limiter


class TrackerRemoved(TrackerEvent):
    """A tracker was removed."""

    CODE = codes.EVENT_TRACKER_REMOVED


class TrackerExpired(TrackerEvent):
    """A tracker's time was over."""

    CODE = codes.EVENT_TRACKER_EXPIRED


class TrackerProgressed(TrackerEvent):
    """A tracker's progress changed."""

    CODE = codes.EVENT_TRACKER_PROGRESSED


class DataLost(EngineEvent):
    """The cache was restarted, replaced or emptied, and may have lost data; here is what this process knows of it.

    Each process that notices tells its own part. A second event of the same epochs tells what has changed since.
    """

    CODE = codes.EVENT_DATA_LOST

    @classmethod
    def of(
        cls, loss: Loss, time: datetime, from_processes: int, from_store: int, behind: int, *, complete: bool
    ) -> Self:
        """Return the event for a loss.

        Args:
            loss: what was noticed.
            time: when it is told, UTC.
            from_processes: how many groups this process brought back that it held.
            from_store: how many it brought back from the store.
            behind: how many had gone on from an older state than this process held.
            complete: whether all that is in the cache has been compared with the store.
        """
        data = {
            "epoch_before": loss.epoch_before,
            "epoch": loss.epoch,
            "partitions": list(loss.partitions),
            "empty": loss.empty,
            "from_processes": from_processes,
            "from_store": from_store,
            "behind": behind,
            "complete": complete,
        }
        return cls(type=codes.EVENT_DATA_LOST, time=time, data=data)

    @property
    def epoch_before(self) -> int:
        """The epoch that ended: microseconds of the clock at which it began."""
        return int(self.data["epoch_before"])

    @property
    def epoch(self) -> int:
        """The epoch that began."""
        return int(self.data["epoch"])

    @property
    def partitions(self) -> tuple[int, ...]:
        """Which partitions may have lost data."""
        return tuple(self.data["partitions"])

    @property
    def empty(self) -> bool:
        """Whether the cache was found empty: whatever the store had not seen and no process holds is lost."""
        return bool(self.data["empty"])

    @property
    def from_processes(self) -> int:
        """How many groups this process brought back that it held."""
        return int(self.data["from_processes"])

    @property
    def from_store(self) -> int:
        """How many groups this process brought back from the store, which had them newer."""
        return int(self.data["from_store"])

    @property
    def behind(self) -> int:
        """How many groups had gone on from an older state than this process held."""
        return int(self.data["behind"])

    @property
    def complete(self) -> bool:
        """Whether all that is in the cache has been compared with the store; otherwise another event follows."""
        return bool(self.data["complete"])


TRACKER_EVENTS: Final[dict[str, type[TrackerEvent]]] = {
    cls.CODE: cls
    for cls in (
        TrackerAdded,
        TrackerStageCompleted,
        TrackerAllCompleted,
        TrackerReset,
        TrackerLimited,
        TrackerRemoved,
        TrackerExpired,
        TrackerProgressed,
    )
    if cls.CODE is not None
}

EVENT_CLASSES: Final[dict[str, type[EngineEvent]]] = {**TRACKER_EVENTS, codes.EVENT_DATA_LOST: DataLost}

LISTENED: Final[frozenset[str]] = frozenset(
    {*EVENT_CLASSES, codes.SUBJECT_PROPERTY_CHANGED, codes.SUBJECT_PROPERTY_DELETED, codes.SUBJECT_DELETED}
)
"""The codes that a manager's listeners can ask for."""


def code_of(code: object) -> str:
    """Return the code that a code or an event class stands for.

    Raises:
        UnknownEventError: when it stands for none.
    """
    if isinstance(code, str) and code in LISTENED:
        return code
    if isinstance(code, type) and issubclass(code, EngineEvent) and code.CODE is not None:
        return code.CODE
    raise UnknownEventError(
        f"unknown event {code!r}; the codes are {', '.join(sorted(LISTENED))}; "
        f"models' events and your own are heard with manager.bus.on(...)"
    )
