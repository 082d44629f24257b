"""What ``track`` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from milepost.trackers.snapshot import TrackerSnapshot

if TYPE_CHECKING:
    from milepost.events.types import TrackerEvent

__all__ = ["FullTrackResult", "Rejected", "TrackResult"]


_MORE: Final = ("rejected", "duplicate", "error")


class Rejected(NamedTuple):
    """A tracker that a datum could not move although it was meant to, and why."""

    name: str
    reason: str


class TrackResult(tuple[bool, list[TrackerSnapshot], list[TrackerSnapshot], list[TrackerSnapshot]]):
    """What one call did; unpacks into ``(ok, dirtied, completed, limited)``.

    It is true when ``ok`` is. The lists hold snapshots: ``dirtied`` what this call changed,
    ``completed`` what finished its last target, ``limited`` every matching tracker that is
    limited when the call ends.
    """

    __slots__ = ()  # most calls do no more than move rows; for what is more see FullTrackResult

    events: tuple[TrackerEvent, ...] = ()
    """The events that the call caused, in order."""
    rejected: tuple[Rejected, ...] = ()
    """Trackers that the datum could not move, and why."""
    duplicate: bool = False
    """Whether the event id was known already; then nothing was changed."""
    error: Exception | None = None
    """Why the item was not applied (``track_many``)."""

    @property
    def ok(self) -> bool:
        """Whether the datum was applied."""
        return self[0]

    @property
    def dirtied(self) -> list[TrackerSnapshot]:
        """What this call changed."""
        return self[1]

    @property
    def completed(self) -> list[TrackerSnapshot]:
        """What finished its last target."""
        return self[2]

    @property
    def limited(self) -> list[TrackerSnapshot]:
        """Every matching tracker that is limited when the call ends."""
        return self[3]

    def __bool__(self) -> bool:
        return self[0]

    def __repr__(self) -> str:
        shown = [f"ok={self[0]}", f"dirtied={self[1]}", f"completed={self[2]}", f"limited={self[3]}"]
        if self.events:
            shown.append(f"events=[{', '.join(event.code for event in self.events)}]")
        shown += [f"{name}={value!r}" for name in _MORE if (value := getattr(self, name))]
        return f"TrackResult({', '.join(shown)})"

    @classmethod
    def refused(cls, *, duplicate: bool = False, error: Exception | None = None) -> TrackResult:
        """Return the result of a call that was not applied."""
        result = FullTrackResult((False, [], [], []))
        result.duplicate = duplicate
        result.error = error
        return result


class FullTrackResult(TrackResult):
    """The result of a call that caused events, was rejected or refused, or began rows."""

    drafts: list[Any]
    """Events to be, until the commit makes them events."""
    begins: bool = False
    """Whether a row begins: a declared tracker moves for the first time."""

    @property
    def says_more(self) -> bool:
        """Whether it takes more than moving rows to commit it."""
        return bool(self.drafts) or self.begins

    delivery: Any = None
    """What to wait for until its events are delivered."""
