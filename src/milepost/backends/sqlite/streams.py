"""The outbox as a stream of the bus: publishing into it, reading it, delaying, and trimming. All of it blocks."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from milepost._partitions import partition_of
from milepost.backends.sqlite.reading import select_among
from milepost.errors import OutboxFull

__all__ = [
    "Published",
    "Read",
    "append",
    "cancel_delayed",
    "chain_of",
    "delay",
    "delayed",
    "find",
    "flush",
    "last_position",
    "next_due",
    "page_after",
    "publish",
    "read",
    "refuse_if_full",
    "release",
    "trim",
]

_log = logging.getLogger("milepost")

_PAGE: Final = 500
_LAPSES_BY: Final = 10
"""One that lapses gives up a tenth of its largest lag at once, so that it does not lapse with every event."""
_PAGES: Final = 20
"""How many pages one read goes through at most, where nearly nothing in them is wanted."""


class Published(NamedTuple):
    """An event as the tables take it."""

    id: str
    type: str
    key: str
    root: str
    body: str


class Read(NamedTuple):
    """What was read, as (partition, position, text), and how far each partition has been read."""

    entries: list[tuple[int, int, str]]
    reached: dict[int, int]


def publish(connection: sqlite3.Connection, events: Sequence[Published], now: float, size: int) -> list[bool]:
    """Append events; return for each whether it is new.

    Args:
        connection: within a write transaction.
        events: the events, in order.
        now: when, epoch seconds.
        size: how many events are kept.

    Raises:
        OutboxFull: when a consumer that refuses to lapse is too far behind.
    """
    refuse_if_full(connection, len(events))
    new = append(connection, events, now)
    trim(connection, size)
    return new


def append(connection: sqlite3.Connection, events: Sequence[Published], now: float) -> list[bool]:
    """Append events whose ids were not published; return for each whether it is new."""
    known = {id for (id,) in select_among(connection, "SELECT id FROM published WHERE id", [one.id for one in events])}
    new: list[bool] = []
    for event in events:
        new.append(event.id not in known)
        known.add(event.id)
    placed = list(
        enumerate((one for one, is_new in zip(events, new, strict=True) if is_new), last_position(connection) + 1)
    )
    connection.executemany(
        "INSERT INTO outbox (position, id, type, key, at, body) VALUES (?, ?, ?, ?, ?, ?)",
        [(position, one.id, one.type, one.key, now, one.body) for position, one in placed],
    )
    connection.executemany(
        "INSERT INTO published (id, position, root) VALUES (?, ?, ?)",
        [(one.id, position, one.root) for position, one in placed],
    )
    return new


def refuse_if_full(connection: sqlite3.Connection, more: int) -> None:
    """Raise where events are not to be appended.

    Raises:
        OutboxFull: when a consumer that refuses to lapse is too far behind.
    """
    rows = connection.execute(
        "SELECT name, max_lag, min(position) FROM consumers JOIN shares ON consumer = name "
        "WHERE on_lag = 'refuse' AND max_lag IS NOT NULL GROUP BY name"
    )
    for name, most, slowest in rows.fetchall():
        lag = last_position(connection) - slowest
        if lag + more > most:
            raise OutboxFull(
                f"the durable consumer {name!r} is {lag} events behind, and {most} are kept for it; nothing was changed"
            )


def trim(connection: sqlite3.Connection, size: int) -> None:
    """Forget what is beyond the size and behind the slowest consumer; one too far behind lapses, loudly."""
    last = last_position(connection)
    oldest = connection.execute("SELECT min(position) FROM outbox").fetchone()[0]
    if oldest is None or last - oldest < size:
        return
    rows = connection.execute(
        "SELECT name, max_lag, min(position) FROM consumers JOIN shares ON consumer = name "
        "WHERE on_lag = 'lapse' AND max_lag IS NOT NULL GROUP BY name HAVING min(position) < ? - max_lag",
        (last,),
    )
    for name, most, slowest in rows.fetchall():
        lost = last - most - slowest + most // _LAPSES_BY
        _log.error("the durable consumer %r was too far behind and lost up to %d events", name, lost)
        connection.execute("UPDATE consumers SET lapsed = lapsed + ? WHERE name = ?", (lost, name))
        connection.execute("UPDATE shares SET position = max(position, ?) WHERE consumer = ?", (slowest + lost, name))
    slowest = connection.execute("SELECT min(position) FROM shares").fetchone()[0]
    behind = last - size if slowest is None else min(last - size, slowest)
    connection.execute("DELETE FROM outbox WHERE position <= ?", (behind,))
    connection.execute("DELETE FROM published WHERE position <= ?", (behind,))


def last_position(connection: sqlite3.Connection) -> int:
    """Return the highest position that was ever given."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    return 0 if row is None else int(row[0])


def read(connection: sqlite3.Connection, positions: Mapping[int, int], partitions: int, limit: int) -> Read:
    """Read what follows positions.

    Args:
        connection: within a transaction.
        positions: where each partition is read from.
        partitions: how many there are.
        limit: how many events to read.
    """
    entries: list[tuple[int, int, str]] = []
    at = min(positions.values(), default=0)
    for _ in range(_PAGES):
        page = page_after(connection, at, min(_PAGE, max(limit, 16)))
        for position, _, key, body in page:
            at = position
            partition = partition_of(key, partitions)
            if position > positions.get(partition, position):
                entries.append((partition, position, body))
                if len(entries) >= limit:
                    break
        if not page or len(entries) >= limit:
            break
    return Read(entries, {partition: max(at, start) for partition, start in positions.items()})


def page_after(connection: sqlite3.Connection, after: int, limit: int = _PAGE) -> list[tuple[int, str, str, str]]:
    """Return events after a position: (position, type, key, text)."""
    return connection.execute(
        "SELECT position, type, key, body FROM outbox WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
    ).fetchall()


def find(connection: sqlite3.Connection, id: str) -> str | None:
    """Return an event's text."""
    row = connection.execute(
        "SELECT body FROM outbox WHERE position = (SELECT position FROM published WHERE id = ?)", (id,)
    ).fetchone()
    if row is None:  # tracking published it, which files it under no id
        row = connection.execute("SELECT body FROM outbox WHERE id = ? ORDER BY position LIMIT 1", (id,)).fetchone()
    return None if row is None else str(row[0])


def chain_of(connection: sqlite3.Connection, root: str) -> Iterator[str]:
    """Yield the texts of a chain's events, the first one first."""
    first = find(connection, root)
    if first is not None:
        yield first
    rows = connection.execute(
        "SELECT body FROM published JOIN outbox USING (position) WHERE root = ? AND published.id <> ? "
        "ORDER BY position",
        (root, root),
    )
    for (body,) in rows:
        yield body


def delay(connection: sqlite3.Connection, id: str, due: float, body: str) -> None:
    """Keep an event until it is due."""
    connection.execute("INSERT OR REPLACE INTO delayed (id, due, body) VALUES (?, ?, ?)", (id, due, body))


def cancel_delayed(connection: sqlite3.Connection, id: str) -> bool:
    """Forget a delayed event; return whether it was there."""
    return connection.execute("DELETE FROM delayed WHERE id = ?", (id,)).rowcount > 0


def delayed(connection: sqlite3.Connection, limit: int, until: float | None = None) -> list[tuple[str, float, str]]:
    """Return delayed events, the earliest first: (id, due, text)."""
    return connection.execute(
        "SELECT id, due, body FROM delayed WHERE due <= coalesce(?, due) ORDER BY due, id LIMIT ?", (until, limit)
    ).fetchall()


def release(connection: sqlite3.Connection, events: Sequence[Published], now: float, size: int) -> list[bool]:
    """Move delayed events into the stream; return for each whether that was done, here and now."""
    still = [cancel_delayed(connection, event.id) for event in events]
    new = iter(publish(connection, [event for event, there in zip(events, still, strict=True) if there], now, size))
    return [there and next(new) for there in still]


def next_due(connection: sqlite3.Connection) -> float | None:
    """Return when the next delayed event is due."""
    due: float | None = connection.execute("SELECT min(due) FROM delayed").fetchone()[0]
    return due


def flush(connection: sqlite3.Connection) -> None:
    """Forget every event; consumers stay known."""
    for table in ("outbox", "published", "delayed", "failed"):
        connection.execute(f"DELETE FROM {table}")
