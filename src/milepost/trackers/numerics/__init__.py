"""Trackers whose progress is a number. The door: modules inside import from the leaves."""

from milepost.trackers.numerics.accumulation import AccumulationTracker
from milepost.trackers.numerics.count import CountTracker
from milepost.trackers.numerics.numeric import NumericTracker

__all__ = ["AccumulationTracker", "CountTracker", "NumericTracker"]
