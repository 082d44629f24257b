"""For tests, users' too: a clock that stands still, recorders, and the suites that every adapter must pass.

The suites need pytest, which is imported only when one of them is asked for.
"""

from typing import TYPE_CHECKING, Any

from milepost.testing.clocks import ManualClock
from milepost.testing.managers import open_manager
from milepost.testing.recorders import EventRecorder

if TYPE_CHECKING:
    from milepost.testing.suites.data_caches import DataCacheSuite
    from milepost.testing.suites.data_stores import DataStoreSuite
    from milepost.testing.suites.records import RecordSuite
    from milepost.testing.suites.transports import TransportSuite

__all__ = [
    "DataCacheSuite",
    "DataStoreSuite",
    "EventRecorder",
    "ManualClock",
    "RecordSuite",
    "TransportSuite",
    "open_manager",
]


def __getattr__(name: str) -> Any:
    if name in ("DataCacheSuite", "DataStoreSuite", "RecordSuite", "TransportSuite"):
        import milepost.testing.suites as suites

        return getattr(suites, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
