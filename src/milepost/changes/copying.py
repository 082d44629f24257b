"""Copies of tracked containers, by ``copy``, ``deepcopy`` and ``pickle``: the same contents and settings, a log of
their own, no observers, and never locked.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, Self

from milepost.changes.containers import TrackedContainer
from milepost.changes.remembering import Remembering
from milepost.changes.values import ATOMIC, Plain, freeze

__all__ = ["Copied"]


def _settings(container: TrackedContainer) -> dict[str, Any]:
    tracking = container._tracking
    return {
        "history": tracking.history,
        "name": tracking.name,
        "auto_convert": tracking.auto_convert,
        "capture_snapshots": tracking.snapshots is not None,
        "capture_stack": tracking.captures_stacks,
        "redact": tuple(sorted(tracking.redact)),
    }


def _rebuilt(cls: type[Copied], contents: Any, settings: dict[str, Any], attributes: dict[str, Any] | None) -> Copied:
    """Return what was pickled."""
    container = cls.__new__(cls)
    if attributes:
        container.__dict__.update(attributes)
    container._tracking_fill(contents)
    container._tracking_setup(**settings)
    return container


class Copied(Remembering):
    """How a container that is a dict, a list or a set itself is copied."""

    __slots__ = ()

    def __copy__(self) -> Self:
        twin = self._tracking_like(self)
        if own := getattr(self, "__dict__", None):
            twin.__dict__.update(own)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = self._tracking_blank()
        memo[id(self)] = twin
        if own := getattr(self, "__dict__", None):
            twin.__dict__.update(copy.deepcopy(own, memo))
        contents = copy.deepcopy(self._tracking_shallow(), memo)
        twin._tracking_fill(contents)
        twin._tracking_setup(capture_snapshots=self.tracking_capture_snapshots)
        return twin

    def __reduce_ex__(self, protocol: Any, /) -> Any:
        own = getattr(self, "__dict__", None)
        return _rebuilt, (type(self), self._tracking_shallow(), _settings(self), own or None)

    def _tracking_blank(self) -> Self:
        twin = type(self).__new__(type(self))
        settings = _settings(self)
        del settings["capture_snapshots"]
        twin._tracking_setup(**settings, clock=self._tracking.clock)
        twin._tracking.ready = False
        return twin

    def _tracking_like(self, contents: Any) -> Self:
        twin = self._tracking_blank()
        twin._tracking_fill(contents)
        twin._tracking_setup(capture_snapshots=self.tracking_capture_snapshots)
        return twin

    @staticmethod
    def _tracking_untracked(value: Any) -> Any:
        """Return a value, or a plain copy of a tracked one."""
        return freeze(value) if value.__class__ not in ATOMIC and isinstance(value, Plain) else value

    @abstractmethod
    def _tracking_fill(self, contents: Any) -> None:
        """Take contents in, before anything is logged."""

    @abstractmethod
    def _tracking_shallow(self) -> Any:
        """Return a plain container with the same values."""
