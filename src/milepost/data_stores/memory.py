"""A store in memory: everything is lost with the process. For tests, and for what need not last."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar, Final

from milepost.backends.memory import MemoryRecords
from milepost.data_stores.base import BaseDataStore, RecordChange
from milepost.lookups import RowIndex, RowIs
from milepost.records import CacheMark, Record, Revision, Standing

__all__ = ["MemoryDataStore"]

_RECORDS_PER_BREATH: Final = 1000
_REMEMBERED_REMOVALS: Final = 100_000


class MemoryDataStore(MemoryRecords, BaseDataStore, RowIndex):
    """Keeps records in this process's memory.

    Args:
        outbox_size: how many events to keep for reading back.
    """

    lasting: ClassVar[bool] = False

    def __init__(self, *, outbox_size: int = 10_000) -> None:
        super().__init__(outbox_size=outbox_size)
        self._removed: OrderedDict[str, Revision] = OrderedDict()
        """Where records stood when a cache removed them: what it says late of them is the past."""
        self._mark: CacheMark | None = None

    async def flush(self) -> int:
        self._removed.clear()
        return await super().flush()

    async def find(self, prefix: str, conditions: Sequence[RowIs]) -> AsyncIterator[str]:
        wanted = [(name, frozenset(texts), or_absent) for name, texts, or_absent in conditions]
        found: list[str] = []
        for n, (key, record) in enumerate(list(self.table.records.items()), 1):
            if n % _RECORDS_PER_BREATH == 0:
                await asyncio.sleep(0)
            if not key.startswith(prefix) or not record.rows:
                continue
            for name, texts, or_absent in wanted:
                row = record.rows.get(name)
                if (not or_absent) if row is None else texts and row.encoded() not in texts:
                    break
            else:
                found.append(key)
        for key in sorted(found):
            yield key

    async def standings(self, keys: Sequence[str]) -> dict[str, Standing]:
        gone = {key: Standing(self._removed[key], True) for key in keys if key in self._removed}
        there = ((key, self.table.records.get(key)) for key in keys)
        return {
            **gone,
            **{
                key: Standing(record.revision, False)
                for key, record in there
                if record is not None and record.revision is not None
            },
        }

    async def cache_mark(self) -> CacheMark | None:
        return self._mark

    async def mark_cache(self, mark: CacheMark) -> None:
        self._mark = mark if self._mark is None else CacheMark(*map(max, mark, self._mark))

    async def save(self, changes: Sequence[RecordChange]) -> None:
        for change in changes:
            self._save(change)

    def _save(self, change: RecordChange) -> None:
        record = self.table.records.get(change.key)
        standing = self._removed.get(change.key) if record is None else record.revision
        if standing is not None and standing >= change.revision:
            return
        self.keep_definitions(change.definitions)
        self.append_events(change.events)
        self._removed.pop(change.key, None)
        if change.removed:
            self._remove(change)
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

    def _remove(self, change: RecordChange) -> None:
        self.table.drop(change.key)
        self._removed[change.key] = change.revision
        if len(self._removed) > _REMEMBERED_REMOVALS:
            self._removed.popitem(last=False)
