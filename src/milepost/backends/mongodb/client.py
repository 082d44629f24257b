"""The connection: a client of our own or somebody else's, its collections, retries and errors.

What is used of a client is the same in Motor's ``AsyncIOMotorClient`` and PyMongo's ``AsyncMongoClient``:
methods that are awaitable in both, and cursors with ``to_list``. They differ in ``close``, which is called
for a client of our own only, and in ``aggregate``, which is not used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

import anyio.to_thread

from milepost.backends.mongodb.driver import (
    AsyncMongoClient,
    CodecOptions,
    ConfigurationError,
    IndexModel,
    ReadConcern,
    ReadPreference,
    UpdateOne,
    WriteConcern,
)
from milepost.backends.mongodb.errors import DRIVER_ERRORS, cause_of, judge
from milepost.backends.mongodb.settings import Settings
from milepost.errors import InvalidDefinition, StoreUnavailable
from milepost.retries import RetryPolicy

__all__ = ["MongoConnection", "Update", "find_all", "update_all"]

T = TypeVar("T")


class Update(NamedTuple):
    """An update of one document, as the server is told."""

    filter: Mapping[str, Any]
    update: Mapping[str, Any]
    upsert: bool = False


_PAUSES: Final = RetryPolicy.exponential(None, start=0.02, most=1.0)
_DRIVER_IS_FIRST: Final = 2.0
"""How many seconds longer than the timeout one attempt may take: the driver's own times name the cause."""


class MongoConnection:
    """milepost's collections in one database.

    Args:
        settings: where it is.
    """

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings
        self._owned: AsyncMongoClient[Any] | None = None
        self._working: set[asyncio.Task[Any]] = set()
        self._in_vain: set[asyncio.Task[Any]] = set()
        self.is_open = False
        self.groups: Any = None
        self.definitions: Any = None
        self.outbox: Any = None
        self.leases: Any = None
        self.meta: Any = None

    # --- opening and closing -----------------------------------------------------------

    async def open(self) -> None:
        """Connect, and make the indexes.

        Raises:
            StoreUnavailable: when the server does not answer, or refuses.
            InvalidDefinition: when the driver refuses the settings.
        """
        settings = self._settings
        client: Any = settings.client
        if client is None:
            # in a thread: the driver reads files to find out what it runs on, and certificates
            client = self._owned = await anyio.to_thread.run_sync(self._new_client)
        database = client.get_database(
            settings.database,
            codec_options=CodecOptions(tz_aware=True),
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern(settings.write_concern, j=settings.journal or None),
            read_concern=ReadConcern("local"),
        )
        for name in ("groups", "definitions", "outbox", "leases", "meta"):
            setattr(self, name, database[settings.prefix + name])
        self.is_open = True
        try:
            await self.ask(self._make_indexes)
        except BaseException:
            await self.aclose()
            raise

    def _new_client(self) -> AsyncMongoClient[Any]:
        try:
            return AsyncMongoClient(**self._settings.client_options())
        except (ConfigurationError, ValueError, TypeError) as error:
            raise InvalidDefinition(f"MongoDB at {self.name}: {error}") from error

    async def _make_indexes(self) -> None:
        stages = IndexModel([("trackers.name", 1), ("trackers.stage", 1)])
        others = [
            IndexModel([(field, 1)], sparse=True) for field in ("deadline", "outbox.stamp", "removed_at", "trackers.is")
        ]
        await self.groups.create_indexes([stages, *others])
        await self.outbox.create_indexes([IndexModel([("entry", 1)], unique=True)])

    async def aclose(self) -> None:
        """Disconnect when what is on its way has ended; a client that was handed in stays open."""
        closing = asyncio.get_running_loop().create_task(self._aclose())
        cancelled = None
        while not closing.done():  # the driver warns of a client that was closed half way
            try:
                await asyncio.wait([closing])
            except asyncio.CancelledError as error:
                cancelled = error
        closing.result()
        if cancelled is not None:
            raise cancelled

    async def _aclose(self) -> None:
        while self._working:
            await asyncio.wait(self._working)
        self.is_open = False
        owned, self._owned = self._owned, None
        if owned is not None:
            await owned.close()

    # --- calling -----------------------------------------------------------------------

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work to its end, also where the caller is cancelled meanwhile.

        A server goes on with what it was sent, whoever waits for it, and the driver leaves sockets
        open that it is cancelled upon. So a cancelled caller waits for what is on its way, though
        for no second attempt, and then is cancelled.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._in_vain.add(task)
            task.add_done_callback(self._in_vain.discard)
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # nobody is left to be told
            raise

    async def ask(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do work like :meth:`persist`, to its end like :meth:`whole`."""
        return await self.whole(self.persist(work))

    async def persist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do work that may be done again, and again while the server does not answer.

        Args:
            work: asks the server.

        Raises:
            StoreUnavailable: when the server refuses, or has not answered for the whole timeout.
        """
        if not self.is_open:
            raise StoreUnavailable(f"MongoDB at {self.name} is not open")
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.timeout
        for pause in _PAUSES.delays():
            try:
                async with asyncio.timeout(self._settings.timeout + _DRIVER_IS_FIRST):
                    return await work()
            except DRIVER_ERRORS as error:
                in_vain = asyncio.current_task() in self._in_vain
                if in_vain or not judge(error).passing or loop.time() + pause > until:
                    raise StoreUnavailable(f"MongoDB at {self.name}: {cause_of(error)}") from error
            await asyncio.sleep(pause)
        raise AssertionError("there is no end to the pauses")


async def find_all(collection: Any, filter: Mapping[str, Any], **options: Any) -> Sequence[dict[str, Any]]:
    """Return all documents that match."""
    found: list[dict[str, Any]] = await collection.find(filter, **options).to_list(None)
    return found


async def update_all(collection: Any, updates: Sequence[Update]) -> None:
    """Make updates whose outcomes are all the same, in one round trip."""
    if len(updates) == 1:
        filter, update, upsert = updates[0]
        await collection.update_one(filter, update, upsert=upsert)
    elif updates:
        await collection.bulk_write([UpdateOne(*update) for update in updates], ordered=False)
