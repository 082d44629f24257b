"""Models are found by their fields: exactly those that are stored now, without all others being read."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import pytest
from pydantic import Field

from milepost import MemoryDataCache, MongoDBDataStore, RedisDataCache, SQLiteDataStore, TrackedModel, TrackingManager
from milepost.records import LoadedRecord
from milepost.testing import ManualClock
from tests.conftest import WAYS, Place
from tests.servers.mongodb import MongoServer
from tests.servers.valkey import ValkeyServer


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Thing(TrackedModel):
    _collection = "things"

    name: str = ""
    number: int = 0
    owner: UUID | None = None
    color: Color = Color.RED
    level: Level = Level.LOW
    size: Literal["s", "m"] = "s"
    short: Annotated[str, Field(max_length=1000)] = ""
    price: Decimal = Decimal(0)
    weight: float = 0.0
    active: bool = False
    either: int | bool = 0
    at: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    tags: set[str] = Field(default_factory=set)


BEHIND = ("redis before sqlite", "redis before mongodb")


@pytest.fixture(params=[*WAYS, *BEHIND])
async def manager(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> AsyncIterator[TrackingManager]:
    """A started manager, over each way to keep models, a cache in front of a store that follows among them."""
    way: str = request.param
    if way in BEHIND:
        redis: ValkeyServer = request.getfixturevalue("redis_server")
        store: Any = SQLiteDataStore(tmp_path / "t.db", synchronous="OFF")
        if way.endswith("mongodb"):
            mongodb: MongoServer = request.getfixturevalue("mongodb")
            store = MongoDBDataStore(mongodb.url, prefix=f"{tmp_path.name}.")
        cache = RedisDataCache("127.0.0.1", redis.port, key_prefix=f"{tmp_path.name}.{way[-6:]}")
        made = TrackingManager(cache, store, clock=clock)
    else:
        servers = {"redis": "redis_server", "mongodb": "mongodb"}
        server = request.getfixturevalue(servers[way]) if way in servers else None
        made = Place(way, clock, tmp_path, server).manager()
    async with made as manager:
        Thing.bind(manager)
        Later.bind(manager)
        yield manager
        Thing.bind(None)
        Later.bind(None)


async def ids(**fields: Any) -> list[str]:
    """Return the ids of what is found; that each way to ask says the same is checked."""
    found = [thing.id for thing in await Thing.find(fields)]
    one = await Thing.find_one(fields)
    assert (None if one is None else one.id) == (found[0] if found else None)
    assert await Thing.count(fields) == len(found)
    return found


async def test_every_kind_of_field(manager: TrackingManager) -> None:
    """Values that are equal are found, however they are written, and whatever the type of the field."""
    owner = UUID(int=7)
    await Thing(id="1").create()
    await Thing(
        id="2",
        name="a",
        number=7,
        owner=owner,
        color=Color.BLUE,
        level=Level.HIGH,
        size="m",
        short="x" * 900,
        price=Decimal("1.50"),
        weight=2,
        active=True,
        either=True,
        at=datetime(2025, 1, 1, tzinfo=UTC),
        tags={"x", "y"},
    ).create()
    same: dict[str, list[Any]] = {
        "name": ["a"],
        "number": [7, 7.0, "7"],
        "owner": [owner, str(owner), str(owner).upper()],
        "color": [Color.BLUE, "blue"],
        "level": [Level.HIGH, 2],
        "size": ["m"],
        "short": ["x" * 900],
        "price": [Decimal("1.5"), "1.500", 1.5],
        "weight": [2, 2.0],
        "active": [True],
        "either": [True, 1],
        "at": [datetime(2025, 1, 1, tzinfo=UTC), "2025-01-01T02:00:00+02:00"],
        "tags": [{"y", "x"}, ["x", "y"]],
        "id": ["2"],
    }
    for field, values in same.items():
        for value in values:
            assert await ids(**{field: value}) == ["2"], (field, value)
    assert await ids(owner=None, name="") == ["1"]
    assert await ids(number="seven") == await ids(color="green") == await ids(name="a", number=8) == []
    assert await ids(name="a", price="1.5", number=7) == ["2"]


async def test_the_newest_is_found(manager: TrackingManager) -> None:
    """What one was told is stored is found, and what was changed or deleted is not, before it was flushed and after."""
    for n in range(5):
        await Thing(id=f"{n}", name="old").create()
    await manager.settle()
    for flushed in (False, True):
        first = await Thing.get("1")
        last = await Thing.get("3")
        assert first is not None
        assert last is not None
        await first.update(name=f"new {flushed}")
        assert await ids(name=f"new {flushed}") == ["1"]
        assert "1" not in await ids(name="old")
        await last.delete()
        assert "3" not in await ids(name="old")
        await Thing(id="3", name="old", number=1).create()
        assert await ids(name="old") == ["0", "2", "3", "4"]
        assert await ids(number=1) == ["3"]
        assert await ids() == ["0", "1", "2", "3", "4"]
        if manager._flusher is not None:
            await manager._flusher.flush()
    await (await manager.subject("things:3")).set("number", 9.0)
    assert await ids(number=9) == ["3"], "somebody set the property by hand"


class Later(TrackedModel):
    """The same models as ``Thing`` stored them, with a field that they did not have then."""

    _collection: ClassVar[str] = "things"

    name: str = ""
    state: str = "new"
    rank: int = Field(default_factory=lambda: 3)


async def test_a_field_that_was_added_later(manager: TrackingManager) -> None:
    """Models that were stored before have its default, and are found by it."""
    await Thing(id="1", name="a").create()
    await Later(id="2", name="a", state="done", rank=4).create()
    assert [one.id for one in await Later.find(state="new")] == ["1"]
    assert [one.id for one in await Later.find(state="new", name="a")] == ["1"]
    assert [one.id for one in await Later.find(state="done")] == ["2"]
    assert [one.id for one in await Later.find(rank=3)] == ["1"]
    assert await Later.count(state="new") == await Later.count(rank=4) == 1


async def test_what_does_not_match_is_not_read(manager: TrackingManager) -> None:
    """By an index, where the store has one; what a cache has not told its store is read, and no more."""
    for n in range(60):
        await Thing(id=f"{n}", name=f"name {n}", number=n % 2).create()
    if manager._flusher is not None:
        await manager._flusher.flush()
    await Thing(id="fresh", name="fresh").create()
    read: list[str] = []
    load = manager._authority.load

    async def counted(keys: Sequence[str]) -> dict[str, LoadedRecord]:
        read.extend(keys)
        return await load(keys)

    manager._authority.load = counted  # type: ignore[method-assign]
    unseen = 0 if manager._leader is None else 1
    assert [thing.id for thing in await Thing.find(name="name 17")] == ["17"]
    if manager.data_cache is manager._authority and unseen == 0:
        assert len(read) == 61, "Redis alone has nothing to look up by"
        return
    assert len(read) == 1 + unseen
    read.clear()
    one = await Thing.find_one(number=1)
    assert one is not None
    assert one.id == "1"
    assert len(read) == 1
    read.clear()
    assert await Thing.count(number=1) == 30
    assert len(read) == (31 if unseen else 0)


async def test_sqlite_uses_its_index(tmp_path: Path, clock: ManualClock) -> None:
    """The file is asked by the index over short properties, which takes none of what trackers write."""
    path = tmp_path / "t.db"
    statements: list[str] = []
    store = SQLiteDataStore(path, synchronous="OFF")
    async with TrackingManager(MemoryDataCache(), store, clock=clock) as manager:
        Thing.bind(manager)
        await Thing(id="1", name="a", color=Color.BLUE).create()
        await store._client.read(lambda connection: connection.set_trace_callback(statements.append))
        await Thing.find(name="a", color="blue")
        Later.bind(manager)
        await Later.find(state="new")
        Later.bind(None)
        Thing.bind(None)
    asked = [statement for statement in statements if "AS found" in statement]
    assert asked
    with closing(sqlite3.connect(path)) as connection:
        for statement in asked:
            plan = " ".join(row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
            assert "USING COVERING INDEX rows_by_value (name=? AND body=? AND key>?" in plan, plan
            assert "TEMP B-TREE" not in plan, plan
