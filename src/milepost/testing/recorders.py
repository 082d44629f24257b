"""Remembering what was announced."""

from __future__ import annotations

from typing import TypeVar

from milepost.events.codes import EVENT_ALL
from milepost.events.types import TrackerEvent
from milepost.manager import TrackingManager

__all__ = ["EventRecorder"]

E = TypeVar("E", bound=TrackerEvent)


class EventRecorder:
    """Listens to everything a manager announces.

    Args:
        manager: whom to listen to.
        progressed: whether to listen to PROGRESSED too, which is built only where somebody listens.
    """

    def __init__(self, manager: TrackingManager, *, progressed: bool = False) -> None:
        self.events: list[TrackerEvent] = []
        codes = [code for code in EVENT_ALL if progressed or code != "tracker.progressed"]
        self._handles = [manager.add_listener(code, self.events.append) for code in codes]

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of a class, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def codes(self) -> list[str]:
        """The codes of all events, in order."""
        return [event.code for event in self.events]

    def clear(self) -> None:
        """Forget what was heard."""
        self.events.clear()

    def close(self) -> None:
        """Stop listening."""
        for handle in self._handles:
            handle.remove()
