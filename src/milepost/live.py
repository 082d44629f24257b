"""Tracker and limiter objects that stay live: what users handed in reads the state of its group."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakValueDictionary

from milepost._keypaths import MISSING
from milepost._kinds import Definable
from milepost.errors import AmbiguousState
from milepost.limiters.base import BaseLimiter
from milepost.records import Record
from milepost.trackers.base import STATE_NAMES, BaseTracker
from milepost.trackers.snapshot import TrackerSnapshot

__all__ = ["LiveObjects"]

Find = Callable[[str], Record | None]


class _Place:
    """A tracker in a group, as this process sees it."""

    __slots__ = ("__weakref__", "_find", "key", "last", "name")

    def __init__(self, key: str, name: str, last: TrackerSnapshot, find: Find) -> None:
        self.key = key
        self.name = name
        self.last = last
        self._find = find

    def snapshot(self) -> TrackerSnapshot:
        """Return the tracker's state; the last known one where its group is not in memory, or it is there no more."""
        record = None if self.last.life.removed else self._find(self.key)
        if record is None or (record.broken and self.name in record.broken):
            return self.last
        found = record.rows.get(self.name)
        if found is not None and self.last.is_the_tracker_of(found):
            self.last = found
        else:  # another process removed it, and may have added another
            self.last = self.last.with_life(removed=True)
        return self.last


class _LiveTracker:
    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.places: dict[tuple[str, str], _Place] = {}
        self.ambiguous = False

    def read(self, owner: Definable, name: str) -> Any:
        if name in STATE_NAMES or name not in self.values:
            if self.ambiguous or len(self.places) != 1:
                if name in STATE_NAMES:
                    raise AmbiguousState(f"{type(owner).__name__} {self.values.get('name')!r}", name)
                return MISSING
            (place,) = self.places.values()
            return getattr(place.snapshot(), name, MISSING)
        if self.places and not self.ambiguous and len(self.places) == 1:
            (place,) = self.places.values()
            return place.snapshot().state.get(name, self.values[name])
        return self.values[name]


class _LiveLimiter:
    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.places: dict[tuple[str, str, int], _Place | None] = {}

    def read(self, owner: Definable, name: str) -> Any:
        if len(self.places) != 1 or None in self.places.values():
            if name in type(owner)._own_fields or (name in self.values and not self._is_state(name)):
                return self.values[name]
            raise AmbiguousState(type(owner).__name__, name)
        (((_, _, index), place),) = self.places.items()
        if place is None:
            return MISSING
        snapshot = place.snapshot()
        if name == "limited":
            return bool(snapshot.mask >> index & 1)
        state = snapshot.limits[index] if index < len(snapshot.limits) else {}
        return state.get(name, self.values.get(name, MISSING))

    def _is_state(self, name: str) -> bool:
        """Whether the attribute has changed in one of the places."""
        return any(
            place is None or name in place.snapshot().limits[index] for (_, _, index), place in self.places.items()
        )


class LiveObjects:
    """The objects that were handed to one manager.

    Args:
        find: returns a group's record if it is in memory.
    """

    def __init__(self, find: Find) -> None:
        self._find = find
        self._places: WeakValueDictionary[tuple[str, str], _Place] = WeakValueDictionary()

    def bind(self, key: str, tracker: BaseTracker, row: TrackerSnapshot) -> None:
        """Let a tracker object, and its limiters, read the state it has in this group."""
        place = _Place(key, row.name, row, self._find)
        self._places[key, row.name] = place
        live = self._live_tracker(tracker)
        live.places[key, row.name] = place
        for index, limiter in enumerate(tracker.limiters):
            self._live_limiter(limiter).places[key, row.name, index] = place

    def declare(self, pattern: str, tracker: BaseTracker) -> None:
        """Let a tracker object know that it belongs to many groups."""
        self._live_tracker(tracker).ambiguous = True
        for index, limiter in enumerate(tracker.limiters):
            self._live_limiter(limiter).places[pattern, "*", index] = None

    def gone(self, key: str, rows: Iterable[TrackerSnapshot]) -> None:
        """Note the last state of trackers that were removed or expired."""
        for row in rows:
            place = self._places.pop((key, row.name), None)
            if place is not None:
                place.last = row.with_life(removed=True)

    def evicted(self, key: str, rows: Iterable[TrackerSnapshot]) -> None:
        """Note the last state of trackers whose group leaves memory."""
        for row in rows:
            place = self._places.get((key, row.name))
            if place is not None:
                place.last = row

    @staticmethod
    def _live_tracker(tracker: BaseTracker) -> _LiveTracker:
        live = tracker.__dict__.get("_milepost_live")
        if not isinstance(live, _LiveTracker):
            live = _LiveTracker(tracker.own_values())
            blueprint = tracker.__dict__.get("_milepost_blueprint")
            tracker._go_live(live)
            if blueprint is not None:
                vars(tracker)["_milepost_blueprint"] = blueprint
        return live

    @staticmethod
    def _live_limiter(limiter: BaseLimiter) -> _LiveLimiter:
        live = limiter.__dict__.get("_milepost_live")
        if not isinstance(live, _LiveLimiter):
            live = _LiveLimiter(limiter.own_values())
            limiter._go_live(live)
        return live
