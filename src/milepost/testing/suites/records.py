"""What every record adapter promises, cache or store."""

from __future__ import annotations

from milepost.testing.suites.committing import CommittingSuite, RemovingSuite
from milepost.testing.suites.histories import HistorySuite
from milepost.testing.suites.naming import NamingSuite
from milepost.testing.suites.properties import PropertySuite
from milepost.testing.suites.racing import CancellationSuite, RacingSuite
from milepost.testing.suites.reading import DeadlineSuite, FlushSuite, KeysSuite, OutboxSuite
from milepost.testing.suites.repeating import DeduplicationSuite, RepeatingSuite

__all__ = ["RecordSuite"]


class RecordSuite(
    CommittingSuite,
    RemovingSuite,
    HistorySuite,
    RepeatingSuite,
    DeduplicationSuite,
    KeysSuite,
    DeadlineSuite,
    OutboxSuite,
    FlushSuite,
    NamingSuite,
    PropertySuite,
    RacingSuite,
    CancellationSuite,
):
    """Every promise of ``milepost.records.Authority``, in the order of its parts above.

    A subclass brings ``connect``; where the adapter can do more, it sets ``shared`` and ``lasting``.
    """
