"""Redis: one caller, 64 groups at once, and one group that four processes share.

All contenders are on one server, in turns. The floors are scripts that compare a revision and write what a call has to
leave, called through redis.asyncio without an engine around them: one a round trip, and 64 in one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median
from time import perf_counter
from typing import Any, Final

from benchmarks.figures import Figure, Row, Target
from benchmarks.measuring import Effort, rates
from benchmarks.redis_server import redis_server, server_binary
from benchmarks.redis_worker import CALLERS, EVENT, NEVER, login_tracker, redis_manager
from milepost import TrackingManager

__all__ = ["CALLERS_ROW", "GROUPS_ROW", "SHARED_ROW"]

_GROUPS: Final = 64
_CALLS: Final = 2_000
_CALLS_AT_ONCE: Final = 19_200
_PROCESSES: Final = 4
_SHARED_CALLS: Final = 400_000

_ONE: Final = """
local standing = redis.call('HGET', KEYS[1], 'm')
if standing and standing ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'm', ARGV[2], 'c', ARGV[3], 'r', ARGV[4])
return 1
"""
_MANY: Final = """
local replies = {}
for n, key in ipairs(KEYS) do
  local at = 4 * n - 3
  local standing = redis.call('HGET', key, 'm')
  if standing and standing ~= ARGV[at] then
    replies[n] = 0
  else
    redis.call('HSET', key, 'm', ARGV[at + 1], 'c', ARGV[at + 2], 'r', ARGV[at + 3])
    replies[n] = 1
  end
end
return replies
"""
_ROW: Final = '["dddddddddddddddddddddd",12,0,1700000000.123,1700000000000000,1,1700000000.5]'


async def _total(manager: TrackingManager, groups: Sequence[str]) -> int:
    found = [await manager.get_tracker(group, "logins") for group in groups]
    return sum(int(tracker.progress) for tracker in found if tracker is not None)


async def _beside_floor(port: int, effort: Effort, groups: int, calls: int, script: str) -> dict[str, float]:
    from redis.asyncio import Redis

    async with AsyncExitStack() as stack:
        manager = await redis_manager(stack, port, f"bench{groups}")
        names = [f"user:{n}" for n in range(groups)]
        for name in names:
            await manager.add_tracker(name, login_tracker())
        client = await stack.enter_async_context(Redis(host="127.0.0.1", port=port))
        sha = await client.script_load(script)
        keys = [f"floor:{groups}:{name}" for name in names]
        counted = 0

        async def caller(name: str) -> None:
            for _ in range(calls // groups):
                await manager.track(name, EVENT)

        async def milepost() -> int:
            nonlocal counted
            if groups == 1:
                await caller(names[0])
            else:
                await asyncio.gather(*map(caller, names))
            counted += calls // groups * groups
            return calls // groups * groups

        revision = 0

        async def floor() -> int:
            nonlocal revision
            for _ in range(calls // groups):
                arguments: list[Any] = []
                for _ in range(groups):
                    arguments += (str(revision), str(revision + 1), b"8 bytes.", _ROW)
                revision += 1
                replies = await client.evalsha(sha, groups, *keys, *arguments)
                assert replies == 1 or set(replies) == {1}
            return calls // groups * groups

        measured = await rates({"milepost": milepost, "floor": floor}, effort.repeats)
        total = await _total(manager, names)
        assert total == counted, f"{total} counted of {counted}"
        return measured


def _dictrack(port: int, calls: int) -> float | None:
    """Return how many calls a second dictrack makes on the same server; None where it is not installed."""
    from benchmarks.dictrack_peer import dictrack_manager_on_redis, dictrack_tracker

    with dictrack_manager_on_redis(port) as manager:
        if manager is None:
            return None
        manager.add_tracker("user:1", dictrack_tracker()("logins", NEVER, "event_type", "login"))
        began = perf_counter()
        for _ in range(calls):
            manager.track("user:1", dict(EVENT))
        return calls / (perf_counter() - began)


_NO_DICTRACK: Final = "dictrack is not installed with Redis: pip install dictrack python-redis-lock"


def _measure_one(effort: Effort) -> list[Figure]:
    binary = server_binary()
    if binary is None:
        return []
    calls = effort.size(_CALLS)
    with redis_server(binary) as port:
        measured = asyncio.run(_beside_floor(port, effort, 1, calls, _ONE))
        peer = _dictrack(port, max(1, calls // 4))
    ours = measured["milepost"]
    return [
        Figure("one raw EVALSHA round trip", "us/call", 1e6 / ours, 1e6 / measured["floor"], Target("at most", 1.25)),
        Figure("dictrack", "calls/s", ours, peer, note=_NO_DICTRACK if peer is None else ""),
    ]


def _measure_groups(effort: Effort) -> list[Figure]:
    binary = server_binary()
    if binary is None:
        return []
    calls = max(1, effort.size(_CALLS_AT_ONCE) // _GROUPS) * _GROUPS
    with redis_server(binary) as port:
        measured = asyncio.run(_beside_floor(port, effort, _GROUPS, calls, _MANY))
        peer = _dictrack(port, max(1, calls // 40))
    ours = measured["milepost"]
    return [
        Figure("the same rows, raw, 64 a script", "calls/s", ours, measured["floor"], Target("at least", 0.5)),
        Figure("dictrack", "calls/s", ours, peer, Target("at least", 40), note=_NO_DICTRACK if peer is None else ""),
    ]


async def _share(port: int, prefix: str, calls: int) -> float:
    """Return how many calls a second four processes made in all; every count is checked."""
    each = max(1, calls // _PROCESSES // CALLERS) * CALLERS
    async with AsyncExitStack() as stack:
        manager = await redis_manager(stack, port, prefix)
        await manager.add_tracker("shared", login_tracker())
        command = [sys.executable, "-m", "benchmarks.redis_worker", str(port), prefix, str(each)]
        pipe = asyncio.subprocess.PIPE
        workers = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in range(_PROCESSES)]
        for worker in workers:
            assert worker.stdout is not None
            assert await worker.stdout.readline() == b"ready\n"
        began = perf_counter()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(b"go\n")
        for worker in workers:
            assert worker.stdout is not None
            assert await worker.stdout.readline() == b"done\n"
        took = perf_counter() - began
        for worker in workers:
            assert await worker.wait() == 0
        total, expected = await _total(manager, ["shared"]), _PROCESSES * (each + 1)
        assert total == expected, f"{total} counted of {expected}"
        return _PROCESSES * each / took


def _measure_shared(effort: Effort) -> list[Figure]:
    binary = server_binary()
    if binary is None:
        return []
    with redis_server(binary) as port:
        turns = range(max(1, effort.repeats // 3))
        measured = [asyncio.run(_share(port, f"shared{turn}", effort.size(_SHARED_CALLS))) for turn in turns]
    return [
        Figure("in all, every count exact", "calls/s", median(measured), target=Target("at least", 150_000, of="value"))
    ]


CALLERS_ROW: Final = Row("redis-one-caller", "Redis, one caller, 1 tracker", _measure_one)
GROUPS_ROW: Final = Row("redis-groups", "Redis, 64 groups at once, one process", _measure_groups)
SHARED_ROW: Final = Row("redis-shared", "Redis, ONE group, 4 processes x 100 callers", _measure_shared)
