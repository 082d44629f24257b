"""``milepost repartition``: what is in Redis, divided into another number of partitions."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from milepost import CountTracker, RedisDataCache, TrackingManager
from tests.cli.program import Run, only_line
from tests.servers.valkey import ValkeyServer

_prefixes = count()


@pytest.fixture
def url(redis_server: ValkeyServer) -> str:
    """Where Redis is."""
    return f"redis://127.0.0.1:{redis_server.port}/0"


@pytest.fixture
def prefix(url: str) -> str:
    """A prefix with three groups under it, in four partitions."""
    prefix = f"cli{next(_prefixes)}"

    async def fill() -> None:
        async with TrackingManager(RedisDataCache.from_url(url, key_prefix=prefix, partitions=4)) as manager:
            for n in range(3):
                await manager.add_tracker(f"g{n}", CountTracker("n", 10), expire=3600)

    asyncio.run(fill())
    return prefix


async def _look(url: str, prefix: str, partitions: int) -> int:
    async with TrackingManager(RedisDataCache.from_url(url, key_prefix=prefix, partitions=partitions)) as manager:
        return len([group async for group in manager.groups()])


def test_it_says_what_it_would_do_and_what_it_did(milepost: Run, url: str, prefix: str) -> None:
    """--dry-run says it, the command does it and says how much; once more there is nothing to do."""
    dry = milepost("repartition", url, 8, "--key-prefix", prefix, "--dry-run")
    assert (dry.status, dry.out) == (0, "would go from 4 to 8 partitions: 3 records to move; nothing was changed\n")
    done = milepost("repartition", url, 8, "--key-prefix", prefix)
    assert done.status == 0
    assert done.out.startswith("went from 4 to 8 partitions\nmoved 3 records, 3 events, 3 deadlines ")
    assert asyncio.run(_look(url, prefix, 8)) == 3
    again = milepost("repartition", url, 8, "--key-prefix", prefix)
    assert (again.status, again.out) == (0, "there are 8 partitions already\n")


def test_what_the_error_at_start_names_is_what_to_type(milepost: Run, url: str, prefix: str) -> None:
    """The command that the refusal of another number names works as it stands."""
    with pytest.raises(ValueError, match="partitions must be 4") as refused:
        asyncio.run(_look(url, prefix, 6))
    command = str(refused.value).split("`")[1].split()
    assert milepost(*command[1:]).status == 0
    assert asyncio.run(_look(url, prefix, 6)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("redis://127.0.0.1:1/0", 8), "127.0.0.1:1"),
        (("http://localhost", 8), "url must begin with redis://"),
        (("redis://localhost", 0), "'PARTITIONS'"),
        (("redis://localhost", "many"), "'PARTITIONS'"),
    ],
)
def test_what_cannot_be_done_is_one_line(milepost: Run, arguments: tuple[object, ...], message: str) -> None:
    """No server, another URL, and a number that is none end with status 2."""
    ran = milepost("repartition", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert message in only_line(ran.err)


def test_managers_that_run_are_named(milepost: Run, url: str, prefix: str) -> None:
    """While a manager has the data open the command refuses, and names --force."""

    async def refused() -> None:
        async with TrackingManager(RedisDataCache.from_url(url, key_prefix=prefix, partitions=4)):
            ran = await asyncio.to_thread(milepost, "repartition", url, 8, "--key-prefix", prefix)
            assert (ran.status, ran.out) == (2, "")
            assert "--force" in only_line(ran.err)

    asyncio.run(refused())
