"""The base of trackers whose progress is a sum of what data bring."""

from milepost.trackers.base import BaseTracker

__all__ = ["NumericTracker"]


class NumericTracker(BaseTracker, abstract=True):
    """A tracker whose progress is a sum; a subclass's ``measure`` says what each datum adds.

    Ints and ``Decimal`` are added exactly, floats as floats.
    """
