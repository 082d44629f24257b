"""A store in MongoDB: one document for each group, on a standalone server, a replica set or a sharded cluster."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from milepost._clock import Clock, SystemClock
from milepost._patterns import has_wildcard, pattern_to_regex
from milepost._tasks import Tasks
from milepost.backends.mongodb.catalogue import Catalogue
from milepost.backends.mongodb.client import MongoConnection, find_all
from milepost.backends.mongodb.deciding import Decider
from milepost.backends.mongodb.documents import is_removed, loaded_record, revision_of, value_key
from milepost.backends.mongodb.edits import Recorder
from milepost.backends.mongodb.epochs import Epochs
from milepost.backends.mongodb.following import Follower
from milepost.backends.mongodb.layouts import Layouts
from milepost.backends.mongodb.lease import Lease
from milepost.backends.mongodb.outbox import Outbox
from milepost.backends.mongodb.settings import Settings, parts_of_url
from milepost.backends.mongodb.writer import Sending, Writer
from milepost.data_stores.base import BaseDataStore, RecordChange, RelayedOutbox
from milepost.errors import CommitUncertain, InvalidDefinition, StoreLeased, StoreUnavailable
from milepost.lookups import RowIndex, RowIs, end_of
from milepost.records import CacheMark, Commit, LoadedRecord, Outcome, Standing, TooLarge, Undecided

__all__ = ["MongoDBDataStore"]

_log = logging.getLogger("milepost")

_PORT: Final = 27017
_PAGE: Final = 500
_RELAY_AFTER: Final = 0.05
"""Seconds for which events gather before they are moved on."""
_LOOK_EVERY: Final = 30.0
"""Seconds after which to look for events whose process died before it moved them on."""
_LAST_RELAY: Final = 5.0
_MOST_UNRELAYED: Final = 10_000
_TOMBSTONES_LAST: Final = timedelta(minutes=10)
_STANDING: Final = ("epoch", "incarnation", "counter", "removed_at")
_MARK: Final = {"_id": "cache"}


class MongoDBDataStore(BaseDataStore, RowIndex, RelayedOutbox):
    """Keeps groups in MongoDB, one document for each.

    With ``write="through"`` any number of processes may share the database: a commit is one
    guarded update of one document, which is atomic everywhere, so a standalone server
    gives the same guarantees as a replica set. With ``write="behind"`` one process has it alone.

    Args:
        host: the server, or a URL such as ``mongodb://host1,host2/database?replicaSet=rs0``.
        port: its port.
        database: the database's name.
        client: a client to use instead, Motor's ``AsyncIOMotorClient`` or PyMongo's ``AsyncMongoClient``.
            It stays its owner's: milepost does not close it.
        prefix: what the names of the collections begin with, for a database that others use too.
        write_concern: how many members must have a write before it is acknowledged, or ``"majority"``.
        journal: whether they must have it in their journal, without which a standalone server may lose
            the last moment when it is killed.
        timeout: for how many seconds to go on trying while the server does not answer, or elects a primary.
        lease_seconds: after how many seconds a process that does not answer loses its hold on the database.
        outbox_size: how many events to keep for reading back.
        **options: further options for ``AsyncMongoClient``, such as ``username``, ``password`` and ``tls``.

    Raises:
        InvalidDefinition: when a setting is wrong.
    """

    rounds = 2
    """While the server works on one batch of commits the next is worked out."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = _PORT,
        database: str = "milepost",
        *,
        client: Any = None,
        prefix: str = "",
        write_concern: int | str = "majority",
        journal: bool = True,
        timeout: float = 20.0,
        lease_seconds: float = 15.0,
        outbox_size: int = 100_000,
        **options: Any,
    ) -> None:
        if not isinstance(host, str) or not host:
            raise InvalidDefinition(f"host must be the name of a server, got {host!r}")
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
            raise InvalidDefinition(f"port must be a number from 1 to 65535, got {port!r}")
        place, address = host, {"host": host, "port": port}
        if "://" in host:
            place, named = parts_of_url(host)
            if port != _PORT:
                raise InvalidDefinition(f"port must be in the URL where host is one, got {port!r} beside it")
            database, address = named or database, {"host": host}
        elif client is None:
            place = f"{host}:{port}"
        self._settings = Settings(
            client=client,
            options={**address, **options} if client is None else options,
            name=place if client is None else "the client's address",
            database=database,
            prefix=prefix,
            write_concern=write_concern,
            journal=journal,
            timeout=timeout,
            lease_seconds=lease_seconds,
            outbox_size=outbox_size,
        )
        self._connection = MongoConnection(self._settings)
        self._tasks = Tasks()
        self._wake = asyncio.Event()
        self._unrelayed = 0
        self._last_stamp = 0
        self._build(256)

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> MongoDBDataStore:
        """Return a store at ``mongodb://host:port/database`` or ``mongodb+srv://…``, with further settings.

        Raises:
            InvalidDefinition: when the URL or a setting is wrong.
        """
        parts_of_url(url)
        return cls(url, **settings)

    def __repr__(self) -> str:
        return f"MongoDBDataStore({self._settings.name!r}, database={self._settings.database!r})"

    def _build(self, window: int) -> None:
        """Make the parts anew, for a connection that was not open before."""
        connection = self._connection = MongoConnection(self._settings)
        self._epochs = Epochs(connection)
        self._catalogue = Catalogue(connection)
        self._layouts = Layouts()
        self._outbox = Outbox(connection, self._settings.outbox_size)
        self._lease = Lease(connection, self._settings.lease_seconds)
        recorder = Recorder(window, self._settings.outbox_size > 0, self._catalogue.kind_of, self._stamp)
        writer = self._writer = Writer(connection, self._layouts, recorder)
        self._decider = Decider(connection, self._epochs, self._catalogue, writer)
        self._follower = Follower(connection, self._epochs, self._catalogue, self._layouts, writer)

    def _stamp(self) -> int:
        """Return a number for an event: microseconds, and always more than before."""
        self._last_stamp = max(self._last_stamp + 1, int(SystemClock.time() * 1_000_000))
        return self._last_stamp

    async def open(self, clock: Clock, window: int) -> None:
        if self._connection.is_open:
            raise StoreLeased(f"{self!r} is open in another manager; give each manager a store object of its own")
        self._build(window)
        await self._connection.open()
        try:
            await self._connection.whole(self._epochs.begin())
        except BaseException:
            await self._connection.aclose()
            raise
        self._wake.set()  # another process may have left events where it committed them
        _ = self._tasks.spawn(self._keep_house(), "outbox")

    async def aclose(self) -> None:
        if not self._connection.is_open:
            return
        try:
            await self._tasks.aclose()
            await self._lease.release()
            if self._unrelayed:
                with suppress(
                    StoreUnavailable, TimeoutError
                ):  # they are safe where they are, and the next one to open looks
                    async with asyncio.timeout(_LAST_RELAY):
                        await self._relay()
        finally:  # whoever is cancelled here leaves no client open either
            await self._connection.aclose()

    async def lease(self, *, exclusive: bool) -> None:
        await self._lease.take(exclusive=exclusive)

    # --- reading -----------------------------------------------------------------------

    async def load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        found: dict[str, LoadedRecord] = {}
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            epoch, documents = await self._connection.ask(
                lambda page=page: asyncio.gather(self._epochs.ask(), self._writer.read(page))  # type: ignore[misc]
            )
            for document in documents:
                if document["epoch"] == epoch and not is_removed(document):
                    self._layouts.learn(document)
                    found[document["_id"]] = loaded_record(document)
        return found

    async def standings(self, keys: Sequence[str]) -> dict[str, Standing]:
        found: dict[str, Standing] = {}
        for start in range(0, len(keys), _PAGE):
            page = {"_id": {"$in": list(keys[start : start + _PAGE])}}
            epoch = await self.epoch()
            for document in await self._find(page, projection=dict.fromkeys(_STANDING, 1)):
                if document["epoch"] == epoch:
                    found[document["_id"]] = Standing(revision_of(document), is_removed(document))
        return found

    async def cache_mark(self) -> CacheMark | None:
        mark = await self._connection.ask(lambda: self._connection.meta.find_one(_MARK))
        return None if mark is None else CacheMark(int(mark["epoch"]), int(mark["generation"]))

    async def definitions(self, hashes: Iterable[str]) -> dict[str, str]:
        wanted = list(hashes)
        return await self._connection.ask(lambda: self._catalogue.read(wanted))

    async def epoch(self) -> int:
        return await self._connection.ask(self._epochs.ask)

    async def keys(self, pattern: str = "*") -> AsyncIterator[str]:
        condition: dict[str, Any] = {"epoch": await self.epoch(), "trackers.0": {"$exists": True}}
        if not has_wildcard(pattern):
            for document in await self._find({**condition, "_id": pattern}, limit=1):
                yield document["_id"]
            return
        matches = pattern_to_regex(pattern).fullmatch
        prefix = re.split(r"[*?]", pattern, maxsplit=1)[0]
        bounds: dict[str, str] = {"$gte": prefix}
        while page := await self._find({**condition, "_id": bounds}, sort=[("_id", 1)], limit=_PAGE):
            for document in page:
                key: str = document["_id"]
                if not key.startswith(prefix):
                    return
                if matches(key):
                    yield key
            bounds = {"$gt": page[-1]["_id"]}

    async def find(self, prefix: str, conditions: Sequence[RowIs]) -> AsyncIterator[str]:
        ends = [{"_id": {"$gte": prefix, "$lt": end_of(prefix)}}, {"trackers.0": {"$exists": True}}]
        base = {"epoch": await self.epoch(), "$and": [*ends, *map(_condition_on, conditions)]}
        if any(
            one.texts and not one.or_absent for one in conditions
        ):  # the index gives them as they are stored, not in order
            for key in sorted(document["_id"] for document in await self._find(base)):
                yield key
            return
        last = ""
        while page := await self._find({**base, "_id": {"$gt": last}}, sort=[("_id", 1)], limit=_PAGE):
            for document in page:
                yield document["_id"]
            last = page[-1]["_id"]

    async def due(self, now: float, limit: int = 1000) -> list[str]:
        condition = {"epoch": await self.epoch(), "deadline": {"$lte": now}}
        return [item["_id"] for item in await self._find(condition, sort=[("deadline", 1)], limit=limit)]

    async def next_deadline(self) -> float | None:
        condition = {"epoch": await self.epoch(), "deadline": {"$exists": True}}
        earliest = await self._find(condition, projection={"deadline": 1}, sort=[("deadline", 1)], limit=1)
        return float(earliest[0]["deadline"]) if earliest else None

    async def outbox(self, after: int = 0, limit: int = 1000) -> list[tuple[int, str]]:
        await self._relay()
        epoch = await self.epoch()
        return await self._connection.ask(lambda: self._outbox.read(epoch, after, limit))

    @property
    def keeps_events(self) -> bool:
        """Whether events are written to the outbox."""
        return self._settings.outbox_size > 0

    async def begin_relay(self) -> None:
        await self._connection.ask(self._outbox.begin_onward)

    async def unmoved(self, limit: int) -> list[tuple[int, str]]:
        await self._relay()
        epoch = await self.epoch()
        return await self._connection.ask(lambda: self._outbox.unmoved(epoch, limit))

    async def moved(self, position: int) -> None:
        await self._connection.ask(lambda: self._outbox.moved(position))

    async def _find(self, condition: Mapping[str, Any], **options: Any) -> Sequence[dict[str, Any]]:
        options = {"projection": {"_id": 1}, **options}
        return await self._connection.ask(lambda: find_all(self._connection.groups, condition, **options))

    # --- writing -----------------------------------------------------------------------

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        return await self._connection.whole(self._commit(commits))

    async def _commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        self._check_lease()
        sending = Sending()
        try:
            outcomes = await self._connection.persist(lambda: self._decider.decide(commits, sending))
        except StoreUnavailable as error:
            if sending.open:
                raise CommitUncertain(f"{error}; the change may or may not be there") from error
            raise
        crowded = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, TooLarge)]
        if crowded:
            for n, outcome in zip(crowded, await self._with_room([commits[n] for n in crowded]), strict=True):
                outcomes[n] = outcome
        await self._note_events(sum(len(commit.events) for commit in commits))
        return outcomes

    async def _with_room(self, commits: Sequence[Commit]) -> Sequence[Outcome]:
        """Decide commits once more for whose groups there was no room: events that waited there took some of it."""
        sending = Sending()
        try:
            await self._relay()
            return await self._connection.persist(lambda: self._decider.decide(commits, sending))
        except StoreUnavailable as error:  # the others of the batch are decided
            uncertain = CommitUncertain(f"{error}; the change may or may not be there")
            return [Undecided(uncertain if sending.open else error)] * len(commits)

    async def mark_cache(self, mark: CacheMark) -> None:
        update = {"$max": mark._asdict()}
        await self._connection.whole(
            self._connection.persist(lambda: self._connection.meta.update_one(_MARK, update, upsert=True))
        )

    async def save(self, changes: Sequence[RecordChange]) -> None:
        await self._connection.whole(self._save(changes))

    async def _save(self, changes: Sequence[RecordChange]) -> None:
        self._check_lease()
        await self._connection.persist(lambda: self._follower.follow(changes))
        await self._note_events(sum(len(change.events) for change in changes))

    def _check_lease(self) -> None:
        if self._lease.lost:
            raise StoreUnavailable(f"MongoDB at {self._connection.name}: another process may have taken it for itself")

    async def put_definitions(self, definitions: Mapping[str, str]) -> None:
        await self._connection.whole(self._put_definitions(definitions))

    async def _put_definitions(self, definitions: Mapping[str, str]) -> None:
        await self._connection.persist(lambda: self._catalogue.put(definitions, self._epochs.known))

    async def flush(self) -> int:
        return await self._connection.whole(self._flush())

    async def _flush(self) -> int:
        epoch = await self._epochs.advance(self._outbox.last)
        self._layouts.clear()
        return epoch

    # --- keeping house -----------------------------------------------------------------

    async def _note_events(self, count: int) -> None:
        """Have events moved on soon; at once where too many wait."""
        if not count or not self._settings.outbox_size:
            return
        self._unrelayed += count
        self._wake.set()
        if self._unrelayed > _MOST_UNRELAYED:
            with suppress(StoreUnavailable):  # what was committed is committed; they go on waiting
                await self._relay()

    async def _relay(self) -> None:
        self._unrelayed = 0
        await self._connection.ask(lambda: self._outbox.relay(self._epochs.known))

    async def _keep_house(self) -> None:
        """Move events on, and forget old removals, until cancelled."""
        while True:
            with suppress(TimeoutError):  # not by `wait_for`, which before Python 3.12 may swallow a cancellation
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._wake.wait()
            await asyncio.sleep(_RELAY_AFTER)
            self._wake.clear()
            try:
                await self._relay()
                await self._connection.ask(self._forget_removals)
            except StoreUnavailable as error:
                _log.warning("events wait in their groups: %s", error)

    async def _forget_removals(self) -> None:
        old = datetime.now(UTC) - _TOMBSTONES_LAST
        await self._connection.groups.delete_many({"removed_at": {"$lt": old}, "outbox.0": {"$exists": False}})


def _condition_on(condition: RowIs) -> dict[str, Any]:
    """Return what MongoDB is asked for a condition on one row."""
    if not condition.texts:
        return {"trackers.name": condition.name}
    is_one: dict[str, Any] = {"trackers.is": {"$in": [value_key(condition.name, text) for text in condition.texts]}}
    return {"$or": [is_one, {"trackers.name": {"$ne": condition.name}}]} if condition.or_absent else is_one
