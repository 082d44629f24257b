"""What is tracked. The door: modules inside import from the leaves."""

from milepost.trackers.base import BaseTracker
from milepost.trackers.definition import TrackerDefinition
from milepost.trackers.numerics.accumulation import AccumulationTracker
from milepost.trackers.numerics.count import CountTracker
from milepost.trackers.numerics.numeric import NumericTracker
from milepost.trackers.policies import ResetPolicy
from milepost.trackers.snapshot import TrackerSnapshot

__all__ = [
    "AccumulationTracker",
    "BaseTracker",
    "CountTracker",
    "NumericTracker",
    "ResetPolicy",
    "TrackerDefinition",
    "TrackerSnapshot",
]
