"""Following a cache: what it has changed, never an older revision over a newer one. All of it blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from milepost.backends.sqlite import reading, writing
from milepost.backends.sqlite.outbox import Outbox
from milepost.records import RecordChange, Revision

__all__ = ["save"]

_REMEMBERED: Final = 100_000


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
