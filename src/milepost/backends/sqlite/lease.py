"""Who may have a SQLite file open: one process alone, or several together.

The lease is a lock on a small database beside the file, held by SQLite's own file locks:
the operating system lets it go when the process dies, however it dies.
"""

from __future__ import annotations

import sqlite3

from milepost.errors import StoreLeased

__all__ = ["FileLease"]


class FileLease:
    """A lease on a file.

    Args:
        path: the database file; the lease lies beside it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def take(self, *, exclusive: bool) -> None:
        """Take the lease, alone or together with others. Blocks for a moment at most.

        Raises:
            StoreLeased: when another process's hold excludes this one.
        """
        connection = sqlite3.connect(f"{self._path}-lease", timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = DELETE")
            if exclusive:
                connection.execute("BEGIN EXCLUSIVE")
            else:
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except sqlite3.OperationalError as error:
            connection.close()
            raise StoreLeased(
                f"{self._path} is in use elsewhere"
                + (', and write="behind" needs it alone' if exclusive else ' that has it alone (write="behind")')
            ) from error
        self._connection = connection

    def release(self) -> None:
        """Let go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
