"""Poison jobs: those that always fail are tried exactly as often as allowed, kept, and can be run again."""

from __future__ import annotations

from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from milepost import (
    Event,
    EventBus,
    EventContext,
    MemoryTransport,
    RedisTransport,
    RetryPolicy,
    SQLiteTransport,
    Transport,
)
from milepost.testing import ManualClock
from tests.durability.doses import dose, seeded
from tests.servers.valkey import ValkeyServer

RETRIES = 3
_prefixes = count()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Transport:
    """Each transport, empty."""
    if request.param == "memory":
        return MemoryTransport(size=100_000)
    if request.param == "sqlite":
        return SQLiteTransport(tmp_path / "e.db", synchronous="OFF")
    server: ValkeyServer = request.getfixturevalue("redis_server")
    return RedisTransport("127.0.0.1", server.port, key_prefix=f"poison{next(_prefixes)}")


@pytest.mark.slow
@pytest.mark.survival
@pytest.mark.parametrize("durable", [None, "workers"])
async def test_poison_jobs(transport: Transport, durable: str | None, clock: ManualClock) -> None:
    """One in twenty always fails: ``max_retries + 1`` attempts each, all in the failed list, all retryable."""
    kind = type(transport).__name__
    chance = seeded(f"poison {kind} {durable}")
    jobs = dose(400, 10_000)
    poison = {f"job {n}" for n in chance.sample(range(jobs), jobs // 20)}
    attempts: Counter[str] = Counter()
    mended = False
    async with EventBus(transport, clock=clock) as bus:

        @bus.on("job", durable=durable, retry=RetryPolicy(max_retries=RETRIES, interval_max=0), concurrency=50)
        async def work(ctx: EventContext) -> None:
            attempts[ctx.event_id] += 1
            if ctx.event_id in poison and not mended:
                raise ValueError("poison")

        for start in range(0, jobs, 100):
            await bus.publish_many(
                [Event("job", subject=f"s{n % 97}", id=f"job {n}") for n in range(start, min(start + 100, jobs))]
            )
        await bus.settle()
        assert attempts == {f"job {n}": 1 + RETRIES * (f"job {n}" in poison) for n in range(jobs)}
        failed = await bus.get_failed_jobs()
        assert {job.event.id for job in failed} == poison
        assert len(failed) == len(poison)
        assert {job.attempts for job in failed} == {RETRIES + 1}
        assert len([event async for event in bus.history("event.failed")]) == len(poison)
        mended = True
        assert await bus.retry_jobs("job") == len(poison)
        await bus.settle()
        assert await bus.get_failed_jobs() == []
        assert {attempts[id] for id in poison} == {RETRIES + 2}
        print(
            f"{kind}, durable={durable}: {jobs} jobs, {len(poison)} poison, {attempts.total()} attempts, 0 violations"
        )
