"""Opening a SQLite file: whose it is, how it is set up, and milepost's tables in it. All of it blocks."""

from __future__ import annotations

import math
import sqlite3
import time
from importlib.resources import files
from pathlib import Path
from typing import Final

from milepost.errors import StoreUnavailable

__all__ = ["IN_MEMORY", "connect", "look_whose_it_is", "make_tables"]

IN_MEMORY: Final = ":memory:"

_SCHEMA: Final = files("milepost.backends.sqlite").joinpath("schema.sql").read_text("utf-8")
_VERSION: Final = 1
_APPLICATION_ID: Final = 0x6D6C7074  # "mlpt"
_PAUSE: Final = 0.01


def look_whose_it_is(path: str, timeout: float) -> None:
    """Look at a file before anything in it is changed.

    Args:
        path: the file; it need not exist yet, its folder must.
        timeout: for how many seconds to wait for another process's transaction.

    Raises:
        StoreUnavailable: when it is somebody else's, or a newer milepost's.
        sqlite3.Error: when it cannot be read, or is no database.
    """
    if path == IN_MEMORY:
        return
    folder = Path(path).parent
    if not folder.is_dir():
        raise StoreUnavailable(f"SQLite at {path}: the folder {folder} does not exist")
    connection = sqlite3.connect(path, timeout=timeout)
    try:
        connection.execute("BEGIN")  # another process may be making the tables: see all of that or nothing
        ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master")
        ((application,),) = connection.execute("PRAGMA application_id")
        ((version,),) = connection.execute("PRAGMA user_version")
    finally:
        connection.close()
    if tables and application != _APPLICATION_ID:
        raise StoreUnavailable(f"{path} is a database, but not one of milepost's")
    if version > _VERSION:
        raise StoreUnavailable(f"{path} was written by a newer milepost (layout {version}, known: {_VERSION})")


def connect(path: str, synchronous: str, timeout: float) -> sqlite3.Connection:
    """Return a connection that leaves transactions to its user.

    Args:
        path: the file, or ``":memory:"``.
        synchronous: SQLite's setting.
        timeout: for how many seconds to wait for another process's transaction.

    Raises:
        sqlite3.Error: when that cannot be.
    """
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    try:
        _use_wal(connection, timeout)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Switch to the WAL journal; SQLite does not wait by itself for others that do the same."""
    for left in range(math.ceil(timeout / _PAUSE), -1, -1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or not left:
                raise
        time.sleep(_PAUSE)


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables that are not there yet.

    Raises:
        sqlite3.Error: when that cannot be.
    """
    connection.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_VERSION};"
        f"{_SCHEMA}"
        "INSERT OR IGNORE INTO meta (name, value) VALUES ('epoch', 1); COMMIT;"
    )
