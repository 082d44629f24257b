"""Following a cache: what it has changed, never an older revision over a newer one. All of it blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from milepost.backends.sqlite import reading, writing
from milepost.backends.sqlite.outbox import Outbox
from milepost.records import CacheMark, RecordChange, Revision, Standing

__all__ = ["raise_mark", "read_mark", "save", "standings"]

_REMEMBERED: Final = 100_000
_MARK: Final = ("cache_epoch", "cache_generation")


def save(connection: sqlite3.Connection, changes: Sequence[RecordChange], outbox: Outbox) -> None:
    """Write what a cache has changed; what is not newer than what is here, or was here, is left out.

    Args:
        connection: in a transaction.
        changes: at most one for each key.
        outbox: takes the events.
    """
    keys = [change.key for change in changes]
    standings = {key: standing.revision for key, standing in reading.read_standings(connection, keys).items()}
    gone = reading.read_gone(connection, keys)
    for change in changes:
        standing = standings.get(change.key) or gone.get(change.key)
        if standing is None or standing < change.revision:
            writing.put_definitions(connection, change.definitions)
            outbox.append(connection, change.events)
            _save(connection, change, standing)


def _save(connection: sqlite3.Connection, change: RecordChange, standing: Revision | None) -> None:
    key, (incarnation, counter) = change.key, change.revision
    if change.whole or change.removed or (standing is not None and standing.incarnation != incarnation):
        connection.execute("DELETE FROM rows WHERE key = ?", (key,))
    connection.execute("DELETE FROM seen WHERE key = ?", (key,))
    connection.execute("DELETE FROM gone WHERE key = ?", (key,))
    if change.removed:
        _remove(connection, key, change.revision)
        return
    shrunk = counter if change.drops or change.whole else 0
    record = (key, incarnation, counter, change.serial, shrunk, change.deadline, b"")
    connection.execute(writing.PUT_RECORD, record)
    rows = [(key, name, counter, row.encoded()) for name, row in change.puts.items()]
    connection.executemany(writing.PUT_ROW, rows)
    drops = [(key, name) for name in change.drops]
    connection.executemany("DELETE FROM rows WHERE key = ? AND name = ?", drops)
    seen = [(key, n, id) for n, id in enumerate(change.seen, 1)]
    connection.executemany("INSERT INTO seen (key, n, id) VALUES (?, ?, ?)", seen)


def _remove(connection: sqlite3.Connection, key: str, revision: Revision) -> None:
    """Delete a record, and remember for a while where it stood: changes to it may come late."""
    connection.execute("DELETE FROM records WHERE key = ?", (key,))
    connection.execute("INSERT INTO gone (key, incarnation, counter) VALUES (?, ?, ?)", (key, *revision))
    connection.execute("DELETE FROM gone WHERE n <= (SELECT max(n) FROM gone) - ?", (_REMEMBERED,))


def standings(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, Standing]:
    """Return where records stand, or stood when they were removed; others are absent."""
    gone = {key: Standing(revision, True) for key, revision in reading.read_gone(connection, keys).items()}
    there = reading.read_standings(connection, keys)
    return {**gone, **{key: Standing(found.revision, False) for key, found in there.items()}}


def read_mark(connection: sqlite3.Connection) -> CacheMark | None:
    """Return what is remembered of the cache that is followed."""
    found = dict(connection.execute("SELECT name, value FROM meta WHERE name IN (?, ?)", _MARK))
    return CacheMark(*(int(found[name]) for name in _MARK)) if len(found) == len(_MARK) else None


def raise_mark(connection: sqlite3.Connection, mark: CacheMark) -> None:
    """Remember what is known of the cache that is followed, where that is more than before."""
    connection.executemany(
        "INSERT INTO meta (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        zip(_MARK, mark, strict=True),
    )
