"""What users hand in, checked: each function returns the value, or raises an error that names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from milepost._clock import Clock, epoch_seconds, to_the_microsecond
from milepost._naming import SUBJECTS
from milepost.errors import InvalidDefinition
from milepost.trackers.base import BaseTracker
from milepost.trackers.policies import ResetPolicy
from milepost.tracking.commands import hash_event_id

__all__ = [
    "check_type",
    "clock",
    "datum",
    "event_id_hash",
    "expiry",
    "group",
    "moment",
    "names",
    "pair",
    "policy",
    "seconds",
    "tracker_object",
    "tracker_objects",
    "whole",
]


def check_type(name: str, value: Any, wanted: type) -> None:
    """Check that a setting is of a class."""
    if not isinstance(value, wanted):
        raise InvalidDefinition(f"{name} must be a {wanted.__name__}, got {value!r}")


def tracker_object(tracker: Any) -> BaseTracker:
    """Return a tracker."""
    if not isinstance(tracker, BaseTracker):
        raise TypeError(f"a tracker must be an instance of BaseTracker, got {tracker!r}")
    return tracker


def names(name: str | Sequence[str] | None) -> list[str] | None:
    """Return tracker names as a list; None for all."""
    if name is None:
        return None
    wanted: list[Any] = [name] if isinstance(name, str) or not isinstance(name, Iterable) else list(name)
    for item in wanted:
        if not isinstance(item, str):
            raise TypeError(f"name must be a string or a list of strings, got {item!r}")
    return wanted


def datum(data: Any) -> dict[str, Any]:
    """Return a datum as a plain dict."""
    if data.__class__ is dict:
        return data
    if not isinstance(data, Mapping):
        raise TypeError(f"data must be a mapping, got {type(data).__name__}")
    try:
        return dict(data)
    except Exception as error:
        raise TypeError(f"data could not be read: {type(error).__name__}: {error}") from error


def moment(now: float | datetime | None, now_ts: float | None) -> float | None:
    """Return the time of a call in epoch seconds, from either spelling."""
    if now is not None and now_ts is not None:
        raise TypeError("give now or now_ts, not both")
    if now is not None:
        return to_the_microsecond(epoch_seconds(now, "now"))
    return None if now_ts is None else to_the_microsecond(epoch_seconds(now_ts, "now_ts"))


def event_id_hash(event_id: Any) -> bytes | None:
    """Return what an event id is remembered by."""
    if event_id is None:
        return None
    if not isinstance(event_id, str):
        raise TypeError(f"event_id must be a string, got {event_id!r}")
    if not event_id:
        raise ValueError("event_id must not be empty")
    return hash_event_id(event_id)


def group(group_id: Any) -> None:
    """Check a group id."""
    if not isinstance(group_id, str):
        raise TypeError(f"group_id must be a string, got {group_id!r}")
    if not group_id:
        raise ValueError("group_id must not be empty")
    if group_id.startswith(SUBJECTS):
        raise ValueError(f"group_id must not begin with {SUBJECTS!r}, which is kept for subjects, got {group_id!r}")
    try:
        group_id.encode()
    except UnicodeEncodeError:
        raise ValueError(f"group_id must be valid Unicode text, got {group_id!r}") from None


def expiry(expire: float | None, expire_at: float | datetime | None, now: float) -> float | None:
    """Return when a tracker expires, epoch seconds; ``expire_at`` wins."""
    if expire_at is not None:
        at = epoch_seconds(expire_at, "expire_at")
        if at <= now:
            raise ValueError(f"expire_at must lie in the future, got {expire_at!r}")
        return to_the_microsecond(at)
    if expire is None:
        return None
    if isinstance(expire, bool) or not isinstance(expire, int | float):
        raise TypeError(f"expire must be a number of seconds, got {expire!r}")
    if not 0 < expire < 1e11:
        raise ValueError(f"expire must be a number of seconds greater than 0, got {expire!r}")
    return to_the_microsecond(epoch_seconds(now + expire, "the moment at which it expires"))


def meant_for(tracker: BaseTracker, groups: str) -> None:
    """Check that a tracker that names its group is used for no other.

    Raises:
        InvalidDefinition: when it is.
    """
    group_id = tracker.own_values().get("group_id")
    if group_id is not None and group_id != groups:
        name = tracker.own_values().get("name")
        raise InvalidDefinition(f"the tracker {name!r} has group_id={group_id!r} and cannot be used for {groups!r}")


def policy(reset_policy: Any) -> ResetPolicy | None:
    """Return a reset policy; None for the tracker's own."""
    if reset_policy is None:
        return None
    if isinstance(reset_policy, bool) or reset_policy not in range(ResetPolicy.ALL + 1):
        raise ValueError(f"reset_policy must be a ResetPolicy or None, got {reset_policy!r}")
    return ResetPolicy(reset_policy)


def seconds(name: str, value: Any) -> float:
    """Return a setting that is a length of time."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidDefinition(f"{name} must be a number of seconds greater than 0, got {value!r}")
    return float(value)


def whole(name: str, value: Any) -> int:
    """Return a setting that is a number of things, at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidDefinition(f"{name} must be a whole number of at least 1, got {value!r}")
    return value


def clock(value: Any) -> Clock:
    """Return a clock."""
    if not callable(getattr(value, "time", None)) or not callable(getattr(value, "sleep", None)):
        raise InvalidDefinition(f"clock must have time() and async sleep(seconds), got {value!r}")
    checked: Clock = value
    return checked


def tracker_objects(trackers: Any) -> list[BaseTracker]:
    """Return trackers as a list."""
    if isinstance(trackers, BaseTracker) or not isinstance(trackers, Iterable):
        raise TypeError(f"trackers must be a list of trackers, got {trackers!r}")
    return [tracker_object(tracker) for tracker in trackers]


def pair(item: Any) -> tuple[Any, ...]:
    """Return a (group_id, data) pair, or a tuple of more of what a ``TrackItem`` takes."""
    if not isinstance(item, tuple) or not 2 <= len(item) <= 5:
        raise TypeError(f"an item must be a (group_id, data) pair or a TrackItem, got {item!r}")
    return item
