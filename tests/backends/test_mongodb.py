"""The MongoDB store keeps what adapters promise, with a client of its own, PyMongo's and Motor's, and on mongomock."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mongomock.collection import BulkOperationBuilder
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

from milepost.data_stores.mongodb import MongoDBDataStore
from milepost.testing.suites import DataStoreSuite
from tests.servers.mongodb import MongoServer


class WireSuite(DataStoreSuite):
    """Over the wire; each test has a database of its own."""

    lasting = shared = leased = True

    @pytest.fixture(autouse=True)
    async def _own_database(self, mongodb: MongoServer) -> AsyncIterator[None]:
        self.server = mongodb
        self.settings = {"database": mongodb.new_database(), "lease_seconds": 2}
        yield
        async with AsyncMongoClient(mongodb.url) as client:
            await client.drop_database(self.settings["database"])


class TestMongoDBDataStore(WireSuite):
    def connect(self) -> MongoDBDataStore:
        return MongoDBDataStore(self.server.url, **self.settings)


class HandedInSuite(WireSuite):
    """With a client that is handed in, shared by all stores of a test, and closed by nobody but its owner."""

    client_class: type[Any]

    @pytest.fixture(autouse=True)
    async def _client(self, mongodb: MongoServer) -> AsyncIterator[None]:
        self.client = self.client_class(mongodb.url)
        yield
        assert (await self.client["admin"].command("ping"))["ok"], "it is still open"
        closing = self.client.close()
        if inspect.isawaitable(closing):
            await closing

    def connect(self) -> MongoDBDataStore:
        return MongoDBDataStore(client=self.client, **self.settings)


class TestWithPyMongo(HandedInSuite):
    client_class = AsyncMongoClient


class TestWithMotor(HandedInSuite):
    client_class = AsyncIOMotorClient


class TestOnMongomock(DataStoreSuite):
    """On mongomock-motor, which nobody should rely on, but which many have in their tests."""

    lasting = shared = leased = True

    @pytest.fixture(autouse=True)
    def _client(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client = AsyncMongoMockClient()
        add_update = BulkOperationBuilder.add_update

        def add_update_of_today(self: Any, *args: Any, sort: None = None, **kwargs: Any) -> Any:
            """Take what PyMongo hands on since 4.11; mongomock 4.3 does not know it yet."""
            return add_update(self, *args, **kwargs)

        monkeypatch.setattr(BulkOperationBuilder, "add_update", add_update_of_today)

    def connect(self) -> MongoDBDataStore:
        return MongoDBDataStore(client=self.client, lease_seconds=2)

    test_a_batch_has_independent_outcomes = None  # its bulk_write tells the wrong index of what was upserted
