"""The outbox: events in commit order, until they are too many or too old, and durable consumers
have passed them. All of it blocks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from milepost._clock import Clock
from milepost.backends.sqlite import consumers, streams
from milepost.events.codes import EVENT_ALL
from milepost.records import OutboxEvent

__all__ = ["Outbox"]

_RELAY: Final = "$relay"
_MOST_UNMOVED: Final = 1_000_000
"""How many events are kept for a stream elsewhere; beyond that it lapses, loudly."""


class Outbox:
    """The outbox of one file. The old make room when new ones come.

    Args:
        size: how many events are kept.
        age: for how many seconds they are kept; None for however long.
        clock: what their age goes by: when they were appended, not when what they tell of happened.
    """

    def __init__(self, size: int, age: float | None, clock: Clock) -> None:
        self._size = size
        self._age = age
        self._clock = clock

    def append(self, connection: sqlite3.Connection, events: Sequence[OutboxEvent]) -> None:
        """Append events; what is no tracker's, unless it was published: a handler that is run again emits it again.

        Raises:
            OutboxFull: when a durable consumer that refuses to lapse is too far behind.
        """
        if not events or not self._size:
            return
        streams.refuse_if_full(connection, len(events))
        now = self._clock.time()
        if all(event.type in EVENT_ALL for event in events):  # nobody publishes these again
            connection.executemany(
                "INSERT INTO outbox (id, type, key, at, body) VALUES (?, ?, ?, ?, ?)",
                [(event.id, event.type, event.subject or event.id, now, event.encoded()) for event in events],
            )
        else:
            published = [
                streams.Published(
                    event.id, event.type, event.subject or event.id, event.root or event.id, event.encoded()
                )
                for event in events
            ]
            streams.append(connection, published, now)
        streams.trim(connection, self._size)
        if self._age is not None:  # the new ones are young, so there is a first one that stays
            connection.execute(
                "DELETE FROM outbox WHERE position < "
                "(SELECT position FROM outbox WHERE at >= ? ORDER BY position LIMIT 1) "
                "AND position <= coalesce((SELECT min(position) FROM shares), position)",
                (now - self._age,),
            )
            connection.execute("DELETE FROM published WHERE position < (SELECT min(position) FROM outbox)")

    @staticmethod
    def read(connection: sqlite3.Connection, after: int, limit: int) -> list[tuple[int, str]]:
        """Return kept events after a position: (position, JSON text)."""
        rows = connection.execute(
            "SELECT position, body FROM outbox WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
        )
        return rows.fetchall()

    # The relay is a durable consumer like others, so that nothing is trimmed that it has not moved.

    @staticmethod
    def begin_relay(connection: sqlite3.Connection) -> None:
        """Keep events until they were moved, from now on; one that was begun before goes on where it is."""
        consumers.declare(connection, _RELAY, 1, True, _MOST_UNMOVED, "lapse")

    @staticmethod
    def unmoved(connection: sqlite3.Connection, limit: int) -> list[tuple[int, str]]:
        """Return the next events that were not moved: (position, JSON text)."""
        rows = connection.execute(
            "SELECT position, body FROM outbox WHERE position > (SELECT position FROM shares WHERE consumer = ?) "
            "ORDER BY position LIMIT ?",
            (_RELAY, limit),
        )
        return rows.fetchall()

    @staticmethod
    def moved(connection: sqlite3.Connection, position: int) -> None:
        """Note that events were moved up to a position."""
        connection.execute("UPDATE shares SET position = max(position, ?) WHERE consumer = ?", (position, _RELAY))
