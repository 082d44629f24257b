"""The first six programs print the same on the adapters that they were written for: Redis and MongoDB."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from milepost import MemoryDataCache, MongoDBDataStore, RedisDataCache, TrackingManager
from tests.examples.programs import EXAMPLES, module_of, output_of
from tests.servers.mongodb import MongoServer
from tests.servers.valkey import ValkeyServer

WRITTEN_FOR_SERVERS = sorted(path.name for path in EXAMPLES.glob("0[1-6]_*.py"))

_databases = count()


@pytest.fixture(params=["Redis and MongoDB", "memory and MongoDB"])
def open_manager(
    request: pytest.FixtureRequest, redis_server: ValkeyServer, mongodb: MongoServer
) -> Callable[..., TrackingManager]:
    """Opens managers over the same empty place, each with connections of its own."""
    redis: dict[str, Any] = {"host": "127.0.0.1", "port": redis_server.port, "db": 1 + next(_databases) % 15}
    redis["key_prefix"] = f"example{next(_databases)}"
    database = mongodb.new_database()

    def opened(**settings: Any) -> TrackingManager:
        cache = RedisDataCache(**redis) if request.param.startswith("Redis") else MemoryDataCache()
        place: dict[str, Any] = (
            {"host": "127.0.0.1", "port": mongodb.port} if mongodb.is_ours else {"host": mongodb.url}
        )
        return TrackingManager(cache, MongoDBDataStore(**place, database=database), **settings)

    return opened


@pytest.mark.parametrize("program", WRITTEN_FOR_SERVERS)
async def test_prints_what_it_prints_in_memory(
    program: str,
    open_manager: Callable[..., TrackingManager],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Where groups are kept makes no difference to what a program says, and restarts forget nothing there either."""
    await module_of(program).main(open_manager)
    assert capsys.readouterr().out == output_of(EXAMPLES / program, tmp_path)


def test_work_is_shared_through_redis(redis_server: ValkeyServer, tmp_path: Path) -> None:
    """The program whose processes share work says the same of a Redis as of a file, and twice in a row."""
    program, url = EXAMPLES / "15_shared_work.py", f"redis://127.0.0.1:{redis_server.port}"
    said = output_of(program, tmp_path)
    assert [output_of(program, tmp_path, url) for _ in range(2)] == [said, said]


def test_all_six_are_run() -> None:
    """The first issue's six programs are there."""
    assert [program[:2] for program in WRITTEN_FOR_SERVERS] == ["01", "02", "03", "04", "05", "06"]
