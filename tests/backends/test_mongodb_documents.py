"""What MongoDB is given to keep: documents that people and other tools can read and query."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from milepost import (
    AccumulationTracker,
    BaseLimiter,
    CountTracker,
    KeyValueEQ,
    MongoDBDataStore,
    RecordTooLarge,
    TrackingManager,
    UndecodableError,
)
from milepost.backends.mongodb import writer
from milepost.data_stores import mongodb
from milepost.testing import ManualClock
from tests.servers.mongodb import MongoServer


class Budget(BaseLimiter, kind="tests.documents.Budget"):
    """A limiter that remembers what MongoDB takes for no field names."""

    def __init__(self) -> None:
        self.spent: dict[str, Any] = {}

    def post_track(self, data: Any, tracker: Any) -> bool:
        self.spent = {**self.spent, "a.b": 1, "$set": {"": [Decimal("0.10"), {"json": "x"}]}, "nul\0": 2**62}
        return True


class Database:
    """A database of the test's own, as milepost opens it and as others see it."""

    def __init__(self, server: MongoServer, client: AsyncMongoClient[dict[str, Any]]) -> None:
        self.server = server
        self.name = server.new_database()
        self.seen = client[self.name]
        self.clock = ManualClock()

    def store(self, **settings: Any) -> MongoDBDataStore:
        return MongoDBDataStore(self.server.url, database=self.name, **settings)

    def manager(self, **settings: Any) -> TrackingManager:
        return TrackingManager(data_store=self.store(**settings), clock=self.clock)

    async def group(self, group: str) -> dict[str, Any]:
        found = await self.seen["groups"].find_one({"_id": group})
        assert found is not None
        return found


@pytest.fixture
async def database(mongodb: MongoServer) -> AsyncIterator[Database]:
    """An empty database."""
    async with AsyncMongoClient[dict[str, Any]](mongodb.url) as client:
        database = Database(mongodb, client)
        yield database
        await client.drop_database(database.name)


def logins(*targets: int) -> CountTracker:
    """Return the tracker of which these tests tell."""
    return CountTracker(name="logins", target=list(targets), conditions=[KeyValueEQ(key="event", value="login")])


async def test_a_group_is_a_document_that_people_can_read(database: Database) -> None:
    """Its trackers are sub-documents with name, kind, definition, progress, stage from 1 and times in seconds."""
    async with database.manager() as manager:
        await manager.add_tracker("user_001", logins(2, 10), expire=60)
        for _ in range(3):
            await manager.track("user_001", {"event": "login"}, event_id="once")
            await manager.track("user_001", {"event": "login"})
        now = database.clock.time()
        document = await database.group("user_001")
        (tracker,) = document["trackers"]
        assert (tracker["name"], tracker["kind"]) == ("logins", "CountTracker")
        assert (tracker["progress"], tracker["stage"], tracker["limited"]) == (4, 2, 0)
        assert (tracker["added_at"], tracker["updated_at"], tracker["expires_at"]) == (now, now, now + 60)
        assert (document["deadline"], document["counter"], len(document["seen"])) == (now + 60, 5, 1)
        definition = await database.seen["definitions"].find_one({"_id": tracker["definition"]})
        assert definition is not None
        assert (definition["kind"], definition["name"]) == ("CountTracker", "logins")
        assert '"target":[2,10]' in definition["body"]
        assert len(await manager.data_store.outbox()) == 2
        events = await database.seen["outbox"].find().sort("_id", 1).to_list(None)
        assert [(event["group"], event["type"]) for event in events] == [
            ("user_001", "tracker.added"),
            ("user_001", "tracker.stage_completed"),
        ]


async def test_every_group_whose_logins_is_in_stage_2(database: Database) -> None:
    """That question has its index, and the answer is right for groups that got there, passed on, or have others."""
    async with database.manager() as manager:
        for group, times in (("one", 1), ("two", 2), ("still two", 3), ("three", 4), ("done", 6)):
            await manager.add_trackers(group, [CountTracker(name="other", target=[1, 9]), logins(2, 4, 6)])
            for _ in range(times):
                await manager.track(group, {"event": "login"})
        question = {"trackers": {"$elemMatch": {"name": "logins", "stage": 2}}}
        found = await database.seen["groups"].find(question, {"_id": 1}).to_list(None)
        assert sorted(item["_id"] for item in found) == ["still two", "two"]
        indexes = await database.seen["groups"].index_information()
        assert [("trackers.name", 1), ("trackers.stage", 1)] in [index["key"] for index in indexes.values()]
        version = (await database.seen.client.server_info())["version"]
        if not database.server.is_mongo_java_server:
            plan = await database.seen["groups"].find(question).explain()
            assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"]), version


async def test_state_that_is_no_field_name_survives(database: Database) -> None:
    """A limiter may remember keys with dots, dollars and NULs, and exact values: a restart keeps them."""
    async with database.manager() as manager:
        tracker = AccumulationTracker(name="t", key="n", target=100, exact=True, limiters=[Budget()])
        await manager.add_tracker("g", tracker)
        await manager.track("g", {"n": "0.1"})
        remembered = (await manager.get_trackers("g"))[0].limiters[0].spent
    async with database.manager() as manager:
        (tracker,) = await manager.get_trackers("g")
        assert tracker.progress == Decimal("0.1")
        assert tracker.limiters[0].spent == remembered
        assert remembered["$set"] == {"": [Decimal("0.10"), {"json": "x"}]}
        assert (await manager.track("g", {"n": "0.2"})).dirtied[0].progress == Decimal("0.3")


async def test_what_cannot_be_read_is_named_and_stays(database: Database) -> None:
    """A tracker that somebody has spoilt raises an error that names it; its siblings work, and it is left as it is."""
    async with database.manager() as manager:
        await manager.add_trackers("g", [CountTracker(name=name, target=10) for name in ("a", "spoilt", "b")])
        where = {"_id": "g", "trackers.name": "spoilt"}
        await database.seen["groups"].update_one(where, {"$set": {"trackers.$.stage": "x", "trackers.$.progress": []}})
    async with database.manager() as manager:
        with pytest.raises(UndecodableError, match="'spoilt' of group 'g'"):
            await manager.get_trackers("g", "spoilt")
        assert [tracker.name for tracker in await manager.get_trackers("g", ["a", "b"])] == ["a", "b"]
        await manager.remove_tracker("g", "a")
        document = await database.group("g")
        assert [(item["name"], item["stage"]) for item in document["trackers"]] == [("spoilt", "x"), ("b", 1)]


async def test_a_group_has_room_for_what_it_has(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackers that do not fit are refused, saying so; what is there goes on moving, as do other groups."""
    monkeypatch.setattr(writer, "_FOR_MOVING", writer._LIMIT - 100_000)
    monkeypatch.setattr(mongodb, "_RELAY_AFTER", 3600)  # events stay in their groups, unless room is needed
    async with database.manager() as manager:
        await manager.add_trackers("full", [CountTracker(name=f"a{n}", target=5) for n in range(300)])
        refused, other, moved = await asyncio.gather(
            manager.add_trackers("full", [CountTracker(name=f"b{n}", target=5) for n in range(300)]),
            manager.add_tracker("other", CountTracker(name="t", target=5)),
            manager.track("another", {}),
            return_exceptions=True,
        )
        assert isinstance(refused, RecordTooLarge)
        assert "'full'" in str(refused)
        assert "100,000 are allowed" in str(refused)
        assert not isinstance(other, BaseException)
        assert not isinstance(moved, BaseException)
        assert len((await manager.track("full", {})).dirtied) == 300
        assert len(await manager.get_trackers("full")) == 300
        await manager.remove_tracker("full", [f"a{n}" for n in range(200)])
        await manager.add_trackers("full", [CountTracker(name=f"b{n}", target=5) for n in range(100)])
    async with database.manager() as manager:
        assert len(await manager.get_trackers("full")) == 200


async def test_a_database_of_a_newer_milepost_is_left_alone(database: Database) -> None:
    """What a later version has laid out differently is not opened."""
    async with database.manager():
        pass
    await database.seen["meta"].update_one({"_id": "state"}, {"$set": {"layout": 99}})
    with pytest.raises(Exception, match=r"newer milepost \(layout 99, known: 1\)"):
        await database.manager().start()


async def test_a_prefix_keeps_two_apart_in_one_database(database: Database) -> None:
    """Collections begin with the prefix; a flush deletes nothing of the other's."""
    async with database.manager(prefix="one_") as one, database.manager(prefix="two_") as two:
        for manager in (one, two):
            await manager.add_tracker("g", CountTracker(name="t", target=5))
        await one.flush(confirm=True)
        assert await one.get_trackers("g") == []
        assert len(await two.get_trackers("g")) == 1
    names = await database.seen.list_collection_names()
    assert all(name.startswith(("one_", "two_")) for name in names)


async def test_what_is_left_of_a_removed_group_goes_in_time(database: Database) -> None:
    """A tombstone keeps the past away for a while, holds nothing but that, and is deleted when nobody needs it."""
    async with database.manager() as manager:
        await manager.add_tracker("g", CountTracker(name="t", target=5), expire=60)
        await manager.remove_tracker("g")
        left = await database.group("g")
        assert (left["trackers"], left["seen"], "deadline" in left) == ([], [], False)
        store = manager.data_store
        assert isinstance(store, MongoDBDataStore)
        await store.outbox()
        await store._forget_removals()
        assert await database.group("g"), "it is young"
        await database.seen["groups"].update_one(
            {"_id": "g"}, {"$set": {"removed_at": left["removed_at"].replace(year=2001)}}
        )
        await store._forget_removals()
        assert await database.seen["groups"].find_one({"_id": "g"}) is None
