"""A store in a SQLite file, which several processes may share."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import anyio.to_thread

from milepost._clock import Clock, SystemClock
from milepost._patterns import has_wildcard, pattern_to_regex
from milepost.backends.checks import check_seconds
from milepost.backends.sqlite import finding, following, reading, writing
from milepost.backends.sqlite.client import SQLiteClient
from milepost.backends.sqlite.deciding import Decider
from milepost.backends.sqlite.lease import FileLease
from milepost.backends.sqlite.opening import IN_MEMORY
from milepost.backends.sqlite.outbox import Outbox
from milepost.data_stores.base import BaseDataStore, RecordChange, RelayedOutbox
from milepost.errors import InvalidDefinition, RecordTooLarge, StoreLeased
from milepost.lookups import RowIndex, RowIs
from milepost.records import CacheMark, Commit, LoadedRecord, Outcome, Standing, TooLarge

__all__ = ["SQLiteDataStore"]

_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")


class SQLiteDataStore(BaseDataStore, RowIndex, RelayedOutbox):
    """Keeps records in a SQLite file (WAL journal).

    With ``write="through"`` several processes may share the file: a commit's base revision is
    compared, and the commit applied, in one transaction. With ``write="behind"`` one process
    has it alone.

    Args:
        path: the file; made where it does not exist. ``":memory:"`` lasts as long as it is open.
        synchronous: ``"FULL"`` survives a power failure; with ``"NORMAL"`` the last commits may be
            lost to one, but not to a crash of the process.
        timeout: for how many seconds to wait for another process's transaction.
        outbox_size: how many events to keep for reading back.
        outbox_age: for how many seconds to keep events for reading back; None for however long. Older ones
            make room when the next event is committed.

    Raises:
        InvalidDefinition: when a setting is wrong.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: str = "FULL",
        timeout: float = 30.0,
        outbox_size: int = 100_000,
        outbox_age: float | None = None,
    ) -> None:
        if not isinstance(path, str | os.PathLike) or not str(path):
            raise InvalidDefinition(f"path must be the path of a file, got {path!r}")
        if synchronous not in _SYNCHRONOUS:
            raise InvalidDefinition(f"synchronous must be one of {', '.join(_SYNCHRONOUS)}, got {synchronous!r}")
        if isinstance(outbox_size, bool) or not isinstance(outbox_size, int) or outbox_size < 0:
            raise InvalidDefinition(f"outbox_size must be a whole number of at least 0, got {outbox_size!r}")
        if outbox_age is not None:
            check_seconds("outbox_age", outbox_age)
        check_seconds("timeout", timeout)
        self.path = os.fspath(path)
        self._client = SQLiteClient(self.path, synchronous, timeout)
        self._lease = FileLease(self.path)
        self._outbox_size = outbox_size
        self._outbox_age = outbox_age
        self._begin(SystemClock(), 256)

    def __repr__(self) -> str:
        return f"SQLiteDataStore({self.path!r})"

    @property
    def keeps_events(self) -> bool:
        """Whether events are written to the outbox."""
        return self._outbox_size > 0

    async def open(self, clock: Clock, window: int) -> None:
        if self._client.is_open:
            raise StoreLeased(f"{self!r} is open in another manager; give each manager a store object of its own")
        self._begin(clock, window)
        await self._client.open()

    def _begin(self, clock: Clock, window: int) -> None:
        self._window = window
        self._decider = Decider()
        self._outbox = Outbox(self._outbox_size, self._outbox_age, clock)

    async def aclose(self) -> None:
        await self._client.aclose()
        await anyio.to_thread.run_sync(self._lease.release)

    async def lease(self, *, exclusive: bool) -> None:
        if self.path != IN_MEMORY:
            await anyio.to_thread.run_sync(lambda: self._lease.take(exclusive=exclusive))

    # --- reading -----------------------------------------------------------------------

    async def load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        return await self._client.read(lambda connection: reading.load(connection, keys))

    async def definitions(self, hashes: Iterable[str]) -> dict[str, str]:
        wanted = list(hashes)
        return await self._client.read(lambda connection: reading.read_definitions(connection, wanted))

    async def epoch(self) -> int:
        return await self._client.read(reading.read_epoch)

    async def keys(self, pattern: str = "*") -> AsyncIterator[str]:
        if not has_wildcard(pattern):
            if await self._client.read(lambda connection: reading.holds_rows(connection, pattern)):
                yield pattern
            return
        matches = pattern_to_regex(pattern).fullmatch
        last = ""
        while page := await self._client.read(partial(reading.keys_after, key=last)):
            for key in page:
                if matches(key):
                    yield key
            last = page[-1]

    async def find(self, prefix: str, conditions: Sequence[RowIs]) -> AsyncIterator[str]:
        last = ""
        while page := await self._client.read(
            partial(finding.find_after, prefix=prefix, conditions=conditions, after=last)
        ):
            for key in page:
                yield key
            last = page[-1]

    async def last_removed(self) -> int:
        return await self._client.read(reading.last_gone)

    async def due(self, now: float, limit: int = 1000) -> list[str]:
        return await self._client.read(lambda connection: reading.due(connection, now, limit))

    async def next_deadline(self) -> float | None:
        return await self._client.read(reading.next_deadline)

    async def outbox(self, after: int = 0, limit: int = 1000) -> list[tuple[int, str]]:
        return await self._client.read(lambda connection: self._outbox.read(connection, after, limit))

    async def begin_relay(self) -> None:
        await self._client.write(self._outbox.begin_relay)

    async def unmoved(self, limit: int) -> list[tuple[int, str]]:
        return await self._client.read(lambda connection: self._outbox.unmoved(connection, limit))

    async def moved(self, position: int) -> None:
        await self._client.write(lambda connection: self._outbox.moved(connection, position))

    # --- deciding ----------------------------------------------------------------------

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        if all(commit.changes_nothing for commit in commits):
            return await self._client.read(lambda connection: self._decider.decide(connection, commits).outcomes)
        try:
            return await self._client.write(lambda connection: self._decide_and_write(connection, commits))
        except RecordTooLarge as error:
            if len(commits) == 1:
                return [TooLarge(str(error))]
        return [outcome for commit in commits for outcome in await self.commit([commit])]  # one must not hold up all

    def _decide_and_write(self, connection: sqlite3.Connection, commits: Sequence[Commit]) -> list[Outcome]:
        decision = self._decider.decide(connection, commits)
        if decision.accepted:
            writing.write_commits(connection, decision, self._window, self._outbox)
        return decision.outcomes

    async def put_definitions(self, definitions: Mapping[str, str]) -> None:
        await self._client.write(lambda connection: writing.put_definitions(connection, definitions))

    async def flush(self) -> int:
        return await self._client.write(writing.flush)

    # --- following a cache -------------------------------------------------------------

    async def standings(self, keys: Sequence[str]) -> dict[str, Standing]:
        return await self._client.read(lambda connection: following.standings(connection, keys))

    async def cache_mark(self) -> CacheMark | None:
        return await self._client.read(following.read_mark)

    async def mark_cache(self, mark: CacheMark) -> None:
        await self._client.write(lambda connection: following.raise_mark(connection, mark))

    async def save(self, changes: Sequence[RecordChange]) -> None:
        await self._client.write(lambda connection: following.save(connection, changes, self._outbox))
