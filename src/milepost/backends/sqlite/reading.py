"""Reading: where records stand, what they hold, and what else is in the file. All of it blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from milepost.records import LoadedRecord, RecordState, Revision

__all__ = [
    "COMMIT_ID",
    "Standing",
    "due",
    "holds_rows",
    "keys_after",
    "last_gone",
    "load",
    "next_deadline",
    "read_definitions",
    "read_epoch",
    "read_gone",
    "read_record",
    "read_standings",
    "select_among",
]

COMMIT_ID: Final = 16
"""How many bytes a commit's id has."""

_PAGE: Final = 512


class Standing:
    """Where a record stands, as a transaction found it."""

    __slots__ = ("_commits", "deadline", "revision", "serial", "shrunk")

    def __init__(self, row: Sequence[Any]) -> None:
        _, incarnation, counter, self.serial, self.shrunk, self.deadline, self._commits = row
        self.revision = Revision(incarnation, counter)

    def commit_ids(self) -> list[bytes]:
        """Return the ids of the last commits, the newest first."""
        return [self._commits[start : start + COMMIT_ID] for start in range(0, len(self._commits), COMMIT_ID)]


def select_among(connection: sqlite3.Connection, select: str, values: Sequence[Any]) -> list[Any]:
    """Return what a SELECT finds whose last words ``IN (…)`` are still missing, for any number of values.

    The number of marks is a power of two, so that few statements have to be compiled; the
    last value fills up. (A JSON list would be one mark, but ends at the first NUL in a text.)
    """
    found: list[Any] = []
    for start in range(0, len(values), _PAGE):
        page = values[start : start + _PAGE]
        size = 1 << (len(page) - 1).bit_length()
        marks = ",".join("?" * size)
        found += connection.execute(f"{select} IN ({marks})", [*page, *[page[-1]] * (size - len(page))])
    return found


def read_epoch(connection: sqlite3.Connection) -> int:
    """Return the present epoch."""
    ((epoch,),) = connection.execute("SELECT value FROM meta WHERE name = 'epoch'")
    return int(epoch)


def read_standings(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, Standing]:
    """Return where records stand; those that do not exist are absent."""
    select = "SELECT key, incarnation, counter, serial, shrunk, deadline, commits FROM records WHERE key"
    return {row[0]: Standing(row) for row in select_among(connection, select, keys)}


def last_gone(connection: sqlite3.Connection) -> int:
    """Return the highest incarnation of the removals that are remembered; 0 where there is none."""
    ((incarnation,),) = connection.execute("SELECT coalesce(max(incarnation), 0) FROM gone")
    return int(incarnation)


def read_gone(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, Revision]:
    """Return where records stood that a cache removed; those of which nothing is remembered are absent."""
    rows = select_among(connection, "SELECT key, incarnation, counter FROM gone WHERE key", keys)
    return {key: Revision(incarnation, counter) for key, incarnation, counter in rows}


def read_record(connection: sqlite3.Connection, key: str, standing: Standing | None, since: int = -1) -> LoadedRecord:
    """Return a record, or only the rows that changed after a counter."""
    if standing is None:
        return LoadedRecord(RecordState(None), {})
    rows = connection.execute("SELECT name, body FROM rows WHERE key = ? AND counter > ?", (key, since))
    seen = connection.execute("SELECT id FROM seen WHERE key = ? ORDER BY n", (key,))
    return LoadedRecord(
        RecordState(standing.revision, standing.serial, standing.deadline),
        dict(rows),
        tuple(id for (id,) in seen),
        whole=since < 0,
    )


def load(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, LoadedRecord]:
    """Return records; those that do not exist are absent."""
    standings = read_standings(connection, keys)
    return {key: read_record(connection, key, standing) for key, standing in standings.items()}


def read_definitions(connection: sqlite3.Connection, hashes: Sequence[str]) -> dict[str, str]:
    """Return definitions, text by hash; unknown hashes are absent."""
    return dict(select_among(connection, "SELECT hash, body FROM definitions WHERE hash", hashes))


def holds_rows(connection: sqlite3.Connection, key: str) -> bool:
    """Whether a record holds rows."""
    return bool(connection.execute("SELECT 1 FROM rows WHERE key = ? LIMIT 1", (key,)).fetchall())


def keys_after(connection: sqlite3.Connection, key: str) -> list[str]:
    """Return the next keys, in order, of records that hold rows; none where there are no more."""
    rows = connection.execute(
        "SELECT key FROM records WHERE key > ? AND EXISTS (SELECT 1 FROM rows WHERE rows.key = records.key) "
        "ORDER BY key LIMIT ?",
        (key, _PAGE),
    )
    return [key for (key,) in rows]


def due(connection: sqlite3.Connection, now: float, limit: int) -> list[str]:
    """Return keys of records whose deadline is not after ``now``, the earliest first."""
    rows = connection.execute("SELECT key FROM records WHERE deadline <= ? ORDER BY deadline LIMIT ?", (now, limit))
    return [key for (key,) in rows]


def next_deadline(connection: sqlite3.Connection) -> float | None:
    """Return the earliest deadline of all."""
    ((deadline,),) = connection.execute("SELECT min(deadline) FROM records WHERE deadline IS NOT NULL")
    return None if deadline is None else float(deadline)
