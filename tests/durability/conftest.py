"""Where several processes can keep groups together."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.servers.mongodb import MongoServer
from tests.servers.valkey import ValkeyServer

_prefixes = count()


@pytest.fixture(params=["sqlite", "mongodb"])
def shared_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A file, and a database's URL."""
    if request.param == "sqlite":
        return tmp_path / "t.db"
    server: MongoServer = request.getfixturevalue("mongodb")
    return server.url_of(server.new_database())


@pytest.fixture(params=["sqlite", "redis"])
def stream_place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Where several processes can share a durable consumer's work; see ``consumer.transport_at``."""
    if request.param == "sqlite":
        return {"path": str(tmp_path / "t.db")}
    server: ValkeyServer = request.getfixturevalue("redis_server")
    return {"url": f"redis://127.0.0.1:{server.port}", "key_prefix": f"durable{next(_prefixes)}"}
