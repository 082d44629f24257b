"""The engine against a small independent model, over every backend (TARGETS, survive 5).

hypothesis makes up a history of operations; after each the answers, the events, and what can be
read must be the model's. A failure prints what replays it.

In CI the histories are the same every time; elsewhere they are new ones, and ``MILEPOST_DOSE=full`` makes many more.
"""

from __future__ import annotations

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.model.backends import (
    Backend,
    FakeRedis,
    Memory,
    MongoDBBehind,
    MongoDBEvicting,
    MongoDBThrough,
    Redis,
    RedisBeforeMongoDB,
    RedisLettingGoBeforeMongoDB,
    SQLiteBehind,
    SQLiteBehindEvicting,
    SQLiteEvicting,
    SQLiteThrough,
)
from tests.model.doses import dose
from tests.model.machine import EngineMachine
from tests.servers.mongodb import MongoServer
from tests.servers.valkey import ValkeyServer


class ModelSuite:
    """What every backend must pass; a subclass names the backend."""

    backend: type[Backend]
    histories = dose.histories

    @pytest.mark.timeout(3600 if dose.full else 420)
    def test_every_history_goes_as_the_model_says(self) -> None:
        """Whatever is done in whatever order, answers, events and readings are a small model's."""
        run_state_machine_as_test(lambda: EngineMachine(self.backend), settings=self.histories)


class TestMemory(ModelSuite):
    backend = Memory


class TestSQLiteThrough(ModelSuite):
    backend = SQLiteThrough


class TestSQLiteEvicting(ModelSuite):
    backend = SQLiteEvicting


class TestSQLiteBehind(ModelSuite):
    backend = SQLiteBehind


class TestSQLiteBehindEvicting(ModelSuite):
    backend = SQLiteBehindEvicting


class TestFakeRedis(ModelSuite):
    backend = FakeRedis
    histories = dose.remote_histories


class TestRedis(ModelSuite):
    histories = dose.remote_histories

    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: ValkeyServer) -> None:
        self.backend = type("Redis", (Redis,), {"server": redis_server})


class OnMongoDB(ModelSuite):
    histories = dose.remote_histories
    on: type[MongoDBThrough]

    @pytest.fixture(autouse=True)
    def _use_server(self, mongodb: MongoServer) -> None:
        self.backend = type(self.on.__name__, (self.on,), {"mongodb": mongodb})


class TestMongoDBThrough(OnMongoDB):
    on = MongoDBThrough


class TestMongoDBEvicting(OnMongoDB):
    on = MongoDBEvicting


class TestMongoDBBehind(OnMongoDB):
    on = MongoDBBehind


class OnBoth(ModelSuite):
    histories = dose.remote_histories
    on: type[RedisBeforeMongoDB]

    @pytest.fixture(autouse=True)
    def _use_servers(self, redis_server: ValkeyServer, mongodb: MongoServer) -> None:
        self.backend = type(self.on.__name__, (self.on,), {"server": redis_server, "mongodb": mongodb})


class TestRedisBeforeMongoDB(OnBoth):
    on = RedisBeforeMongoDB


class TestRedisLettingGoBeforeMongoDB(OnBoth):
    on = RedisLettingGoBeforeMongoDB
