"""For tests, users' too: a clock that stands still, recorders, and the suites that every adapter must pass."""

from milepost.testing.clocks import ManualClock
from milepost.testing.managers import open_manager
from milepost.testing.recorders import EventRecorder

__all__ = ["EventRecorder", "ManualClock", "open_manager"]
