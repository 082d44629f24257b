"""Connections to one SQLite file: a writer, a reader, their settings and their errors."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any, Final, TypeVar

import anyio.to_thread

from milepost.errors import MissingExtra, StoreUnavailable

try:
    import aiosqlite
except ModuleNotFoundError as error:
    if error.name != "aiosqlite":
        raise
    raise MissingExtra("sqlite", "aiosqlite") from None

__all__ = ["SQLiteClient"]

T = TypeVar("T")

_SCHEMA: Final = files("milepost.backends.sqlite").joinpath("schema.sql").read_text("utf-8")
_VERSION: Final = 1
_APPLICATION_ID: Final = 0x6D6C7074  # "mlpt"


class SQLiteClient:
    """One file, opened twice: writes queue behind one connection, reads do not wait for them.

    Args:
        path: the file, or ``":memory:"``.
        synchronous: SQLite's setting; ``"FULL"`` loses nothing when the power fails.
        timeout: for how many seconds to wait for another process's transaction.
    """

    def __init__(self, path: str, synchronous: str, timeout: float) -> None:
        self.path = path
        self._synchronous = synchronous
        self._timeout = timeout
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._working: set[asyncio.Task[Any]] = set()
        self._writing = asyncio.Lock()
        self._reading = asyncio.Lock()

    def fresh(self) -> SQLiteClient:
        """Return a client with the same settings that was never opened."""
        return SQLiteClient(self.path, self._synchronous, self._timeout)

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self._writer is not None

    async def open(self) -> None:
        """Connect and make the tables.

        Raises:
            StoreUnavailable: when the file cannot be opened, is no database, or is not milepost's.
        """
        try:
            await anyio.to_thread.run_sync(self._probe)
            self._writer = await self._connect()
            await self._prepare(self._writer)
            self._reader = self._writer if self.path == ":memory:" else await self._connect()
            if self._reader is self._writer:
                self._reading = self._writing
        except sqlite3.Error as error:
            await self.aclose()
            raise self._unavailable(error) from error
        except BaseException:
            await self.aclose()
            raise

    async def _connect(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self.path, timeout=self._timeout, isolation_level=None)
        try:
            await self._use_wal(connection)
            await connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _use_wal(self, connection: aiosqlite.Connection) -> None:
        """Switch to the WAL journal; SQLite does not wait by itself for others that do the same."""
        until = asyncio.get_running_loop().time() + self._timeout
        while True:
            try:
                await connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or asyncio.get_running_loop().time() > until:
                    raise
            await asyncio.sleep(0.01)

    def _probe(self) -> None:
        """Look whose file it is before anything in it is changed."""
        if self.path == ":memory:":
            return
        connection = sqlite3.connect(self.path, timeout=self._timeout)
        try:
            connection.execute("BEGIN")  # another process may be making the tables: see all of that or nothing
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
            ((application,),) = connection.execute("PRAGMA application_id").fetchall()
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
            ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        finally:
            connection.close()
        if tables and application != _APPLICATION_ID:
            raise StoreUnavailable(f"{self.path} is a database, but not one of milepost's")
        if version > _VERSION:
            raise StoreUnavailable(f"{self.path} was written by a newer milepost (layout {version}, known: {_VERSION})")

    @staticmethod
    async def _prepare(connection: aiosqlite.Connection) -> None:
        await connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_VERSION};"
            f"{_SCHEMA}"
            "INSERT OR IGNORE INTO meta (name, value) VALUES ('epoch', 1); COMMIT;"
        )

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Run transactions to their end, also where the caller is cancelled meanwhile.

        A statement goes on in its thread whoever waits for it, so a cancelled caller must
        not let go of the connection before the transaction has ended; it waits for that, and
        then is cancelled.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            raise

    async def aclose(self) -> None:
        """Disconnect, when what is on its way has ended."""
        if self._working:
            await asyncio.wait(self._working)
        writer, reader = self._writer, self._reader
        self._writer = self._reader = None
        for connection in {id(item): item for item in (reader, writer) if item is not None}.values():
            await connection.close()

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"SQLite at {self.path}: {error}")

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[aiosqlite.Connection, None]:
        """A write transaction: committed at the end, rolled back when anything raises.

        Raises:
            StoreUnavailable: when SQLite refuses; nothing was changed.
        """
        async with self._writing:
            connection = self._opened(self._writer)
            try:
                await connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    await connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        await connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[aiosqlite.Connection, None]:
        """A read transaction: everything in it is read as of one moment.

        Raises:
            StoreUnavailable: when SQLite refuses.
        """
        async with self._reading:
            connection = self._opened(self._reader)
            try:
                await connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    await connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    async def fetch(self, sql: str, parameters: Iterable[Any] = ()) -> Sequence[tuple[Any, ...]]:
        """Read with one statement.

        Raises:
            StoreUnavailable: when SQLite refuses.
        """
        async with self._reading:
            try:
                rows: Any = await self._opened(self._reader).execute_fetchall(sql, parameters)
            except sqlite3.Error as error:
                raise self._unavailable(error) from error
            return list(rows)

    def _opened(self, connection: aiosqlite.Connection | None) -> aiosqlite.Connection:
        if connection is None:
            raise StoreUnavailable(f"SQLite at {self.path} is not open")
        return connection
