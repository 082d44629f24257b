"""Containers in containers: converting plain ones, and what they take over from the one that holds them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from milepost.changes.tracking import Tracking, gate

if TYPE_CHECKING:
    from milepost.changes.containers import TrackedContainer

__all__ = ["adopt", "convert", "inherited"]

_converting: dict[int, tuple[Any, TrackedContainer]] = {}
"""What the conversion under way has made so far, by the id of what it was made of. The gate guards it."""


@cache
def _tracked_types() -> dict[type, type[TrackedContainer]]:
    from milepost.changes.dicts import TrackedDict
    from milepost.changes.lists import TrackedList
    from milepost.changes.sets import TrackedSet

    return {dict: TrackedDict, list: TrackedList, set: TrackedSet}


def inherited(tracking: Tracking) -> dict[str, Any]:
    """Return the settings that a converted child takes over."""
    return {
        "history": tracking.history,
        "tracking_auto_convert": tracking.auto_convert,
        "tracking_capture_snapshots": tracking.snapshots is not None,
        "tracking_capture_stack": tracking.captures_stacks,
        "tracking_redact": tracking.redact,
        "tracking_clock": tracking.clock,
    }


def convert(value: Any, settings: dict[str, Any]) -> Any:
    """Return a plain dict, list or set as a tracked one, all that is in it converted too.

    Values of other types, their subclasses among them, are returned as they are. What holds itself, and
    what is in several places, does and is so afterwards.
    """
    kind = _tracked_types().get(value.__class__)
    if kind is None:
        return value
    with gate:
        known = _converting.get(id(value))
        if known is not None:
            return known[1]
        outermost = not _converting
        try:
            container = kind.__new__(kind)
            _converting[id(value)] = (value, container)
            container.__init__(value, **settings)  # type: ignore[misc]
            container._tracking.fresh = True
        finally:
            if outermost:
                _converting.clear()
    return container


def adopt(parent: TrackedContainer, child: TrackedContainer, key: Any) -> None:
    """Let a tracked container report to another one, and hide what that one hides."""
    tracking = child._tracking
    tracking.held_by(parent, key)
    names = parent._tracking.redact
    if names - tracking.redact:
        for container in child._tracking_tree():
            container._tracking.hide(names)
