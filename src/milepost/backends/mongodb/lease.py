"""Who may have a database open: one process alone, or several together.

Each holder has a document that it renews. All times are the server's, so clocks need not
agree. Who wants a lease writes its document first and looks for others second; of two that
do so at once, the later one to write sees the other, so never do both get what excludes
the other. One that died is recognised by its time standing still.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta
from typing import Final

from milepost.backends.mongodb.client import MongoConnection, find_all
from milepost.backends.mongodb.documents import Document
from milepost.backends.mongodb.driver import ObjectId
from milepost.backends.mongodb.errors import DRIVER_ERRORS, cause_of
from milepost.errors import StoreLeased, StoreUnavailable

__all__ = ["Lease"]

_log = logging.getLogger("milepost")

_RENEWALS: Final = 5
"""How often a lease is renewed in the time that it lasts."""
_MARGIN: Final = 1.5
"""How much longer than a lease lasts others wait before they take it for dead."""
_LETTING_GO: Final = 2.0
"""For how many seconds to try to let go."""


class Lease:
    """A lease on a database.

    Args:
        connection: to the database.
        seconds: how long a holder is waited for that does not renew its lease.
    """

    def __init__(self, connection: MongoConnection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._id = ObjectId()
        self._renewing: asyncio.Task[None] | None = None
        self.lost = False
        """Whether others may have taken this process for dead."""

    async def take(self, *, exclusive: bool) -> None:
        """Take the lease, alone or together with others. Waits for as long as it takes to know who is alive.

        Raises:
            StoreLeased: when another process's hold excludes this one.
            StoreUnavailable: when the server does not answer.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _MARGIN * self._seconds + 1
        seen: dict[ObjectId, object] = {}
        while others := await self._connection.ask(lambda: self._try(exclusive=exclusive)):
            for other in others:
                renewed = seen.setdefault(other["_id"], other["at"]) != other["at"]
                if (renewed and other["held"]) or loop.time() > until:
                    raise StoreLeased(
                        f"MongoDB at {self._connection.name} is in use elsewhere"
                        + (
                            ', and write="behind" needs it alone'
                            if exclusive
                            else ' by one that has it alone (write="behind")'
                        )
                    )
            await asyncio.sleep(random.uniform(0.5, 1.0) * self._seconds / _RENEWALS)
        self._renewing = loop.create_task(self._renew(exclusive=exclusive), name="milepost: lease")

    async def _try(self, *, exclusive: bool) -> list[Document]:
        """Write this process's document and return those that exclude it; where there are any it is taken back."""
        leases = self._connection.leases
        await leases.update_one(
            {"_id": self._id},
            {"$set": {"exclusive": exclusive, "held": False}, "$currentDate": {"at": True}},
            upsert=True,
        )
        holders = {item["_id"]: item for item in await find_all(leases, {})}
        now = holders.pop(self._id)["at"]
        dead = [item for item in holders.values() if now - item["at"] > timedelta(seconds=_MARGIN * self._seconds)]
        for item in dead:
            await leases.delete_one({"_id": item["_id"], "at": item["at"]})
        others = [item for item in holders.values() if item not in dead and (exclusive or item["exclusive"])]
        if others:
            await leases.delete_one({"_id": self._id})
        else:
            await leases.update_one({"_id": self._id}, {"$set": {"held": True}})
        return others

    async def _renew(self, *, exclusive: bool) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(self._seconds / _RENEWALS)
            try:
                result = await self._connection.ask(
                    lambda: self._connection.leases.update_one({"_id": self._id}, {"$currentDate": {"at": True}})
                )
                gone = not result.matched_count and (exclusive or not await self._take_again())
            except StoreUnavailable as error:
                _log.warning("the lease cannot be renewed: %s", error)
                self.lost = self.lost or loop.time() - renewed > self._seconds
                continue
            if gone:
                self.lost = True
                _log.error(
                    "another process has taken MongoDB at %s for itself: this one did not answer for too long",
                    self._connection.name,
                )
                return
            renewed = loop.time()
            self.lost = False

    async def _take_again(self) -> bool:
        """Share the database again, after having been taken for dead; return whether nobody has it alone."""
        others = await self._connection.ask(lambda: self._try(exclusive=False))
        return not others

    async def release(self) -> None:
        """Let go, as far as the server answers."""
        renewing, self._renewing = self._renewing, None
        if renewing is None:
            return
        renewing.cancel()
        await asyncio.wait([renewing])
        try:
            async with asyncio.timeout(_LETTING_GO):
                await self._connection.leases.delete_one({"_id": self._id})
        except DRIVER_ERRORS as error:
            _log.warning("the lease is left to run out: %s", cause_of(error))
