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
    Memory,
    MongoDBBehind,
    MongoDBEvicting,
    SQLiteBehind,
    SQLiteBehindEvicting,
    SQLiteEvicting,
    SQLiteThrough,
)
from tests.model.doses import dose
from tests.model.machine import EngineMachine
from tests.servers.mongodb import MongoServer


class ModelSuite:
    """What every backend must pass; a subclass names the backend."""

    backend: type[Backend]

    @pytest.mark.timeout(3600 if dose.full else 420)
    def test_every_history_goes_as_the_model_says(self) -> None:
        """Whatever is done in whatever order, answers, events and readings are a small model's."""
        run_state_machine_as_test(lambda: EngineMachine(self.backend), settings=dose.histories)


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


class OnMongoDB(ModelSuite):
    @pytest.fixture(autouse=True)
    def _server(self, mongodb: MongoServer) -> None:
        MongoDBEvicting.server = mongodb


class TestMongoDBEvicting(OnMongoDB):
    backend = MongoDBEvicting


class TestMongoDBBehind(OnMongoDB):
    backend = MongoDBBehind
