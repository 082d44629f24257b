"""A process that does one thing after the other to a file, and kills itself at a chosen point of a transaction.

Its arguments are the path and the point: ``statement 17`` is just before the 17th statement on the connection
that writes, ``instruction 900`` just before the 900th instruction of SQLite's own machine there, ``reply 3`` when the
store has answered the 3rd batch of commits and nobody was told. It writes a line when an operation was acknowledged,
and one that says where it was killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Sequence

from milepost import CountTracker, ResetPolicy, SQLiteDataStore, TrackingManager
from milepost.records import Commit, Outcome
from milepost.testing import ManualClock

OPERATIONS: tuple[Callable[[TrackingManager], Awaitable[object]], ...] = (
    lambda m: m.add_trackers("g", [CountTracker("own", [1, 3, 9]), CountTracker("more", 2)], expire=60),
    lambda m: m.track("g", {}, event_id="1"),
    lambda m: m.track_many([("g", {}), ("h", {}), ("i", {}), ("g", {})]),
    lambda m: m.track("h", {}, event_id="2"),
    lambda m: m.update_tracker("g", CountTracker("more", [2, 3, 4])),
    lambda m: m.reset_tracker("g", "own", ResetPolicy.ALL),
    lambda m: m.remove_tracker("g", "more"),
    lambda m: m.track_many([("g", {}), ("h", {})]),
    lambda m: m.add_tracker("j", CountTracker("own", 1)),
    lambda m: m.remove_tracker("j"),
    lambda m: m.track("i", {}),
    lambda m: m.flush(confirm=True),
    lambda m: m.track("g", {}, event_id="1"),
)
"""Every kind of commit, one or several in a transaction; the last ones when everything was deleted."""


class DoomedStore(SQLiteDataStore):
    """A store that ends its process at a point."""

    def __init__(self, path: str, point: str, number: int) -> None:
        super().__init__(path, synchronous="NORMAL")
        self._point = point
        self._left = number

    def _pass(self, where: str) -> None:
        self._left -= 1
        if not self._left:
            print(f"killed at {where}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    async def arm(self) -> None:
        """Begin to count."""
        await self._client.write(self._watch)

    def _watch(self, connection: sqlite3.Connection) -> None:
        if self._point == "statement":
            connection.set_trace_callback(lambda statement: self._pass(statement[:60]))
        elif self._point == "instruction":
            connection.set_progress_handler(lambda: self._pass("an instruction"), 1)

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        outcomes = await super().commit(commits)
        if self._point == "reply":
            self._pass("a reply")
        return outcomes


def manager_of(store: SQLiteDataStore) -> TrackingManager:
    """Return the manager that the operations are for."""
    manager = TrackingManager(data_store=store, clock=ManualClock())
    manager.declare("*", CountTracker("all", [1, 2, 3, 1000]))
    return manager


async def main(path: str, point: str, number: int) -> None:
    """Do the operations."""
    store = DoomedStore(path, point, number)
    async with manager_of(store) as manager:
        await store.arm()
        for operation in OPERATIONS:
            await operation(manager)
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
