"""Events: Pydantic models shaped like CloudEvents 1.0, one class per code."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, PrivateAttr

from milepost.codec import dumps
from milepost.errors import UnknownEventError
from milepost.events import codes
from milepost.limiters.base import BaseLimiter
from milepost.trackers.snapshot import TrackerSnapshot

__all__ = [
    "EVENT_CLASSES",
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
]


class Event(BaseModel):
    """Something that happened, with the attributes of a CloudEvent (CNCF CloudEvents 1.0.2)."""

    model_config = ConfigDict(frozen=True)

    id: str
    """The same event has the same id, however often it is delivered."""
    type: str
    """What happened, such as ``tracker.limited``."""
    source: str = "milepost"
    subject: str | None = None
    """What it happened to; for tracker events the group id."""
    time: datetime
    data: dict[str, Any] = {}

    def encoded(self) -> str:
        """Return the event as a CloudEvent in JSON."""
        return dumps(
            {
                "specversion": "1.0",
                "id": self.id,
                "type": self.type,
                "source": self.source,
                "subject": self.subject,
                "time": self.time.isoformat(),
                "data": self.data,
            }
        )


class TrackerEvent(Event):
    """Something that happened to a tracker."""

    CODE: ClassVar[str | None] = None

    _tracker: TrackerSnapshot | None = PrivateAttr(default=None)
    _limiter: BaseLimiter | None = PrivateAttr(default=None)

    @property
    def code(self) -> str:
        """The event's type."""
        return self.type

    @property
    def group_id(self) -> str:
        """The group that the tracker belongs to."""
        return self.subject or ""

    @property
    def name(self) -> str:
        """The tracker's name."""
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
    def event_ts(self) -> float:
        """When it happened, epoch seconds."""
        return self.time.timestamp()

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


EVENT_CLASSES: Final[dict[str, type[TrackerEvent]]] = {
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


def code_of(code: object) -> str:
    """Return the code that a code or an event class stands for.

    Raises:
        UnknownEventError: when it stands for none.
    """
    if isinstance(code, str) and code in EVENT_CLASSES:
        return code
    if isinstance(code, type) and issubclass(code, TrackerEvent) and code.CODE is not None:
        return code.CODE
    raise UnknownEventError(f"unknown event {code!r}; the codes are {', '.join(sorted(EVENT_CLASSES))}")
