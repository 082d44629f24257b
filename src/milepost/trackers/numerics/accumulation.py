"""Summing up: each datum that satisfies the conditions brings its amount."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milepost._keypaths import MISSING, getter
from milepost._kinds import Text
from milepost._numbers import Number, as_number
from milepost.trackers.numerics.numeric import NumericTracker

__all__ = ["AccumulationTracker"]


class AccumulationTracker(NumericTracker):
    """Adds the number at ``key``; a datum without the key does not count.

    Its other fields are those of :class:`BaseTracker`. Text that is a number counts as that
    number; what is none (NaN, infinity, booleans, None) moves nothing and is reported in
    ``result.rejected``.

    Args:
        key: a dotted path to the amount.
        exact: add as decimals, whatever arrives: 0.1 counts as 0.1.
    """

    key: Text = "amount"
    exact: bool = False

    def measure(self, data: Mapping[str, Any], /, *args: Any, **kwargs: Any) -> Number | None:
        value = getter(self.key)(data)
        return None if value is MISSING else as_number(value)
