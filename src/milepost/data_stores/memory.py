"""A store in memory: everything is lost with the process. For tests, and for what need not last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from milepost.backends.memory import MemoryRecords
from milepost.data_stores.base import BaseDataStore, RecordChange
from milepost.records import Record

__all__ = ["MemoryDataStore"]


class MemoryDataStore(MemoryRecords, BaseDataStore):
    """Keeps records in this process's memory.

    Args:
        outbox_size: how many events to keep for reading back.
    """

    lasting: ClassVar[bool] = False

    def __init__(self, *, outbox_size: int = 10_000) -> None:
        super().__init__(outbox_size=outbox_size)

    async def save(self, changes: Sequence[RecordChange]) -> None:
        for change in changes:
            self._save(change)

    def _save(self, change: RecordChange) -> None:
        record = self.table.records.get(change.key)
        if record is not None and record.revision is not None and record.revision >= change.revision:
            return
        self.keep_definitions(change.definitions)
        self.append_events(change.events)
        if change.removed:
            self.table.drop(change.key)
            return
        if record is None or change.whole or record.incarnation != change.revision.incarnation:
            record = Record(change.key, change.revision.incarnation)
            self.table.hold(record)
        record.rows.update(change.puts)
        for name in change.drops:
            record.rows.pop(name, None)
        record.counter = change.revision.counter
        record.serial = change.serial
        record.seen = dict.fromkeys(change.seen) or None
        record.plan = record.quick = None
        self.note_deadline(record, change.deadline)
