"""The set-up of a test: by default each of them in turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interleavings.setups import SETUPS, SetUp


@pytest.fixture(params=SETUPS)
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> SetUp:
    """An empty place in one of the set-ups; ``@pytest.mark.parametrize("setup", ..., indirect=True)`` chooses."""
    way: str = request.param
    port = request.getfixturevalue("redis_server").port if "redis" in way else 0
    url, database = "", ""
    if "mongodb" in way:
        server = request.getfixturevalue("mongodb")
        url, database = server.url, server.new_database()
    return SetUp(way, port, url, database, tmp_path)
