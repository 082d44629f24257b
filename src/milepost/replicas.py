"""A bounded table of records in memory: what a process works on.

Records leave it least recently used first, and only clean ones: what is in flight, or not
yet confirmed by a store, stays, even beyond the bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container

from milepost.records import Record

__all__ = ["Replicas"]


class Replicas:
    """Records by key, at most ``limit`` of them, as long as enough are clean.

    Args:
        limit: how many to keep; None for no bound.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.records: OrderedDict[str, Record] = OrderedDict()
        self.limit = limit
        self.busy: Container[str] = ()
        """Keys of records that something in flight refers to."""
        self.is_clean: Callable[[Record], bool] = lambda record: True
        self.on_evicted: Callable[[Record], None] = lambda record: None
        self.evicted = 0

    def __len__(self) -> int:
        return len(self.records)

    def get(self, key: str) -> Record | None:
        """Return a record and note that it was used; None where it is not held."""
        record = self.records.get(key)
        if record is not None and self.limit is not None:
            self.records.move_to_end(key)
        return record

    def hold(self, record: Record) -> None:
        """Keep a record, and let others go where there are too many."""
        self.records[record.key] = record
        if self.limit is not None:
            self.records.move_to_end(record.key)
            if len(self.records) > self.limit:
                self.shrink()

    def drop(self, key: str) -> None:
        """Forget a record."""
        self.records.pop(key, None)

    def clear(self) -> None:
        """Forget all records."""
        self.records.clear()

    def shrink(self) -> None:
        """Let clean records go until the bound is kept, the least recently used first."""
        if self.limit is None:
            return
        surplus = len(self.records) - self.limit
        if surplus <= 0:
            return
        newest = next(reversed(self.records))
        leaving = []
        for key, record in self.records.items():
            if key not in self.busy and key != newest and self.is_clean(record):
                leaving.append(record)
                if len(leaving) == surplus:
                    break
        for record in leaving:
            del self.records[record.key]
            self.evicted += 1
            self.on_evicted(record)
