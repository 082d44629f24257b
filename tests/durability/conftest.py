"""Where several processes can keep groups together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.mongodb import MongoServer


@pytest.fixture(params=["sqlite", "mongodb"])
def shared_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A file, and a database's URL."""
    if request.param == "sqlite":
        return tmp_path / "t.db"
    server: MongoServer = request.getfixturevalue("mongodb")
    return server.url_of(server.new_database())
