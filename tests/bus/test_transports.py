"""Each transport keeps the promises of all, and of the bus upon it."""

from __future__ import annotations

from typing import Any

from milepost import MemoryTransport, SQLiteTransport, Transport
from milepost.testing import TransportSuite


class TestMemoryTransport(TransportSuite):
    """Memory."""

    def connect(self, **settings: Any) -> Transport:
        return MemoryTransport(**settings)


class TestSQLiteTransport(TransportSuite):
    """A SQLite file."""

    def connect(self, **settings: Any) -> Transport:
        return SQLiteTransport(self.folder / "events.db", synchronous="OFF", **settings)
