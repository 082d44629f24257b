"""Whether a store that follows Redis has what Redis has, but for what Redis has marked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from milepost import RedisDataCache
from tests.survival.programs import Run
from tests.survival.where import Where, progress_in_store

__all__ = ["check_followed"]

_PATIENCE = 90
"""Seconds in which a full dose waits for the store; a claim of a process that died holds for 30."""


async def check_followed(run: Run, where: Where, progress: Mapping[str, int]) -> None:
    """Check that each group that the store has otherwise is marked in Redis, and in a full dose that it catches up.

    What a process had taken to save when it, or Redis, was killed is nobody else's for a while.

    Args:
        run: whose report to write into.
        where: Redis and the store.
        progress: by group, of the tracker ``events``.
    """
    wanted = {f"{group}.events": float(number) for group, number in progress.items()}
    async with where.manager(flush_interval=0.2) as manager:
        cache = manager.data_cache
        assert isinstance(cache, RedisDataCache)
        behind = await _behind(where, wanted)
        marked = await cache.measure()
        run.report.counts["groups that the store had yet to see"] += len(behind)
        run.report.check(len(behind) <= marked, f"the store is behind by {behind}, and Redis knows of {marked}")
        seconds = run.dose(0, _PATIENCE)
        while behind and seconds:
            seconds -= 1
            await asyncio.sleep(1)
            behind = await _behind(where, wanted)
        run.report.check(not (run.full and behind), f"the store never saw {behind}")


async def _behind(where: Where, wanted: Mapping[str, float]) -> list[str]:
    found = await progress_in_store(where)
    return [name for name, number in wanted.items() if found.get(name) != number]
