"""SQLite, write="through", synchronous=FULL, 100 callers at once, beside raw rows in transactions of 100.

The floor writes rows as large as milepost's to a table with the same key, in the same folder, without asyncio
and without an engine: the rows are text already, and nobody waits for any one of them.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from importlib.util import find_spec
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


def _groups(effort: Effort) -> list[str]:
    return [f"user:{n:06}" for n in range(max(_CALLERS, effort.size(_GROUPS)))]


async def _seconds(path: Path, groups: list[str], calls: int) -> float:
    """Return how long the calls took; each caller goes through groups of its own."""
    from milepost import SQLiteDataStore

    store = SQLiteDataStore(path, synchronous="FULL")
    async with TrackingManager(data_store=store, write="through") as manager:
        manager.declare(
            "user:*",
            CountTracker(
                name="logins", target=_NEVER, conditions=[KeyValueEQ(key="event_type", value="login")]
            ),
        )
        await manager.track_many((group, _EVENT) for group in groups)

        async def caller(first: int) -> None:
            own = groups[first::_CALLERS]
            for n in range(calls // _CALLERS):
                await manager.track(own[n % len(own)], _EVENT)

        began = perf_counter()
        await asyncio.gather(*(caller(n) for n in range(_CALLERS)))
        return perf_counter() - began


def _check(path: Path, groups: list[str], calls: int) -> int:
    """Read with a manager of its own what the file holds; return how large a row is."""

    async def total() -> int:
        from milepost import SQLiteDataStore

        async with TrackingManager(data_store=SQLiteDataStore(path)) as manager:
            found = [await manager.get_tracker(group, "logins") for group in groups]
            return sum(int(tracker.progress) for tracker in found if tracker is not None)

    counted = asyncio.run(total())
    expected = len(groups) + calls // _CALLERS * _CALLERS
    assert counted == expected, f"{counted} counted of {expected}"
    connection = sqlite3.connect(path)
    try:
        ((size,),) = connection.execute("SELECT max(length(body)) FROM rows")
        return int(size)
    finally:
        connection.close()


def _floor_seconds(path: Path, groups: list[str], calls: int, size: int) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE rows (key TEXT, name TEXT, body TEXT, PRIMARY KEY (key, name)) WITHOUT ROWID")
        body = json.dumps("x" * (size - 2))
        put = "INSERT INTO rows VALUES (?, 'logins', ?) ON CONFLICT (key, name) DO UPDATE SET body = excluded.body"
        connection.execute("BEGIN")
        connection.executemany(put, [(group, body) for group in groups])
        connection.execute("COMMIT")
        lines = [
            [(groups[(start + n) % len(groups)], body) for n in range(_CALLERS)]
            for start in range(0, calls // _CALLERS * _CALLERS, _CALLERS)
        ]
        began = perf_counter()
        for line in lines:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(put, line)
            connection.execute("COMMIT")
        return perf_counter() - began
    finally:
        connection.close()


def _measure(effort: Effort) -> list[Figure]:
    if find_spec("aiosqlite") is None:
        return []
    groups = _groups(effort)
    calls = max(_CALLERS, effort.size(_CALLS))
    ours: list[float] = []
    floor: list[float] = []
    for _ in range(max(1, effort.repeats // 2)):
        with TemporaryDirectory(prefix="milepost-benchmark-") as folder:
            path = Path(folder, "track.db")
            ours.append(calls // _CALLERS * _CALLERS / asyncio.run(_seconds(path, groups, calls)))
            size = _check(path, groups, calls)
            floor.append(calls // _CALLERS * _CALLERS / _floor_seconds(Path(folder, "floor.db"), groups, calls, size))
    return [
        Figure("raw rows, 100 a transaction", "rows/s", median(ours), median(floor), Target("at least", 0.265)),
        Figure("the same, in all", "rows/s", median(ours), target=Target("at least", 30_000, of="value")),
    ]


ROW: Final = Row("sqlite-through", 'SQLite, write="through", synchronous=FULL, 100 callers', _measure)
