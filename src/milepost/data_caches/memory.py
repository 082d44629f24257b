"""A cache in this process's memory: a replica of a store, or with write-behind the authority itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from milepost._clock import Clock
from milepost.backends.memory import MemoryRecords
from milepost.data_caches.base import LeadingCache, check_asked
from milepost.data_stores.base import BaseDataStore, RecordChange
from milepost.errors import BacklogFull, InvalidDefinition
from milepost.records import Commit, LoadedRecord, OutboxEvent, Outcome, Record, Revision, Row, Undecided

__all__ = ["MemoryDataCache"]

_UNTIL_FLUSHED: Final = 1.0
"""Seconds after which to look again at a deadline that only the store still has."""


@dataclass(slots=True)
class _Unsaved:
    """What the store has not seen of a record."""

    record: Record
    revision: Revision
    puts: set[str] = field(default_factory=set)
    drops: set[str] = field(default_factory=set)
    events: list[OutboxEvent] = field(default_factory=list)
    removed: bool = False
    whole: bool = False


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


class MemoryDataCache(MemoryRecords, LeadingCache):
    """Keeps groups in memory.

    Over a store that lasts it holds at most ``max_groups`` groups and lets clean ones go,
    the least recently used first.

    Args:
        max_groups: how many groups to hold; None for no bound.
        max_backlog: with write-behind, how many groups may be changed, and how many events appended, that the store
            has not seen; what goes beyond is refused with ``BacklogFull``.
        outbox_size: how many events to keep for reading back, where the cache is the authority.

    Raises:
        InvalidDefinition: when ``max_groups`` or ``max_backlog`` is no whole number of at least 1.
    """

    alone: ClassVar[bool] = True

    def __init__(
        self, *, max_groups: int | None = 100_000, max_backlog: int = 1_000_000, outbox_size: int = 10_000
    ) -> None:
        if max_groups is not None and not _is_positive(max_groups):
            raise InvalidDefinition(f"max_groups must be a whole number of at least 1, or None, got {max_groups!r}")
        if not _is_positive(max_backlog):
            raise InvalidDefinition(f"max_backlog must be a whole number of at least 1, got {max_backlog!r}")
        super().__init__(limit=max_groups, outbox_size=outbox_size)
        self.max_groups = max_groups
        self._store: BaseDataStore | None = None
        self._unsaved: dict[str, _Unsaved] = {}
        self._unsaved_events = 0
        self._most_unsaved = max_backlog

    async def open(self, clock: Clock, window: int) -> None:
        await super().open(clock, window)
        if self._store is not None:
            self._last_incarnation = max(self._last_incarnation, await self._store.last_removed())

    async def is_cached(self, group_id: str, name: str | None = None) -> bool:
        check_asked(group_id, name)
        record = self.table.records.get(group_id)
        if record is None:
            return False
        return bool(record.rows) if name is None else name in record.rows

    # --- as the authority in front of a store --------------------------------------------

    def lead(self, store: BaseDataStore) -> None:
        self._store = store
        self.followed = True
        self.max_backlog = self._most_unsaved
        self.table.is_clean = self._is_clean

    def _is_clean(self, record: Record) -> bool:
        return record.key not in self._unsaved

    @property
    def backlog(self) -> int:
        return len(self._unsaved)

    async def due(self, now: float, limit: int = 1000) -> list[str]:
        found = await super().due(now, limit)
        if self._store is not None and len(found) < limit:  # groups that are not in memory expire too
            found += [key for key in await self._store.due(now, limit) if not self._knows(key)]
        return found[:limit]

    async def next_deadline(self) -> float | None:
        here = await super().next_deadline()
        if self._store is None:
            return here
        there = await self._store.next_deadline()
        if there is None:
            return here
        now = self._clock.time()
        if there <= now:  # it belongs to a group of which the cache knows better: the next flush mends it
            there = now + _UNTIL_FLUSHED
        return there if here is None else min(here, there)

    async def keys(self, pattern: str = "*") -> AsyncIterator[str]:
        held = {key async for key in super().keys(pattern)}
        held_back = set(self._unsaved)  # the store may still show these as they were, while it is saved
        for key in held:
            yield key
        if self._store is not None:
            async for key in self._store.keys(pattern):
                if key not in held and key not in held_back and not self._knows(key):
                    yield key

    async def flush(self) -> int:
        self._unsaved.clear()
        self._unsaved_events = 0
        self._note_fullness()
        return await super().flush()

    def _knows(self, key: str) -> bool:
        """Whether the cache knows better than the store what a record is."""
        return key in self.table.records or key in self._unsaved

    def peek(self, key: str) -> Record | None:
        record = self.table.get(key)
        if record is None and self._store is None:
            return Record(key, self.new_incarnation())
        return record

    async def load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        found = await super().load(keys)
        if self._store is not None:
            unknown = [key for key in keys if key not in found and key not in self._unsaved]
            if unknown:
                found.update(await self._store.load(unknown))
        return found

    async def definitions(self, hashes: Iterable[str]) -> dict[str, str]:
        wanted = list(hashes)
        found = await super().definitions(wanted)
        missing = [hash for hash in wanted if hash not in found]
        if missing and self._store is not None:
            found.update(await self._store.definitions(missing))
        return found

    def commit_now(self, commit: Commit, onto: Record | None = None) -> Outcome:
        if self.full and not commit.changes_nothing and not self._has_room(commit):
            backlog = max(len(self._unsaved), self._unsaved_events)
            return Undecided(BacklogFull("this process", backlog, self._most_unsaved, self.trouble))
        return super().commit_now(commit, onto)

    def _has_room(self, commit: Commit) -> bool:
        if commit.key not in self._unsaved and len(self._unsaved) >= self._most_unsaved:
            return False
        return not commit.events or self._unsaved_events < self._most_unsaved

    def _note_fullness(self) -> None:
        self.full = max(len(self._unsaved), self._unsaved_events) >= self._most_unsaved

    def moved(self, record: Record, rows: Sequence[Row]) -> None:
        self._unsaved_of(record).puts.update(row.name for row in rows)

    def changed(self, record: Record, commit: Commit) -> None:
        if self._store is None:
            return
        unsaved = self._unsaved_of(record)
        if commit.removes:
            unsaved.removed, unsaved.whole = True, True
            unsaved.puts.clear()
            unsaved.drops.clear()
            unsaved.revision = Revision(commit.incarnation, (commit.base or unsaved.revision).counter + 1)
        elif unsaved.removed:
            unsaved.removed = False
        unsaved.puts.update(commit.puts)
        unsaved.puts.difference_update(commit.drops)
        unsaved.drops.update(commit.drops)
        unsaved.drops.difference_update(commit.puts)
        if commit.events:
            unsaved.events.extend(commit.events)
            self._unsaved_events += len(commit.events)
            self._note_fullness()

    def _unsaved_of(self, record: Record) -> _Unsaved:
        unsaved = self._unsaved.get(record.key)
        if unsaved is None:
            unsaved = self._unsaved[record.key] = _Unsaved(record, Revision(record.incarnation, record.counter))
            self._note_fullness()
        unsaved.record = record
        if record.counter:
            unsaved.revision = Revision(record.incarnation, record.counter)
        return unsaved

    async def measure(self) -> int:
        return len(self._unsaved)

    async def unsaved_keys(self) -> set[str]:
        return set(self._unsaved)

    async def unsaved(self, limit: int) -> list[RecordChange]:
        changes: list[RecordChange] = []
        for key in list(self._unsaved)[:limit]:
            unsaved = self._unsaved[key]
            record = unsaved.record
            rows = record.rows
            puts = dict(rows) if unsaved.whole else {name: rows[name] for name in unsaved.puts if name in rows}
            changes.append(
                RecordChange(
                    key=key,
                    revision=unsaved.revision,
                    serial=record.serial,
                    deadline=record.deadline,
                    puts=puts,
                    drops=tuple(unsaved.drops),
                    whole=unsaved.whole,
                    removed=unsaved.removed,
                    seen=tuple(record.seen or ()),
                    events=tuple(unsaved.events),
                    definitions=self._definitions_of(puts.values()),
                )
            )
        return changes

    def _definitions_of(self, rows: Iterable[Row]) -> dict[str, str]:
        hashes = {row.definition_hash for row in rows}
        return {hash: self._definitions[hash] for hash in hashes if hash in self._definitions}

    async def saved(self, changes: Sequence[RecordChange]) -> list[RecordChange]:
        for change in changes:
            unsaved = self._unsaved.get(change.key)
            if unsaved is None:
                continue
            self._unsaved_events -= len(change.events)
            if unsaved.revision == change.revision:
                del self._unsaved[change.key]
            else:
                del unsaved.events[: len(change.events)]
        self._note_fullness()
        self.table.shrink()
        return []

    async def not_saved(self, changes: Sequence[RecordChange]) -> None:
        """They stay unsaved."""
