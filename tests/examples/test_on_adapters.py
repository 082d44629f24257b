"""The six programs print the same on the adapters that they were written for: Redis or memory, over MongoDB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.examples.test_examples import EXAMPLES, PROGRAMS, output_of
from tests.servers.mongodb import MongoServer

RUNNER = Path(__file__).with_name("on_adapters.py")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS[:6])
@pytest.mark.parametrize("cache", ["memory", "redis"])
def test_prints_the_same_over_mongodb(
    program: str, cache: str, mongodb: MongoServer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """What a program shows does not depend on where its groups are kept."""
    if not mongodb.is_ours:
        pytest.skip("MILEPOST_TEST_MONGODB_URL names a server that may want more than a host and a port")
    ports = [mongodb.port, *([request.getfixturevalue("redis_server").port] if cache == "redis" else [])]
    database = mongodb.new_database()
    done = subprocess.run(
        [sys.executable, "-W", "error", str(RUNNER), str(EXAMPLES / program), cache, database]
        + [str(port) for port in ports],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == output_of(EXAMPLES / program, tmp_path)
    with MongoClient[dict[str, Any]](mongodb.url) as client:
        assert client[database]["groups"].count_documents({}), "its groups are in MongoDB"
