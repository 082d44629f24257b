"""Durable consumers in SQLite: shares and their leases, and jobs that failed. All of it blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from milepost.backends.failed import FailedRow
from milepost.backends.sqlite.streams import last_position

__all__ = [
    "acknowledge",
    "ask_retry",
    "beat",
    "claim",
    "declare",
    "failed",
    "forget",
    "has_retries",
    "keep_retries",
    "lags",
    "lapsed",
    "leave",
    "put_failed",
    "release_shares",
    "remove_failed",
    "take_retries",
]


def declare(
    connection: sqlite3.Connection, name: str, partitions: int, at_end: bool, max_lag: int | None, on_lag: str
) -> None:
    """Make a consumer known; one that is known keeps its positions."""
    connection.execute(
        "INSERT INTO consumers (name, max_lag, on_lag) VALUES (?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET max_lag = excluded.max_lag, on_lag = excluded.on_lag",
        (name, max_lag, on_lag),
    )
    oldest = connection.execute("SELECT min(position) FROM outbox").fetchone()[0]
    start = last_position(connection) if at_end or oldest is None else oldest - 1
    connection.executemany(
        "INSERT OR IGNORE INTO shares (consumer, partition, position) VALUES (?, ?, ?)",
        [(name, partition, start) for partition in range(partitions)],
    )


def forget(connection: sqlite3.Connection, name: str) -> bool:
    """Let a consumer go; return whether it was known."""
    connection.execute("DELETE FROM shares WHERE consumer = ?", (name,))
    connection.execute("DELETE FROM members WHERE consumer = ?", (name,))
    return connection.execute("DELETE FROM consumers WHERE name = ?", (name,)).rowcount > 0


def beat(
    connection: sqlite3.Connection, name: str, owner: str, now: float, ttl: float, held: Mapping[int, int]
) -> tuple[int, set[int]]:
    """Renew leases; return how many processes there are, and which partitions were lost."""
    connection.execute("DELETE FROM members WHERE until <= ?", (now,))
    connection.execute("INSERT OR REPLACE INTO members (consumer, owner, until) VALUES (?, ?, ?)",
                       (name, owner, now + ttl))  # fmt: skip
    lost = {
        partition
        for partition, token in held.items()
        if not connection.execute(
            "UPDATE shares SET until = ? WHERE consumer = ? AND partition = ? AND token = ?",
            (now + ttl, name, partition, token),
        ).rowcount
    }
    members = connection.execute("SELECT count(*) FROM members WHERE consumer = ?", (name,)).fetchone()[0]
    return int(members), lost


def claim(
    connection: sqlite3.Connection, name: str, owner: str, now: float, ttl: float, most: int
) -> list[tuple[int, int, int]]:
    """Take shares that nobody holds: (partition, token, position)."""
    rows: list[tuple[int, int, int]] = connection.execute(
        "SELECT partition, token + 1, position FROM shares "
        "WHERE consumer = ? AND (owner IS NULL OR until <= ?) ORDER BY partition LIMIT ?",
        (name, now, most),
    ).fetchall()
    connection.executemany(
        "UPDATE shares SET owner = ?, until = ?, token = ? WHERE consumer = ? AND partition = ?",
        [(owner, now + ttl, token, name, partition) for partition, token, _ in rows],
    )
    return rows


def acknowledge(connection: sqlite3.Connection, name: str, done: Mapping[int, tuple[int, int]]) -> set[int]:
    """Move positions on; return the partitions that have another owner."""
    return {
        partition
        for partition, (token, position) in done.items()
        if not connection.execute(
            "UPDATE shares SET position = max(position, ?) WHERE consumer = ? AND partition = ? AND token = ?",
            (position, name, partition, token),
        ).rowcount
    }


def release_shares(connection: sqlite3.Connection, name: str, held: Mapping[int, int]) -> None:
    """Give shares up that are still held."""
    connection.executemany(
        "UPDATE shares SET owner = NULL WHERE consumer = ? AND partition = ? AND token = ?",
        [(name, partition, token) for partition, token in held.items()],
    )


def leave(connection: sqlite3.Connection, name: str, owner: str) -> None:
    """Say that a process works for a consumer no more."""
    connection.execute("DELETE FROM members WHERE consumer = ? AND owner = ?", (name, owner))


def lags(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how far each consumer is behind."""
    last = last_position(connection)
    rows = connection.execute("SELECT consumer, min(position) FROM shares GROUP BY consumer")
    return {name: last - slowest for name, slowest in rows}


def lapsed(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how much each consumer has lost."""
    return dict(connection.execute("SELECT name, lapsed FROM consumers").fetchall())


_FAILED = "SELECT id, handler, consumer, attempts, reason, traceback, at, body, state <> 'failed' FROM failed "


def put_failed(connection: sqlite3.Connection, row: FailedRow) -> None:
    """Keep a job that failed."""
    connection.execute(
        "INSERT OR REPLACE INTO failed (id, handler, consumer, attempts, reason, traceback, at, body, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'failed')",
        row[:-1],
    )


def failed(connection: sqlite3.Connection, id: str | None) -> list[FailedRow]:
    """Return the jobs that failed, or one of them."""
    rows = connection.execute(_FAILED + "WHERE id = coalesce(?, id) ORDER BY at, id", (id,))
    return [FailedRow(*row) for row in rows]


def ask_retry(connection: sqlite3.Connection, ids: Sequence[str]) -> int:
    """Mark jobs to be run again; return how many there were."""
    found = 0
    for id in ids:
        found += connection.execute(
            "UPDATE failed SET state = CASE state WHEN 'failed' THEN 'asked' ELSE state END WHERE id = ?", (id,)
        ).rowcount
    return found


def has_retries(connection: sqlite3.Connection) -> bool:
    """Whether any job is marked, or being run again."""
    return connection.execute("SELECT 1 FROM failed WHERE state <> 'failed' LIMIT 1").fetchone() is not None


def take_retries(connection: sqlite3.Connection, handlers: Sequence[str], now: float, ttl: float) -> list[FailedRow]:
    """Take marked jobs of these handlers, and those that were taken and not concluded in time."""
    wanted = set(handlers)
    rows = connection.execute(
        _FAILED + "WHERE state <> 'failed' AND (state = 'asked' OR until <= ?) ORDER BY at, id", (now,)
    )
    taken = [row for row in (FailedRow(*row) for row in rows.fetchall()) if row.handler in wanted]
    connection.executemany(
        "UPDATE failed SET state = 'taken', until = ? WHERE id = ?", [(now + ttl, row.id) for row in taken]
    )
    return taken


def keep_retries(connection: sqlite3.Connection, ids: Sequence[str], until: float) -> None:
    """Go on holding jobs that were taken."""
    connection.executemany("UPDATE failed SET until = ? WHERE id = ? AND state = 'taken'", [(until, id) for id in ids])


def remove_failed(connection: sqlite3.Connection, ids: Sequence[str]) -> int:
    """Remove jobs; return how many there were."""
    return sum(connection.execute("DELETE FROM failed WHERE id = ?", (id,)).rowcount for id in ids)
