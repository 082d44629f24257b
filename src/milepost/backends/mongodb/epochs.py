"""The epoch: a number that every document carries, and that a flush raises.

What makes commits and flushes atomic to each other although there is no transaction:

- A document counts only under the epoch that the ``state`` document names. Once a flush has
  raised that, everything older is out of sight, whether it is deleted yet or not.
- A commit is sent with the epoch that it was computed in, as a part of its guard, and the state
  is read once more AFTER its updates were acknowledged. Where the epoch is still the same, no flush
  began before the updates were made, so the commit came first. Where it is not, the commit is
  answered ``StaleEpoch``: what it may have written carries the old epoch, and nobody will see it.
- Nothing is sent with an epoch that the state never named: what would look as if it came from
  the future is refused before.

An epoch begins at the microseconds of a clock, so that a database which was dropped and begun
again has another one, and processes that worked on it notice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from milepost._clock import SystemClock
from milepost.backends.mongodb.client import MongoConnection, find_all
from milepost.backends.mongodb.documents import Document
from milepost.backends.mongodb.driver import DuplicateKeyError, ReturnDocument
from milepost.errors import StoreUnavailable

__all__ = ["Epochs"]

_STATE: Final = {"_id": "state"}
_LAYOUT: Final = 1
_PAGE: Final = 1000


class Epochs:
    """The present epoch, as far as this process has heard, and the flush that raises it.

    Args:
        connection: to the database.
    """

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        self.known = 0

    async def begin(self) -> None:
        """Make the state where there is none, and end a flush whose process died.

        Raises:
            StoreUnavailable: when a newer milepost has written here.
        """
        state = await self._connection.persist(self._state)
        if state["layout"] > _LAYOUT:
            raise StoreUnavailable(
                f"MongoDB at {self._connection.name} was written by a newer milepost "
                f"(layout {state['layout']}, known: {_LAYOUT})"
            )
        self.known = state["epoch"]
        if state.get("flushing"):
            await self._delete()

    async def _state(self) -> Document:
        meta = self._connection.meta
        found: Document | None = await meta.find_one(_STATE)
        while found is None:
            try:
                found = await meta.find_one_and_update(
                    _STATE,
                    {"$setOnInsert": {"epoch": int(SystemClock.time() * 1_000_000), "layout": _LAYOUT}},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:  # another process was faster
                found = await meta.find_one(_STATE)
        return found

    async def ask(self) -> int:
        """Read the present epoch; to be called from work that is done again when it fails."""
        return self._heard(await self._state())

    async def confirm(self) -> int:
        """Read the present epoch by way of a write: what was read before it is then known to last.

        A write that changes nothing is acknowledged when everything before it is where the write
        concern wants it. So an answer that rests on what was only read outlives an election too.
        """
        await self._state()
        state: Document = await self._connection.meta.find_one_and_update(
            _STATE, {"$set": {"layout": _LAYOUT}}, return_document=ReturnDocument.AFTER
        )
        return self._heard(state)

    def _heard(self, state: Document) -> int:
        epoch = int(state["epoch"])
        self.known = max(self.known, epoch)  # answers may overtake each other
        return epoch

    async def advance(self, last_position: Callable[[], Awaitable[int]]) -> int:
        """Begin a new epoch and delete everything of earlier ones.

        Args:
            last_position: reads the last position in the outbox; positions go on behind it.
        """
        meta = self._connection.meta

        async def begin() -> int:
            await self._state()
            state: Document = await meta.find_one_and_update(
                _STATE, {"$inc": {"epoch": 1}, "$set": {"flushing": True}}, return_document=ReturnDocument.AFTER
            )
            await meta.update_one(_STATE, {"$max": {"last_position": await last_position()}})
            return int(state["epoch"])

        self.known = await self._connection.persist(begin)
        await self._delete()
        return self.known

    async def _delete(self) -> None:
        """Delete what is of an earlier epoch, page by page: no single command takes long."""
        connection, epoch = self._connection, self.known
        older = {"epoch": {"$lt": epoch}}

        async def delete(collection: Any) -> bool:
            page: Sequence[Document] = await find_all(collection, older, projection={"_id": 1}, limit=_PAGE)
            if page:
                await collection.delete_many({"_id": {"$in": [item["_id"] for item in page]}, **older})
            return len(page) == _PAGE

        for collection in (connection.groups, connection.definitions, connection.outbox):
            while await connection.persist(lambda collection=collection: delete(collection)):  # type: ignore[misc]
                pass
        await connection.persist(
            lambda: connection.meta.update_one({**_STATE, "epoch": epoch}, {"$unset": {"flushing": ""}})
        )
