"""Writing: what accepted commits and followed caches leave in the file. All of it blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from milepost.backends.sqlite.deciding import Decision
from milepost.backends.sqlite.outbox import Outbox
from milepost.backends.sqlite.reading import COMMIT_ID, Standing, read_epoch
from milepost.records import Commit

__all__ = ["PUT_RECORD", "PUT_ROW", "flush", "put_definitions", "write_commits"]

_COMMITS_OF_A_RECORD: Final = 16
_REMEMBERED_REMOVALS: Final = 10_000

PUT_RECORD: Final = (
    "INSERT INTO records (key, incarnation, counter, serial, shrunk, deadline, commits) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (key) DO UPDATE SET incarnation = excluded.incarnation, counter = excluded.counter, "
    "serial = excluded.serial, shrunk = max(shrunk * (incarnation = excluded.incarnation), excluded.shrunk), "
    "deadline = excluded.deadline, commits = "
    f"coalesce(substr(CAST(excluded.commits || commits AS BLOB), 1, {COMMIT_ID * _COMMITS_OF_A_RECORD}), x'')"
)
PUT_ROW: Final = (
    "INSERT INTO rows (key, name, counter, body) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (key, name) DO UPDATE SET counter = excluded.counter, body = excluded.body"
)


def write_commits(connection: sqlite3.Connection, decision: Decision, window: int, outbox: Outbox) -> None:
    """Write what was accepted.

    Args:
        connection: in the transaction in which it was decided.
        decision: what was accepted, and onto what.
        window: how many event ids a record remembers.
        outbox: takes the events.
    """
    commits = decision.accepted
    gone = [commit for commit in commits if commit.removes]
    if gone:
        _remove(connection, gone, decision.standings)
    _put(connection, [(commit, _next_counter(commit)) for commit in commits if not commit.removes])
    _remember(connection, [(commit.key, commit.seen) for commit in commits if commit.seen], window)
    outbox.append(connection, [event for commit in commits for event in commit.events])


def _next_counter(commit: Commit) -> int:
    base = commit.base
    return 1 if base is None or base.incarnation != commit.incarnation else base.counter + 1


def _remove(connection: sqlite3.Connection, commits: Sequence[Commit], standings: Mapping[str, Standing]) -> None:
    """Delete records, and keep the ids of their commits apart, as many as there is room for."""
    for table in ("records", "rows", "seen"):
        connection.executemany(f"DELETE FROM {table} WHERE key = ?", [(commit.key,) for commit in commits])
    ids = [id for commit in commits for id in (commit.id, *standings[commit.key].commit_ids()) if id]
    connection.executemany("INSERT OR IGNORE INTO removals (id) VALUES (?)", [(id,) for id in ids])
    connection.execute("DELETE FROM removals WHERE n <= (SELECT max(n) FROM removals) - ?", (_REMEMBERED_REMOVALS,))


def _put(connection: sqlite3.Connection, commits: Sequence[tuple[Commit, int]]) -> None:
    """Write records and rows, each under the counter that its record has now."""
    connection.executemany(
        PUT_RECORD,
        [
            (c.key, c.incarnation, counter, c.serial, counter if c.drops else 0, c.deadline, c.id)
            for c, counter in commits
        ],
    )
    connection.executemany(
        PUT_ROW, [(c.key, name, counter, row.encoded()) for c, counter in commits for name, row in c.puts.items()]
    )
    drops = [(c.key, name) for c, _ in commits for name in c.drops]
    if drops:
        connection.executemany("DELETE FROM rows WHERE key = ? AND name = ?", drops)


def _remember(connection: sqlite3.Connection, seen: Sequence[tuple[str, Sequence[bytes]]], window: int) -> None:
    """Remember event ids, and forget those beyond the window."""
    connection.executemany(
        "INSERT INTO seen (key, n, id) VALUES (?, (SELECT coalesce(max(n), 0) + 1 FROM seen WHERE key = ?), ?)",
        [(key, key, id) for key, ids in seen for id in ids],
    )
    connection.executemany(
        "DELETE FROM seen WHERE key = ? AND n <= (SELECT max(n) FROM seen WHERE key = ?) - ?",
        [(key, key, window) for key, _ in seen],
    )


def put_definitions(connection: sqlite3.Connection, definitions: Mapping[str, str]) -> None:
    """Keep definitions; known ones stay as they are."""
    connection.executemany("INSERT OR IGNORE INTO definitions (hash, body) VALUES (?, ?)", definitions.items())


def flush(connection: sqlite3.Connection) -> int:
    """Delete everything, and return the epoch that begins."""
    for table in ("records", "rows", "seen", "definitions", "removals", "gone", "outbox", "published"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
    return read_epoch(connection)
