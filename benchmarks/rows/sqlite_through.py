"""SQLite, write="through", synchronous=FULL, 100 callers at once, beside raw rows in transactions of 100.

Two floors, on the same disk, in turns with milepost, without asyncio, without an engine, in transactions of 100:
what a call has to leave in the file (the record with its revision, and the tracker's row; the same columns, values as
large), and for comparison the least that SQLite can be asked for, one bare row of that size a call.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

from benchmarks.figures import Figure, Row, Target
from benchmarks.measuring import Effort
from milepost import CountTracker, KeyValueEQ, TrackingManager

__all__ = ["ROW"]

_NEVER: Final = 10**12
_CALLERS: Final = 100
_GROUPS: Final = 1_000
_CALLS: Final = 30_000
_EVENT: Final = {"event_type": "login", "user_id": 17}

_TABLES: Final = """
CREATE TABLE records (
    key TEXT PRIMARY KEY, incarnation INTEGER, counter INTEGER, serial INTEGER, deadline REAL, id BLOB
) WITHOUT ROWID;
CREATE TABLE rows (
    key TEXT, name TEXT, counter INTEGER, body TEXT, PRIMARY KEY (key, name)
) WITHOUT ROWID;
"""
_PUT_RECORD: Final = (
    "INSERT INTO records VALUES (?, 1700000000000000, ?, 1, NULL, randomblob(16)) "
    "ON CONFLICT (key) DO UPDATE SET counter = excluded.counter, id = excluded.id"
)
_PUT_ROW: Final = (
    "INSERT INTO rows VALUES (?, 'logins', ?, ?) "
    "ON CONFLICT (key, name) DO UPDATE SET counter = excluded.counter, body = excluded.body"
)


async def _milepost(path: Path, groups: list[str], calls: int) -> float:
    """Return how many calls a second 100 callers made; each goes through groups of its own."""
    from milepost import SQLiteDataStore

    store = SQLiteDataStore(path, synchronous="FULL")
    async with TrackingManager(data_store=store, write="through") as manager:
        manager.declare(
            "user:*",
            CountTracker(name="logins", target=_NEVER, conditions=[KeyValueEQ(key="event_type", value="login")]),
        )
        await manager.track_many((group, _EVENT) for group in groups)

        async def caller(first: int) -> None:
            own = groups[first::_CALLERS]
            for n in range(calls // _CALLERS):
                await manager.track(own[n % len(own)], _EVENT)

        began = perf_counter()
        await asyncio.gather(*(caller(n) for n in range(_CALLERS)))
        return calls / (perf_counter() - began)


async def _counted(path: Path, groups: list[str]) -> int:
    """Return what the file holds, read by a manager of its own."""
    from milepost import SQLiteDataStore

    async with TrackingManager(data_store=SQLiteDataStore(path)) as manager:
        found = [await manager.get_tracker(group, "logins") for group in groups]
        return sum(int(tracker.progress) for tracker in found if tracker is not None)


def _size_of_a_row(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        ((size,),) = connection.execute("SELECT max(length(body)) FROM rows")
        return int(size)
    finally:
        connection.close()


Write = Callable[[sqlite3.Connection, list[str], int], object]


def _floor(path: Path, groups: list[str], calls: int, write: Write) -> float:
    """Return how many calls' worth of rows a second SQLite takes, 100 a transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_TABLES)
        write(connection, groups, 0)
        lines = [[groups[(start + n) % len(groups)] for n in range(_CALLERS)] for start in range(0, calls, _CALLERS)]
        began = perf_counter()
        for counter, line in enumerate(lines, 1):
            connection.execute("BEGIN IMMEDIATE")
            write(connection, line, counter)
            connection.execute("COMMIT")
        return calls / (perf_counter() - began)
    finally:
        connection.close()


def _measure(effort: Effort) -> list[Figure]:
    groups = [f"user:{n:06}" for n in range(max(_CALLERS, effort.size(_GROUPS)))]
    calls = max(1, effort.size(_CALLS) // _CALLERS) * _CALLERS
    body = ""

    def record_and_row(connection: sqlite3.Connection, keys: list[str], counter: int) -> None:
        connection.executemany(_PUT_RECORD, [(key, counter) for key in keys])
        connection.executemany(_PUT_ROW, [(key, counter, body) for key in keys])

    def bare_row(connection: sqlite3.Connection, keys: list[str], counter: int) -> None:
        connection.executemany(_PUT_ROW, [(key, counter, body) for key in keys])

    ours: list[float] = []
    same: list[float] = []
    bare: list[float] = []
    for _ in range(effort.repeats):
        with TemporaryDirectory(prefix="milepost-benchmark-") as folder:
            path = Path(folder, "track.db")
            ours.append(asyncio.run(_milepost(path, groups, calls)))
            counted, expected = asyncio.run(_counted(path, groups)), len(groups) + calls
            assert counted == expected, f"{counted} counted of {expected}"
            body = "x" * _size_of_a_row(path)
            same.append(_floor(Path(folder, "same.db"), groups, calls, record_and_row))
            bare.append(_floor(Path(folder, "bare.db"), groups, calls, bare_row))
    absolute = Target("at least", 30_000, of="value")
    return [
        Figure("record and row, raw, 100 a commit", "calls/s", median(ours), median(same), absolute),
        Figure("one bare row, raw, 100 a commit", "calls/s", median(ours), median(bare)),
    ]


ROW: Final = Row("sqlite-through", 'SQLite, write="through", synchronous=FULL, 100 callers', _measure)
