"""Records in this process's memory: the authority behind the memory cache and the memory store."""

from __future__ import annotations

import heapq
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from milepost._clock import Clock, SystemClock
from milepost._patterns import pattern_to_regex
from milepost.records import (
    Commit,
    Committed,
    Conflict,
    Duplicate,
    ImmediateAuthority,
    LoadedRecord,
    NeedDefinitions,
    OutboxEvent,
    Outcome,
    Record,
    RecordState,
    StaleEpoch,
)
from milepost.replicas import Replicas

__all__ = ["MemoryRecords"]

_COMMITTED: Final = Committed()
_REMEMBERED_COMMITS: Final = 65_536


class MemoryRecords(ImmediateAuthority):
    """An authority whose records live in a table of this process.

    Args:
        limit: how many records to keep where others hold them too; None for no bound.
        outbox_size: how many events to keep.
    """

    def __init__(self, *, limit: int | None = None, outbox_size: int = 10_000) -> None:
        self.table = Replicas(limit)
        self._clock: Clock = SystemClock()
        self._window = 256
        self._epoch = secrets.randbits(31) + 1
        self._last_incarnation = 0
        self._definitions: dict[str, str] = {}
        self._commits: OrderedDict[bytes, None] = OrderedDict()
        self._outbox: deque[tuple[int, str]] = deque(maxlen=outbox_size)
        self._position = 0
        self._deadlines: list[tuple[float, str]] = []

    async def open(self, clock: Clock, window: int) -> None:
        self._clock = clock
        self._window = window

    async def aclose(self) -> None:
        """Nothing to disconnect from; the records stay for who opens it again."""

    def new_incarnation(self) -> int:
        """Return a number above all earlier ones, across restarts too: microseconds of the clock."""
        self._last_incarnation = max(self._last_incarnation + 1, int(self._clock.time() * 1_000_000))
        return self._last_incarnation

    def peek(self, key: str) -> Record | None:
        record = self.table.get(key)
        return Record(key, self.new_incarnation()) if record is None else record

    def begin(self, record: Record, rows: dict[str, Any], definitions: Mapping[str, str]) -> None:
        record.rows = rows
        record.counter = 1
        record.serial = len(rows)
        self.keep_definitions(definitions)
        self.table.hold(record)
        if self.followed:
            self.moved(record, tuple(rows.values()))

    def commit_now(self, commit: Commit, onto: Record | None = None) -> Outcome:
        if commit.epoch != self._epoch:
            return StaleEpoch(self._epoch)
        record = self.table.records.get(commit.key)
        revision = record.revision if record is not None else None
        if commit.id and (revision != commit.base or revision is None) and commit.id in self._commits:
            return _COMMITTED  # it was sent before, and the reply was lost
        if revision != commit.base:
            return Conflict(self._loaded(record))
        if commit.changes_nothing:
            return _COMMITTED
        if record is not None and record.seen and commit.seen:
            known = frozenset(id for id in commit.seen if id in record.seen)
            if known:
                return Duplicate(known)
        missing = frozenset(hash for hash in commit.definitions if hash not in self._definitions)
        if missing:
            return NeedDefinitions(missing)
        if record is None:
            record = Record(commit.key, commit.incarnation) if onto is None else onto
            self.table.hold(record)
        self._apply(record, commit)
        return _COMMITTED

    def _apply(self, record: Record, commit: Commit) -> None:
        record.apply(commit, self._window)
        self._last_incarnation = max(self._last_incarnation, commit.incarnation)
        if commit.removes:
            self.forget(record)
        else:
            self.note_deadline(record, commit.deadline)
        self.append_events(commit.events)
        if commit.id:
            self._commits[commit.id] = None
            if len(self._commits) > _REMEMBERED_COMMITS:
                self._commits.popitem(last=False)
        self.changed(record, commit)

    def note_deadline(self, record: Record, deadline: float | None) -> None:
        """File a record under the moment at which its next row expires."""
        record.deadline = deadline
        if deadline is not None:
            heapq.heappush(self._deadlines, (deadline, record.key))

    def append_events(self, events: Sequence[OutboxEvent]) -> None:
        """Append to the outbox; the oldest make room."""
        for event in events:
            self._position += 1
            self._outbox.append((self._position, event.encoded()))

    def forget(self, record: Record) -> None:
        """Let a record go that holds nothing any more; its next incarnation is a higher one."""
        record.incarnation = self.new_incarnation()
        self.table.drop(record.key)

    def changed(self, record: Record, commit: Commit) -> None:
        """Note a change; for a cache that a store follows."""

    def _loaded(self, record: Record | None) -> LoadedRecord:
        if record is None or record.revision is None:
            return LoadedRecord(RecordState(None), {})
        state = RecordState(record.revision, record.serial, record.deadline)
        return LoadedRecord(state, dict(record.rows), tuple(record.seen or ()))

    async def load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        found = ((key, self.table.records.get(key)) for key in keys)
        return {key: self._loaded(record) for key, record in found if record is not None and record.counter}

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        return [self.commit_now(commit) for commit in commits]

    async def definitions(self, hashes: Iterable[str]) -> dict[str, str]:
        return {hash: self._definitions[hash] for hash in hashes if hash in self._definitions}

    async def put_definitions(self, definitions: Mapping[str, str]) -> None:
        self.keep_definitions(definitions)

    def keep_definitions(self, definitions: Mapping[str, str]) -> None:
        """Keep definitions; known ones stay as they are."""
        for hash, text in definitions.items():
            self._definitions.setdefault(hash, text)

    async def epoch(self) -> int:
        return self._epoch

    @property
    def epoch_now(self) -> int:
        """The present epoch."""
        return self._epoch

    async def flush(self) -> int:
        for record in self.table.records.values():
            record.counter = 0
            record.rows = {}
            record.plan = record.quick = None
        self.table.clear()
        self._definitions.clear()
        self._commits.clear()
        self._outbox.clear()
        self._deadlines.clear()
        self._epoch += 1
        return self._epoch

    async def keys(self, pattern: str = "*") -> AsyncIterator[str]:
        matches = pattern_to_regex(pattern).fullmatch
        for key, record in list(self.table.records.items()):
            if record.rows and matches(key):
                yield key

    async def due(self, now: float, limit: int = 1000) -> list[str]:
        due: dict[str, float] = {}
        while self._deadlines and self._deadlines[0][0] <= now and len(due) < limit:
            _, key = heapq.heappop(self._deadlines)
            record = self.table.records.get(key)
            if record is not None and record.deadline is not None:
                if record.deadline <= now:
                    due[key] = record.deadline
                else:
                    heapq.heappush(self._deadlines, (record.deadline, key))
        for key, deadline in due.items():  # they stay until a commit has dropped what expires
            heapq.heappush(self._deadlines, (deadline, key))
        return list(due)

    async def next_deadline(self) -> float | None:
        while self._deadlines:
            moment, key = self._deadlines[0]
            record = self.table.records.get(key)
            if record is not None and record.deadline == moment:
                return moment
            heapq.heappop(self._deadlines)
            if record is not None and record.deadline is not None:
                heapq.heappush(self._deadlines, (record.deadline, key))
        return None

    async def outbox(self, after: int = 0, limit: int = 1000) -> list[tuple[int, str]]:
        return [entry for entry in self._outbox if entry[0] > after][:limit]
