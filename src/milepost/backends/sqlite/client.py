"""Work on one SQLite file: a thread that writes, a thread that reads, and what their errors mean.

A transaction is one piece of plain, blocking code that runs in its connection's thread from its
first statement to its last. So it costs one hop between threads, and it runs whole: a caller
who is cancelled withdraws what has not begun, and waits for the end of what has.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from milepost.backends.sqlite.opening import IN_MEMORY, connect, look_whose_it_is, make_tables
from milepost.errors import RecordTooLarge, StoreUnavailable

__all__ = ["SQLiteClient"]

T = TypeVar("T")


class SQLiteClient:
    """One file, opened twice: writes queue behind one connection, reads do not wait for them.

    Args:
        path: the file, or ``":memory:"``.
        synchronous: SQLite's setting; ``"FULL"`` loses nothing when the power fails.
        timeout: for how many seconds to wait for another process's transaction.
    """

    def __init__(self, path: str, synchronous: str, timeout: float) -> None:
        self._path = path
        self._synchronous = synchronous
        self._timeout = timeout
        self._writer: _Worker | None = None
        self._reader: _Worker | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self._writer is not None

    async def open(self) -> None:
        """Connect and make the tables.

        Raises:
            StoreUnavailable: when the file cannot be opened, is no database, or is not milepost's.
        """
        self._writer = self._reader = _Worker(self._connect_and_prepare)
        try:
            await self._translated(self._writer.open())
            if self._path != IN_MEMORY:
                self._reader = _Worker(self._connect)
                await self._translated(self._reader.open())
        except BaseException:
            await self.aclose()
            raise

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path, self._synchronous, self._timeout)

    def _connect_and_prepare(self) -> sqlite3.Connection:
        look_whose_it_is(self._path, self._timeout)
        connection = self._connect()
        try:
            make_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    async def aclose(self) -> None:
        """Disconnect, when what is on its way has ended."""
        writer, reader = self._writer, self._reader
        self._writer = self._reader = None
        if writer is not None:
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, _close, reader, writer))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a write transaction: committed at the end, rolled back when anything raises.

        Raises:
            StoreUnavailable: when SQLite refuses; nothing was changed.
            RecordTooLarge: when a value is larger than SQLite can keep; nothing was changed.
        """
        return await self._translated(self._opened(self._writer).transact("BEGIN IMMEDIATE", work))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read transaction: everything in it is read as of one moment.

        Raises:
            StoreUnavailable: when SQLite refuses.
        """
        return await self._translated(self._opened(self._reader).transact("BEGIN", work))

    def _opened(self, worker: _Worker | None) -> _Worker:
        if worker is None:
            raise StoreUnavailable(f"SQLite at {self._path} is not open")
        return worker

    async def _translated(self, work: Future[T]) -> T:
        try:
            return await _ended(work)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_TOOBIG:
                raise RecordTooLarge(f"SQLite at {self._path} keeps no value of that size: {error}") from error
            raise StoreUnavailable(f"SQLite at {self._path}: {error}") from error


async def _ended(work: Future[T]) -> T:
    """Return what a thread returns. Where the caller is cancelled, nothing goes on behind its back."""
    ended = asyncio.wrap_future(work)
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        if not work.cancel():
            await asyncio.wait([ended])
            _ = ended.exception()
        raise


def _close(reader: _Worker | None, writer: _Worker) -> None:
    """Close the writer last: the last connection moves the journal into the file, and two at once move nothing."""
    if reader is not None and reader is not writer:
        reader.close()
    writer.close()


class _Worker:
    """A thread, and the connection that lives in it.

    Args:
        connect: makes the connection.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._thread = ThreadPoolExecutor(1, "milepost-sqlite")
        self._connection: sqlite3.Connection | None = None

    def open(self) -> Future[None]:
        """Connect."""
        return self._thread.submit(self._open)

    def _open(self) -> None:
        self._connection = self._connect()

    def transact(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Run a transaction that begins with a statement, after those that are waiting already."""
        return self._thread.submit(self._transact, begin, work)

    def _transact(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        if connection is None:
            raise sqlite3.ProgrammingError("not connected")
        connection.execute(begin)
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def close(self) -> None:
        """Disconnect when everything before has ended, and end the thread. It blocks for that long."""
        closing = self._thread.submit(self._close)
        self._thread.shutdown()
        closing.result()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
