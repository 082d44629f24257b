"""The relay: moves events from the groups' documents, where they were committed, into the outbox.

An event's position is the ``_id`` of its document there. Positions have no gaps: a relay
writes behind the last one, and two relays that do so at once collide on the first position,
where one of them stops and begins again. So what is read up to a position stays complete
below it, and the events of a group keep their order: nobody writes the second one before
the first. An event that is in the outbox already, because a relay died before it could take
it out of its document, is known by its ``entry``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from typing import Final

from milepost.backends.mongodb.client import MongoConnection, Update, find_all, update_all
from milepost.backends.mongodb.documents import Document
from milepost.backends.mongodb.driver import BulkWriteError
from milepost.backends.mongodb.errors import DUPLICATE_KEY

__all__ = ["Outbox"]

_log = logging.getLogger("milepost")

_DOCUMENTS: Final = 200
"""From how many groups' documents to take events at a time."""
_ROUNDS: Final = 100
"""How often to do that in one call: others may go on committing."""
_TRIM_EVERY: Final = 1024
_RELAY: Final = "relay to"


class Outbox:
    """The events of all groups, in order.

    Args:
        connection: to the database.
        size: how many events to keep.
        most_behind: how many more to keep for those who move them on elsewhere.
    """

    def __init__(self, connection: MongoConnection, size: int, most_behind: int) -> None:
        self._connection = connection
        self._size = size
        self._most_behind = most_behind
        self._since_trim = 0
        self._one_at_a_time = asyncio.Lock()

    async def read(self, epoch: int, after: int, limit: int) -> list[tuple[int, str]]:
        """Return events after a position, as (position, text)."""
        found = await find_all(
            self._connection.outbox,
            {"_id": {"$gt": after}, "epoch": epoch},
            projection={"body": 1},
            sort=[("_id", 1)],
            limit=limit,
        )
        return [(item["_id"], item["body"]) for item in found]

    async def relay(self, epoch: int) -> int:
        """Move events that are still in the groups' documents, a bounded number; return how many."""
        moved = 0
        async with self._one_at_a_time:
            for _ in range(_ROUNDS):
                pending = await self._pending(epoch)
                if not pending:
                    break
                taken = await self._append(_in_order(pending), epoch)
                if taken is None:
                    await asyncio.sleep(random.uniform(0, 0.02))  # another relay was faster: see what it left
                    continue
                await self._take_out(pending)
                moved += taken
            await self._trim(moved)
        return moved

    async def _pending(self, epoch: int) -> Sequence[Document]:
        return await find_all(
            self._connection.groups,
            {"outbox.stamp": {"$gt": 0}, "epoch": epoch},
            projection={"outbox": 1},
            sort=[("outbox.stamp", 1)],
            limit=_DOCUMENTS,
        )

    async def _append(self, events: Sequence[tuple[str, Document]], epoch: int) -> int | None:
        """Write events behind the last; return how many, None where somebody else did so at the same moment."""
        last = await self.last()
        known = await find_all(
            self._connection.outbox, {"entry": {"$in": [event["id"] for _, event in events]}}, projection={"entry": 1}
        )
        entries = {item["entry"] for item in known}
        new = [(key, event) for key, event in events if event["id"] not in entries]
        if not new:
            return 0
        documents = [
            {
                "_id": position,
                "epoch": epoch,
                "entry": event["id"],
                "event": event["event"],
                "type": event["type"],
                "group": key,
                "time": event["time"],
                "body": event["body"],
            }
            for position, (key, event) in enumerate(new, last + 1)
        ]
        try:
            await self._connection.outbox.insert_many(documents, ordered=True)
        except BulkWriteError as error:
            if any(item["code"] != DUPLICATE_KEY for item in error.details["writeErrors"]):
                raise
            return None
        return len(documents)

    async def _take_out(self, pending: Iterable[Document]) -> None:
        """Take events out of their documents; they are in the outbox."""
        updates = [
            Update(
                {"_id": item["_id"]}, {"$pull": {"outbox": {"id": {"$in": [event["id"] for event in item["outbox"]]}}}}
            )
            for item in pending
        ]
        await update_all(self._connection.groups, updates)

    async def last(self) -> int:
        """Return the last position that was given to an event, of whatever epoch."""
        outbox, meta = self._connection.outbox, self._connection.meta
        newest: Document | None = await outbox.find_one({}, projection={"_id": 1}, sort=[("_id", -1)])
        state: Document | None = await meta.find_one({"_id": "state"})
        return max(int(newest["_id"]) if newest else 0, int((state or {}).get("last_position", 0)))

    async def relayed(self, relay: str) -> int:
        """Return how far somebody has come who moves events on elsewhere, and who is expected from now on."""
        await self._connection.meta.update_one(
            {"_id": f"{_RELAY} {relay}"}, {"$setOnInsert": {"position": await self.last()}}, upsert=True
        )
        known = await self._connection.meta.find_one({"_id": f"{_RELAY} {relay}"})
        return int(known["position"])

    async def confirm_relayed(self, relay: str, position: int) -> None:
        """Note how far somebody has moved events on."""
        await self._connection.meta.update_one({"_id": f"{_RELAY} {relay}"}, {"$max": {"position": position}})

    async def _trim(self, moved: int) -> None:
        """Delete events beyond the size of the outbox that were moved on, now and then."""
        self._since_trim += moved
        if self._since_trim >= _TRIM_EVERY:
            self._since_trim = 0
            last = await self.last()
            await self._connection.outbox.delete_many(
                {"_id": {"$lte": min(last - self._size, await self._moved_on(last))}}
            )

    async def _moved_on(self, last: int) -> int:
        """Return up to where events were moved on by all who are expected; one who does not come loses some."""
        meta = self._connection.meta
        behind = last - self._most_behind
        relays = await find_all(meta, {"_id": {"$regex": f"^{_RELAY} "}}, projection={"position": 1})
        for relay in relays:
            if relay["position"] < behind:
                _log.error("the %s has not come for %d events and loses the oldest", relay["_id"], self._most_behind)
                await meta.update_one({"_id": relay["_id"]}, {"$max": {"position": behind}})
        return max(behind, min((relay["position"] for relay in relays), default=last))


def _in_order(pending: Iterable[Document]) -> list[tuple[str, Document]]:
    """Return the events of several documents in the order of their stamps, without changing that in one document."""
    stamped: list[tuple[int, str, Document]] = []
    for item in pending:
        latest = 0
        for event in item["outbox"]:
            latest = max(latest, event["stamp"])
            stamped.append((latest, item["_id"], event))
    stamped.sort(key=lambda item: item[0])  # stable: equal ones stay as they are in their document
    return [(key, event) for _, key, event in stamped]
