"""Counting: each datum that satisfies the conditions is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milepost.trackers.numerics.numeric import NumericTracker

__all__ = ["CountTracker"]


class CountTracker(NumericTracker):
    """Adds 1 for each datum that counts. Its fields are those of :class:`BaseTracker`."""

    def measure(self, data: Mapping[str, Any], /, *args: Any, **kwargs: Any) -> int:
        return 1
