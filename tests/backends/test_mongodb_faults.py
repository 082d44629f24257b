"""MongoDB going away, coming back, answering late or not at all, and processes that end in the middle of things."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import bson.errors
import pymongo.errors
import pytest
from pymongo import AsyncMongoClient

from milepost import (
    BackendUnavailable,
    CommitUncertain,
    CountTracker,
    MongoDBDataStore,
    StoreUnavailable,
    TrackingManager,
)
from milepost.backends.mongodb.errors import DRIVER_ERRORS
from milepost.errors import StoreLeased
from milepost.records import Committed, Revision, StaleEpoch
from milepost.testing import EventRecorder, ManualClock
from milepost.testing.suites.material import (
    INCARNATION,
    SOME_DEFINITIONS,
    change_to,
    commit_to,
    events_of,
    outbox_ids,
    read,
    send,
    texts,
)
from tests.faults.proxy import Proxy
from tests.servers.mongodb import MongoServer

FIRST = Revision(INCARNATION, 1)


@asynccontextmanager
async def opened(url: str, database: str, **settings: Any) -> AsyncIterator[MongoDBDataStore]:
    """Open a store that knows a definition."""
    store = MongoDBDataStore(url, database=database, **settings)
    await store.open(ManualClock(), 256)
    try:
        await store.put_definitions(SOME_DEFINITIONS)
        yield store
    finally:
        await store.aclose()


# --- errors ------------------------------------------------------------------------------


def driver_errors() -> list[Exception]:
    """Return one of each exception that the driver has."""
    refused = {"writeErrors": [{"index": 0, "code": 121, "errmsg": "refused"}], "writeConcernErrors": []}
    special: dict[str, Callable[[Any], Exception]] = {
        "BulkWriteError": lambda cls: cls(refused),
        "ClientBulkWriteException": lambda cls: cls({"error": None, "anySuccessful": False}, verbose=False),
        "EncryptionError": lambda cls: cls(ValueError("encrypted")),
        "EncryptedCollectionError": lambda cls: cls(ValueError("encrypted"), {}),
    }
    classes = {
        name: cls
        for module in (pymongo.errors, bson.errors)
        for name, cls in vars(module).items()
        if inspect.isclass(cls) and issubclass(cls, Exception) and cls.__module__ == module.__name__
    }
    made = [special.get(name, lambda cls: cls(cls.__name__))(cls) for name, cls in sorted(classes.items())]
    return [*made, TimeoutError(), ConnectionResetError(104, "reset by peer")]


class Failing:
    """A collection that has one answer to everything."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def _fail(self, *args: Any, **kwargs: Any) -> Any:
        raise self._error

    find_one = find_one_and_update = update_one = delete_one = delete_many = insert_many = bulk_write = _fail

    def find(self, *args: Any, **kwargs: Any) -> Any:
        raise self._error


@pytest.mark.parametrize("error", driver_errors(), ids=lambda error: type(error).__name__)
async def test_every_error_of_the_driver_is_one_of_ours(error: Exception, mongodb: MongoServer) -> None:
    """Whatever the driver raises, callers get ``StoreUnavailable`` or ``CommitUncertain``, which name it."""
    assert isinstance(error, DRIVER_ERRORS)
    patient = {"serverSelectionTimeoutMS": 5000, "connectTimeoutMS": 5000, "socketTimeoutMS": 5000}
    async with opened(mongodb.url, mongodb.new_database(), timeout=0.03, **patient) as store:
        await send(store, "a", None, {"x": "1"})
        epoch = await store.epoch()
        connection = store._connection
        real = connection.groups, connection.definitions, connection.outbox, connection.meta
        connection.groups = connection.definitions = connection.outbox = connection.meta = Failing(error)
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: store.load(["a"]),
            lambda: store.commit([commit_to("a", FIRST, {"x": "2"}, epoch=epoch)]),
            lambda: store.commit([commit_to(key, None, {"x": "2"}, epoch=epoch) for key in "bc"]),
            lambda: store.commit([commit_to("a", FIRST, epoch=epoch)]),
            lambda: store.save([change_to("a", Revision(INCARNATION, 5), {"x": "2"})]),
            lambda: store.definitions(["d"]),
            lambda: store.put_definitions({"new": "text"}),
            store.epoch,
            store.flush,
            lambda: anext(store.keys("*")),
            lambda: store.due(0),
            store.next_deadline,
            store.outbox,
        ]
        for call in calls:
            with pytest.raises((StoreUnavailable, CommitUncertain)) as caught:
                await call()
            assert isinstance(caught.value, BackendUnavailable)
            assert type(error).__name__ in str(caught.value)
        connection.groups, connection.definitions, connection.outbox, connection.meta = real
        assert isinstance(await send(store, "a", FIRST, {"x": "2"}), Committed), "nothing was changed by all that"


# --- replies that are lost -----------------------------------------------------------------


@pytest.fixture
async def proxy(mongodb: MongoServer) -> AsyncIterator[Proxy]:
    """Stands between the store and the server."""
    async with Proxy("127.0.0.1", mongodb.port) as proxy:
        yield proxy


def through(proxy: Proxy) -> str:
    """Return what a client connects to."""
    return f"mongodb://127.0.0.1:{proxy.port}"


def is_commit(request: bytes) -> bool:
    """Whether a request changes records."""
    return b"commits" in request


@pytest.mark.parametrize("many", [False, True], ids=["one commit", "a batch"])
@pytest.mark.parametrize("lost", ["reply", "request"])
async def test_a_commit_whose_reply_is_cut_off(many: bool, lost: str, mongodb: MongoServer, proxy: Proxy) -> None:
    """It is asked for again by its id: applied once, acknowledged, its event once in the outbox."""
    async with opened(through(proxy), mongodb.new_database()) as store:
        epoch = await store.epoch()
        keys = "abc" if many else "a"
        for n in range(5):
            base = Revision(INCARNATION, n) if n else None
            (proxy.lose_reply_to if lost == "reply" else proxy.lose_request)(is_commit)
            commits = [commit_to(key, base, {"x": f"{n}"}, epoch=epoch, events=events_of(f"{key}{n}")) for key in keys]
            assert await store.commit(commits) == [Committed()] * len(keys)
            assert proxy.lost_replies + proxy.lost_requests == n + 1
        for key in keys:
            assert await read(store, key) == (Revision(INCARNATION, 5), texts({"x": "4"}), (), 0, None)
        assert await outbox_ids(store) == [f"{key}{n}" for n in range(5) for key in keys]


async def test_where_it_cannot_be_learned_that_is_said(mongodb: MongoServer, proxy: Proxy) -> None:
    """With the server gone behind a lost reply the caller is told that the change may be there; later it is known."""
    async with opened(through(proxy), mongodb.new_database(), timeout=3, serverSelectionTimeoutMS=1000) as store:
        commit = commit_to("a", None, {"x": "1"}, epoch=await store.epoch(), events=events_of("e"))
        proxy.lose_reply_to(is_commit, then_refuse=True)
        with pytest.raises(CommitUncertain, match="may or may not be there"):
            await store.commit([commit])
        with pytest.raises(StoreUnavailable, match=r"MongoDB at 127\.0\.0\.1"):
            await store.load(["a"])
        with pytest.raises(StoreUnavailable):  # nothing of this one was sent
            await store.commit([commit_to("b", None, {"x": "1"}, epoch=commit.epoch)])
        await proxy.accept()
        assert await store.commit([commit]) == [Committed()]
        assert (await read(store, "a")).revision == FIRST
        assert await outbox_ids(store) == ["e"]


async def test_a_server_that_says_nothing(mongodb: MongoServer, proxy: Proxy) -> None:
    """A call does not wait for ever: it is told after the timeout, and the next one finds a server that answers."""
    async with opened(through(proxy), mongodb.new_database(), timeout=3) as store:
        proxy.fall_silent()
        with pytest.raises(StoreUnavailable, match=r"MongoDB at 127\.0\.0\.1"):
            await asyncio.wait_for(store.load(["a"]), 10)
        proxy.speak()
        assert await store.load(["a"]) == {}


# --- outages -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.survival
async def test_a_server_killed_and_started_again(own_mongodb: MongoServer) -> None:
    """Callers wait while it is away; each event counts once, and each milestone is announced once."""
    async with TrackingManager(data_store=MongoDBDataStore(own_mongodb.url, timeout=60)) as manager:
        recorder = EventRecorder(manager)
        manager.declare("*", CountTracker(name="n", target=[5, 50, 10**6]))
        counts = dict.fromkeys((f"g{n}" for n in range(5)), 0)

        async def call(caller: int) -> None:
            group = f"g{caller % 5}"
            for n in range(20):
                result = await manager.track(group, {}, event_id=f"{caller} {n}")
                assert result.ok or result.duplicate
                counts[group] += 1

        callers = [asyncio.ensure_future(call(n)) for n in range(20)]
        for _ in range(3):
            while sum(counts.values()) < 20:
                await asyncio.sleep(0.001)
            await asyncio.to_thread(own_mongodb.kill)
            await asyncio.to_thread(own_mongodb.start)
        await asyncio.gather(*callers)
        for group, count in counts.items():
            assert (await manager.get_trackers(group))[0].progress == count == 80
        assert len({event.id for event in recorder.events}) == len(recorder.events) == 10
        assert len(await manager.data_store.outbox()) == 10


@pytest.mark.slow
async def test_a_server_that_stays_away(own_mongodb: MongoServer) -> None:
    """Every call says so and names the cause, nothing is changed, and when the server is back all is as before."""
    store = MongoDBDataStore(own_mongodb.url, timeout=3, serverSelectionTimeoutMS=1000)
    async with TrackingManager(data_store=store) as manager:
        await manager.add_tracker("g", CountTracker(name="n", target=100))
        await asyncio.to_thread(own_mongodb.kill)
        for call in (manager.track("g", {}), manager.get_trackers("g"), manager.remove_tracker("g")):
            with pytest.raises(
                BackendUnavailable, match=r"MongoDB at 127\.0\.0\.1.*(Connect call failed|closed|reset)"
            ):
                await call
        await asyncio.to_thread(own_mongodb.start)
        async with asyncio.timeout(10):
            while True:
                try:
                    tracker = (await manager.track("g", {})).dirtied[0]
                    break
                except BackendUnavailable:
                    await asyncio.sleep(0.05)
        assert tracker.progress == 1


async def test_no_server_at_the_start() -> None:
    """The start is refused with the cause, and the password is not told."""
    store = MongoDBDataStore("mongodb://me:secret@127.0.0.1:1/db", timeout=0.2, serverSelectionTimeoutMS=50)
    manager = TrackingManager(data_store=store)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1.*Connect call failed") as caught:
        await manager.start()
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(store)


# --- processes that end in the middle --------------------------------------------------------


async def test_a_relay_that_died_before_it_was_done(mongodb: MongoServer) -> None:
    """Events that it had moved, but not taken out of their groups, are in the outbox once."""
    async with opened(mongodb.url, mongodb.new_database()) as store:
        epoch = await store.epoch()
        await store.commit([commit_to(key, None, {"x": "1"}, epoch=epoch, events=events_of(f"{key}1")) for key in "ab"])
        pending = await store._outbox._pending(epoch)
        assert await store._outbox._append(
            [(item["_id"], event) for item in pending for event in item["outbox"]], epoch
        )
        await send(store, "a", FIRST, {"x": "2"}, events=events_of("a2"))
        assert await outbox_ids(store) == ["a1", "b1", "a2"]
        assert [position for position, _ in await store.outbox()] == [1, 2, 3]


async def test_several_relays_at_once(mongodb: MongoServer) -> None:
    """Each event is in the outbox once, positions have no gap, and the events of a group keep their order."""
    database = mongodb.new_database()
    async with (
        opened(mongodb.url, database) as one,
        opened(mongodb.url, database) as two,
        opened(mongodb.url, database) as three,
    ):
        epoch = await one.epoch()
        stores = (one, two, three)

        async def commit(who: int) -> None:
            for n in range(30):
                key = f"{who} {n % 3}"
                base = Revision(INCARNATION, n // 3) if n // 3 else None
                commits = [commit_to(key, base, {"x": "1"}, epoch=epoch, events=events_of(f"{key} {n}"))]
                assert await stores[who].commit(commits) == [Committed()]
                if n % 5 == 0:
                    await stores[n % 3].outbox()

        await asyncio.gather(*(commit(who) for who in range(3)))
        kept = await one.outbox()
        assert [position for position, _ in kept] == list(range(1, 91))
        ids = await outbox_ids(two)
        assert sorted(ids) == sorted(f"{who} {n % 3} {n}" for who in range(3) for n in range(30))
        for who in range(3):
            for group in range(3):
                of_group = [int(id.split()[2]) for id in ids if id.startswith(f"{who} {group} ")]
                assert of_group == sorted(of_group)


async def test_the_outbox_keeps_its_size(mongodb: MongoServer) -> None:
    """The oldest events go, in time; what is left is in order, and positions go on, after a flush too."""
    async with opened(mongodb.url, mongodb.new_database(), outbox_size=10) as store:
        for n in range(8):
            base = Revision(INCARNATION, n) if n else None
            await send(store, "a", base, {"x": "1"}, events=events_of(*(f"{n} {event}" for event in range(200))))
        kept = await store.outbox(limit=2000)
        assert [position for position, _ in kept][-1] == 1600
        assert len(kept) < 1000
        await store.flush()
        await store.put_definitions(SOME_DEFINITIONS)
        await send(store, "a", None, {"x": "1"}, incarnation=INCARNATION + 1, events=events_of("after"))
        assert [position for position, _ in await store.outbox()] == [1601]


async def test_what_was_written_amid_a_flush_is_not_there(mongodb: MongoServer) -> None:
    """A write that reaches the server after a flush, sent by one who had not heard of it, is stale."""
    database = mongodb.new_database()
    async with opened(mongodb.url, database) as one, opened(mongodb.url, database) as other:
        await send(other, "before", None, {"x": "1"})
        epoch = await other.epoch()
        late = commit_to("a", None, {"x": "late"}, epoch=epoch, events=events_of("late"), deadline=5.0)
        now = await one.flush()
        assert other._epochs.known == epoch, "it has not heard of it: it sends the write"
        assert await other.commit([late]) == [StaleEpoch(now)]
        async with AsyncMongoClient[dict[str, Any]](mongodb.url) as client:
            left = await client[database]["groups"].find_one({"_id": "a"})
            assert left is not None
            assert left["epoch"] == epoch, "it was too late to be deleted: nothing was shown otherwise"
        for store in (one, other):
            assert await store.load(["a"]) == {}
            assert [key async for key in store.keys("*")] == []
            assert (await store.due(9), await store.next_deadline(), await store.outbox()) == ([], None, [])
        await one.put_definitions(SOME_DEFINITIONS)
        assert isinstance(await send(one, "a", None, {"x": "new"}), Committed)
        assert (await read(other, "a")).rows == texts({"x": "new"})
        assert await other.outbox() == []


async def test_a_flush_that_died_is_ended_by_the_next_to_open(mongodb: MongoServer) -> None:
    """Between its two steps everything is out of sight already; what it left is deleted at the next start."""
    database = mongodb.new_database()
    async with opened(mongodb.url, database) as store:
        await send(store, "a", None, {"x": "1"})
        async with AsyncMongoClient[dict[str, Any]](mongodb.url) as client:
            meta, groups = client[database]["meta"], client[database]["groups"]
            await meta.update_one({"_id": "state"}, {"$inc": {"epoch": 1}, "$set": {"flushing": True}})
            assert await store.load(["a"]) == {}
            async with opened(mongodb.url, database):
                assert await groups.count_documents({}) == 0


async def test_a_change_of_before_a_flush_is_not_saved(mongodb: MongoServer) -> None:
    """A cache's late change does not bring back what was flushed: saving it raises, and nothing is seen of it."""
    database = mongodb.new_database()
    async with opened(mongodb.url, database) as one, opened(mongodb.url, database) as other:
        await one.flush()
        with pytest.raises(StoreUnavailable, match="flushed"):
            await other.save([change_to("a", FIRST, {"x": "1"})])
        assert await one.load(["a"]) == {}
        await other.save([change_to("a", Revision(INCARNATION, 2), {"x": "2"})])
        assert (await read(one, "a")).rows == texts({"x": "2"})


# --- the lease -------------------------------------------------------------------------------


async def test_a_holder_that_died_is_not_waited_for_long(mongodb: MongoServer) -> None:
    """Its lease runs out; meanwhile who wants it waits rather than being refused."""
    database = mongodb.new_database()
    async with (
        opened(mongodb.url, database, lease_seconds=1.5) as dead,
        opened(mongodb.url, database, lease_seconds=1.5) as next_one,
    ):
        await dead.lease(exclusive=True)
        renewing = dead._lease._renewing
        assert renewing is not None
        renewing.cancel()  # as if it had been killed
        await asyncio.wait_for(next_one.lease(exclusive=True), 10)
        with pytest.raises(StoreLeased, match='write="behind" needs it alone'):
            async with opened(mongodb.url, database, lease_seconds=1.5) as late:
                await late.lease(exclusive=True)


async def test_a_holder_that_slept_too_long_writes_no_more(mongodb: MongoServer) -> None:
    """A process that was taken for dead refuses to write when it wakes up."""
    database = mongodb.new_database()
    async with opened(mongodb.url, database, lease_seconds=1.5) as store:
        await store.lease(exclusive=True)
        async with AsyncMongoClient[dict[str, Any]](mongodb.url) as client:
            await client[database]["leases"].delete_many({})
        async with asyncio.timeout(10):
            while not store._lease.lost:
                await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailable, match="another process may have taken it"):
            await store.save([change_to("a", FIRST, {"x": "1"})])
        with pytest.raises(StoreUnavailable, match="another process may have taken it"):
            await send(store, "a", None, {"x": "1"})


async def test_of_many_that_want_it_alone_at_once_one_gets_it(mongodb: MongoServer) -> None:
    """However they overlap, never two, and not none."""
    database = mongodb.new_database()
    stores = [MongoDBDataStore(mongodb.url, database=database, lease_seconds=1.5) for _ in range(5)]
    try:
        for store in stores:
            await store.open(ManualClock(), 256)
        answers = await asyncio.gather(*(store.lease(exclusive=True) for store in stores), return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["NoneType"] + ["StoreLeased"] * 4
    finally:
        for store in stores:
            await store.aclose()


async def test_one_of_several_that_slept_goes_on(mongodb: MongoServer) -> None:
    """Where nobody has taken the database alone meanwhile, a process that shares it takes its share again."""
    database = mongodb.new_database()
    async with opened(mongodb.url, database, lease_seconds=1.5) as store:
        await store.lease(exclusive=False)
        async with AsyncMongoClient[dict[str, Any]](mongodb.url) as client:
            leases = client[database]["leases"]
            await leases.delete_many({})
            async with asyncio.timeout(10):
                while not await leases.count_documents({"held": True}):
                    await asyncio.sleep(0.01)
        assert isinstance(await send(store, "a", None, {"x": "1"}), Committed)


# --- closing -----------------------------------------------------------------------------


@pytest.mark.parametrize("leased", [False, True], ids=["closing", "letting the lease go"])
async def test_closing_that_is_cancelled_leaves_nothing_open(mongodb: MongoServer, leased: bool) -> None:
    """Who is cancelled while it closes a store, because the program ends, leaves no client open all the same."""
    host, port = mongodb.url.removeprefix("mongodb://").split(":")
    async with Proxy(host, int(port)) as proxy:
        url = f"mongodb://127.0.0.1:{proxy.port}"
        store = MongoDBDataStore(url, database=mongodb.new_database(), timeout=3.0)
        await store.open(ManualClock(), 256)
        if leased:
            await store.lease(exclusive=False)
        client = store._connection._owned
        proxy.fall_silent()
        closing = asyncio.create_task(store.aclose())
        await asyncio.sleep(0.05)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled() or not leased, "nothing keeps it from closing where there is no lease to give back"
        proxy.speak()
        assert client is not None
        assert client._closed, "the driver would warn of a client that was never closed"
