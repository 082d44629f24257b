"""A store in a SQLite file, which several processes may share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from milepost._clock import Clock
from milepost._patterns import has_wildcard, pattern_to_regex
from milepost.backends.sqlite.client import SQLiteClient
from milepost.backends.sqlite.lease import FileLease
from milepost.backends.sqlite.statements import (
    PUT_RECORD,
    PUT_ROW,
    Standing,
    among,
    read_epoch_and_standings,
    read_standings,
)
from milepost.data_stores.base import BaseDataStore, RecordChange
from milepost.errors import InvalidDefinition, StoreLeased, StoreUnavailable
from milepost.records import (
    Commit,
    Committed,
    Conflict,
    Duplicate,
    LoadedRecord,
    NeedDefinitions,
    OutboxEvent,
    Outcome,
    RecordState,
    StaleEpoch,
)

if TYPE_CHECKING:
    import aiosqlite

__all__ = ["SQLiteDataStore"]

_COMMITTED: Final = Committed()
_COMMITS_OF_A_RECORD: Final = 16
_REMEMBERED_REMOVALS: Final = 10_000
_TRIM_EVERY: Final = 1024
_PAGE: Final = 500
_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")


class SQLiteDataStore(BaseDataStore):
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
    ) -> None:
        if not isinstance(path, str | os.PathLike) or not str(path):
            raise InvalidDefinition(f"path must be the path of a file, got {path!r}")
        if synchronous not in _SYNCHRONOUS:
            raise InvalidDefinition(f"synchronous must be one of {', '.join(_SYNCHRONOUS)}, got {synchronous!r}")
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise InvalidDefinition(f"timeout must be a number of seconds greater than 0, got {timeout!r}")
        if isinstance(outbox_size, bool) or not isinstance(outbox_size, int) or outbox_size < 0:
            raise InvalidDefinition(f"outbox_size must be a whole number of at least 0, got {outbox_size!r}")
        self.path = os.fspath(path)
        self._client = SQLiteClient(self.path, synchronous, timeout)
        self._lease = FileLease(self.path)
        self._outbox_size = outbox_size
        self._window = 256
        self._known_definitions: set[str] = set()
        self._known_in_epoch = 0
        self._since_trim = 0

    def __repr__(self) -> str:
        return f"SQLiteDataStore({self.path!r})"

    async def open(self, clock: Clock, window: int) -> None:
        if self._client.is_open:
            raise StoreLeased(f"{self!r} is open in another manager; give each manager a store object of its own")
        self._window = window
        self._known_definitions.clear()
        self._client = await anyio.to_thread.run_sync(self._fresh_client)
        await self._client.open()

    def _fresh_client(self) -> SQLiteClient:
        parent = Path(self.path).parent
        if self.path != ":memory:" and not parent.is_dir():
            raise StoreUnavailable(f"SQLite at {self.path}: the folder {parent} does not exist")
        return self._client.fresh()

    async def aclose(self) -> None:
        await self._client.aclose()
        await anyio.to_thread.run_sync(self._lease.release)

    async def lease(self, *, exclusive: bool) -> None:
        if self.path != ":memory:":
            await anyio.to_thread.run_sync(lambda: self._lease.take(exclusive=exclusive))

    # --- reading -----------------------------------------------------------------------

    async def load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        return await self._client.whole(self._load(keys))

    async def _load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        found: dict[str, LoadedRecord] = {}
        async with self._client.snapshot() as connection:
            for start in range(0, len(keys), _PAGE):
                page = keys[start : start + _PAGE]
                for key, standing in (await read_standings(connection, page)).items():
                    found[key] = await self._read(connection, key, standing)
        return found

    async def _read(
        self, connection: aiosqlite.Connection, key: str, standing: Standing | None, since: int = -1
    ) -> LoadedRecord:
        """Read a record, or only the rows that changed after a counter."""
        if standing is None:
            return LoadedRecord(RecordState(None), {})
        rows = await connection.execute_fetchall(
            "SELECT name, body FROM rows WHERE key = ? AND counter > ?", (key, since)
        )
        seen = await connection.execute_fetchall("SELECT id FROM seen WHERE key = ? ORDER BY n", (key,))
        return LoadedRecord(
            RecordState(standing.revision, standing.serial, standing.deadline),
            dict(map(tuple, rows)),
            tuple(id for (id,) in seen),
            whole=since < 0,
        )

    async def definitions(self, hashes: Iterable[str]) -> dict[str, str]:
        wanted = list(hashes)
        found: dict[str, str] = {}
        for start in range(0, len(wanted), _PAGE):
            where, values = among(wanted[start : start + _PAGE])
            found.update(await self._client.fetch(f"SELECT hash, body FROM definitions WHERE hash {where}", values))
        return found

    async def epoch(self) -> int:
        ((epoch,),) = await self._client.fetch("SELECT value FROM meta WHERE name = 'epoch'")
        return int(epoch)

    async def keys(self, pattern: str = "*") -> AsyncIterator[str]:
        if not has_wildcard(pattern):
            if await self._client.fetch("SELECT 1 FROM rows WHERE key = ? LIMIT 1", (pattern,)):
                yield pattern
            return
        matches = pattern_to_regex(pattern).fullmatch
        last = ""
        while page := await self._client.fetch(
            "SELECT key FROM records WHERE key > ? AND EXISTS (SELECT 1 FROM rows WHERE rows.key = records.key) "
            "ORDER BY key LIMIT ?",
            (last, _PAGE),
        ):
            for (key,) in page:
                if matches(key):
                    yield key
            last = page[-1][0]

    async def due(self, now: float, limit: int = 1000) -> list[str]:
        rows = await self._client.fetch(
            "SELECT key FROM records WHERE deadline <= ? ORDER BY deadline LIMIT ?", (now, limit)
        )
        return [key for (key,) in rows]

    async def next_deadline(self) -> float | None:
        ((deadline,),) = await self._client.fetch("SELECT min(deadline) FROM records WHERE deadline IS NOT NULL")
        return None if deadline is None else float(deadline)

    async def outbox(self, after: int = 0, limit: int = 1000) -> list[tuple[int, str]]:
        rows = await self._client.fetch(
            "SELECT position, body FROM outbox WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
        )
        return [(position, body) for position, body in rows]

    # --- deciding ----------------------------------------------------------------------

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        return await self._client.whole(self._commit(commits))

    async def _commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        if all(commit.changes_nothing for commit in commits):
            async with self._client.snapshot() as connection:
                return await self._decide(connection, commits)
        async with self._client.transaction() as connection:
            return await self._decide(connection, commits)

    async def _decide(self, connection: aiosqlite.Connection, commits: Sequence[Commit]) -> list[Outcome]:
        epoch, standings = await read_epoch_and_standings(connection, [commit.key for commit in commits])
        replayed = await self._replayed(connection, commits, standings)
        missing = await self._missing_definitions(connection, epoch, commits)
        outcomes: list[Outcome] = []
        accepted: list[Commit] = []
        for commit in commits:
            standing = standings.get(commit.key)
            if (
                commit.epoch == epoch
                and commit.id
                and (commit.id in replayed or (standing is not None and standing.has_applied(commit)))
            ):
                outcomes.append(_COMMITTED)  # it was sent before, and the reply was lost
                continue
            outcome = await self._outcome(connection, commit, epoch, standing, missing)
            outcomes.append(outcome)
            if outcome is _COMMITTED and not commit.changes_nothing:
                accepted.append(commit)
        if accepted:
            await self._write(connection, accepted, standings)
        return outcomes

    async def _outcome(
        self,
        connection: aiosqlite.Connection,
        commit: Commit,
        epoch: int,
        standing: Standing | None,
        missing: frozenset[str],
    ) -> Outcome:
        if commit.epoch != epoch:
            return StaleEpoch(epoch)
        if not _stands(commit, standing):
            base = commit.base
            if standing is None or base is None or base.incarnation != standing.revision.incarnation:
                return Conflict(await self._read(connection, commit.key, standing))
            since = base.counter if standing.shrunk <= base.counter <= standing.revision.counter else -1
            return Conflict(await self._read(connection, commit.key, standing, since))
        if commit.seen:
            rows = await connection.execute_fetchall("SELECT id FROM seen WHERE key = ?", (commit.key,))
            known = frozenset(id for (id,) in rows).intersection(commit.seen)
            if known:
                return Duplicate(known)
        needed = missing.intersection(commit.definitions) if missing else missing
        return NeedDefinitions(needed) if needed else _COMMITTED

    @staticmethod
    async def _replayed(
        connection: aiosqlite.Connection, commits: Sequence[Commit], standings: Mapping[str, Standing]
    ) -> frozenset[bytes]:
        """Return which commits belong to records that were removed since: their ids are kept apart."""
        ids = [c.id for c in commits if c.id and (c.base is None or not _stands(c, standings.get(c.key)))]
        if not ids:
            return frozenset()
        where, values = among(ids)
        rows = await connection.execute_fetchall(f"SELECT id FROM removals WHERE id {where}", values)
        return frozenset(id for (id,) in rows)

    async def _missing_definitions(
        self, connection: aiosqlite.Connection, epoch: int, commits: Sequence[Commit]
    ) -> frozenset[str]:
        """Return which definitions are not stored; what was found is remembered for as long as the epoch lasts."""
        if epoch != self._known_in_epoch:
            self._known_definitions.clear()
            self._known_in_epoch = epoch
        named = {hash for commit in commits for hash in commit.definitions}
        unknown = named - self._known_definitions
        if not unknown:
            return frozenset()
        where, values = among(list(unknown))
        rows = await connection.execute_fetchall(f"SELECT hash FROM definitions WHERE hash {where}", values)
        stored = {hash for (hash,) in rows}
        self._known_definitions |= stored
        return frozenset(unknown - stored)

    async def _write(
        self, connection: aiosqlite.Connection, commits: Sequence[Commit], standings: Mapping[str, Standing]
    ) -> None:
        gone = [commit for commit in commits if commit.removes]
        kept = [(commit, _next_counter(commit)) for commit in commits if not commit.removes]
        if gone:
            for table in ("records", "rows", "seen"):
                statement = f"DELETE FROM {table} WHERE key = ?"
                await connection.executemany(statement, [(c.key,) for c in gone])
            ids = [id for c in gone for id in (c.id, *standings[c.key].commit_ids()) if id]
            await connection.executemany("INSERT OR IGNORE INTO removals (id) VALUES (?)", [(id,) for id in ids])
        if kept:
            await connection.executemany(
                PUT_RECORD,
                [
                    (c.key, c.incarnation, counter, c.serial, counter if c.drops else 0, c.deadline, c.id)
                    for c, counter in kept
                ],
            )
        rows = [(c.key, name, counter, row.encoded()) for c, counter in kept for name, row in c.puts.items()]
        if rows:
            await connection.executemany(PUT_ROW, rows)
        drops = [(c.key, name) for c, _ in kept for name in c.drops]
        if drops:
            await connection.executemany("DELETE FROM rows WHERE key = ? AND name = ?", drops)
        await self._remember(connection, [(c.key, c.seen) for c, _ in kept if c.seen])
        await self._append(connection, [(c.key, event) for c in commits for event in c.events])
        self._since_trim += len(commits)
        if self._since_trim >= _TRIM_EVERY:
            self._since_trim = 0
            await self._trim(connection)

    async def _remember(self, connection: aiosqlite.Connection, seen: Sequence[tuple[str, Sequence[bytes]]]) -> None:
        """Remember event ids, and forget those beyond the window."""
        ids = [(key, key, id) for key, new in seen for id in new]
        if not ids:
            return
        await connection.executemany(
            "INSERT INTO seen (key, n, id) VALUES (?, (SELECT coalesce(max(n), 0) + 1 FROM seen WHERE key = ?), ?)",
            ids,
        )
        await connection.executemany(
            "DELETE FROM seen WHERE key = ? AND n <= (SELECT max(n) FROM seen WHERE key = ?) - ?",
            [(key, key, self._window) for key, _ in seen],
        )

    async def _append(self, connection: aiosqlite.Connection, events: Sequence[tuple[str, OutboxEvent]]) -> None:
        if events and self._outbox_size:
            await connection.executemany(
                "INSERT INTO outbox (id, type, key, at, body) VALUES (?, ?, ?, ?, ?)",
                [(event.id, event.type, key, event.time.timestamp(), event.encoded()) for key, event in events],
            )

    async def _trim(self, connection: aiosqlite.Connection) -> None:
        """Forget old removals, and events beyond the size of the outbox."""
        await connection.execute(
            "DELETE FROM removals WHERE n <= (SELECT max(n) FROM removals) - ?", (_REMEMBERED_REMOVALS,)
        )
        await connection.execute(
            "DELETE FROM outbox WHERE position <= (SELECT max(position) FROM outbox) - ?", (self._outbox_size,)
        )

    async def put_definitions(self, definitions: Mapping[str, str]) -> None:
        await self._client.whole(self._put_definitions(definitions))

    async def _put_definitions(self, definitions: Mapping[str, str]) -> None:
        async with self._client.transaction() as connection:
            await _put_definitions(connection, definitions)

    async def flush(self) -> int:
        return await self._client.whole(self._flush())

    async def _flush(self) -> int:
        async with self._client.transaction() as connection:
            for table in ("records", "rows", "seen", "definitions", "removals", "outbox"):
                await connection.execute(f"DELETE FROM {table}")
            await connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
            ((epoch,),) = await connection.execute_fetchall("SELECT value FROM meta WHERE name = 'epoch'")
            return int(epoch)

    # --- following a cache -------------------------------------------------------------

    async def save(self, changes: Sequence[RecordChange]) -> None:
        await self._client.whole(self._save(changes))

    async def _save(self, changes: Sequence[RecordChange]) -> None:
        async with self._client.transaction() as connection:
            standings = await read_standings(connection, [change.key for change in changes])
            for change in changes:
                await self._save_one(connection, change, standings.get(change.key))

    async def _save_one(
        self, connection: aiosqlite.Connection, change: RecordChange, standing: Standing | None
    ) -> None:
        if standing is not None and standing.revision >= change.revision:
            return
        await _put_definitions(connection, change.definitions)
        await self._append(connection, [(change.key, event) for event in change.events])
        key, (incarnation, counter) = change.key, change.revision
        if change.whole or change.removed or (standing is not None and standing.revision.incarnation != incarnation):
            await connection.execute("DELETE FROM rows WHERE key = ?", (key,))
        await connection.execute("DELETE FROM seen WHERE key = ?", (key,))
        if change.removed:
            await connection.execute("DELETE FROM records WHERE key = ?", (key,))
            return
        shrunk = counter if change.drops or change.whole else 0
        await connection.execute(PUT_RECORD, (key, incarnation, counter, change.serial, shrunk, change.deadline, b""))
        await connection.executemany(
            PUT_ROW, [(key, name, counter, row.encoded()) for name, row in change.puts.items()]
        )
        await connection.executemany(
            "DELETE FROM rows WHERE key = ? AND name = ?", [(key, name) for name in change.drops]
        )
        await connection.executemany(
            "INSERT INTO seen (key, n, id) VALUES (?, ?, ?)",
            [(key, n, id) for n, id in enumerate(change.seen, 1)],
        )


def _stands(commit: Commit, standing: Standing | None) -> bool:
    return commit.base == (None if standing is None else standing.revision)


def _next_counter(commit: Commit) -> int:
    base = commit.base
    return 1 if base is None or base.incarnation != commit.incarnation else base.counter + 1


async def _put_definitions(connection: aiosqlite.Connection, definitions: Mapping[str, str]) -> None:
    if definitions:
        await connection.executemany(
            "INSERT OR IGNORE INTO definitions (hash, body) VALUES (?, ?)", list(definitions.items())
        )
