"""The store behind Redis refuses, is silent, cuts, is slow, or is killed, while groups are tracked on Redis.

``track`` never fails for what is in Redis, the backlog is visible and no larger than the number of groups, the store
catches up, and nothing is lost. Groups are let go of as soon as that is possible, all the time: one that is not in
Redis must be in the store as it was acknowledged.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import ClassVar

from milepost import CountTracker, MilepostError, RedisDataCache, StoreUnavailable, TrackingManager
from milepost.testing import ManualClock
from tests.faults.proxy import Proxy
from tests.survival.following import check_followed
from tests.survival.programs import Program, Run, main
from tests.survival.servers import Servers, servers_for
from tests.survival.where import Where, progress_held, progress_in_store

CALLERS = 8
GROUPS = 40
"""How many groups are tracked while the store is away."""
MORE_GROUPS = 300
"""How many are tracked when it is there, so that most are let go of before they are tracked again."""
CATCHING_UP = 60.0
"""Seconds within which a store that is back must have all."""


class Eager(RedisDataCache):
    """Lets go of every group that the store has confirmed, at once, unless that is stopped."""

    turn: ClassVar[asyncio.Lock]

    async def let_go(self) -> None:
        async with self.turn:
            await self._led().evict(0)


class EagerWhere(Where):
    """Where nothing stays in Redis that need not."""

    __slots__ = ()

    def data_cache(self) -> RedisDataCache:
        return Eager.from_url(self.cache, **self.cache_settings)


class Load:
    """Callers that track all the time.

    Args:
        run: the dose and the chance.
        managers: through which.
    """

    def __init__(self, run: Run, managers: list[TrackingManager]) -> None:
        self._run = run
        self._managers = managers
        self.acknowledged: Counter[str] = Counter()
        self.fault = ""
        self.only_in_redis = False
        self.settled = False
        self.busy = 0
        self.slowest = 0.0
        self.ended = False

    async def call(self) -> None:
        """Track until told to end."""
        while not self.ended:
            early = not self.settled
            self.busy += early
            await self.track(f"g{self._run.chance.randrange(GROUPS if self.only_in_redis else MORE_GROUPS)}")
            self.busy -= early
            await asyncio.sleep(0.002)

    async def keep_to_redis(self) -> None:
        """Track only what is in Redis from now on."""
        self.only_in_redis = True
        await self.track_all()
        self.settled = True
        while self.busy:  # a call that began before may still be reading the store
            await asyncio.sleep(0.001)

    def go_on(self) -> None:
        """Track everything again."""
        self.fault = ""
        self.only_in_redis = self.settled = False

    async def track_all(self) -> None:
        """Track an event for each group that is tracked while the store is away."""
        await asyncio.gather(*(self.track(f"g{n}") for n in range(GROUPS)))

    async def track(self, group: str) -> None:
        """Track one event; it must not fail."""
        begun = time.monotonic()
        try:
            result = await self._run.chance.choice(self._managers).track(group, {})
        except MilepostError as error:
            self._run.report.violations.append(
                f"track on {group} while the store is {self.fault or 'there'}: {error!r}"
            )
            return
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self._run.report.check(result.ok, f"track on {group} was refused")
        self.acknowledged[group] += 1


async def carry_out(run: Run) -> None:
    """Take the store away, and give it back."""
    Eager.turn = asyncio.Lock()
    async with servers_for("redis+mongodb", run.folder) as servers:
        assert servers.mongodb is not None
        servers.store_settings = {"timeout": 3.0, "serverSelectionTimeoutMS": 1000}
        async with Proxy("127.0.0.1", servers.mongodb.port) as proxy:
            where = EagerWhere(*servers.where(mongodb_port=proxy.port))
            managers = [where.manager(flush_interval=0.05) for _ in range(2)]
            for manager in managers:
                manager.declare("*", CountTracker("events", 1_000_000))
                await manager.start()
            load = Load(run, managers)
            try:
                await _live_through(run, servers, proxy, load, managers)
            finally:
                for manager in managers:
                    await manager.aclose()
        await check_followed(run, servers.where(), load.acknowledged)
        behind = run.report.counts["groups that the store had yet to see"]
        run.report.check(not behind, f"all managers were closed, and the store is behind by {behind} groups")


async def _live_through(run: Run, servers: Servers, proxy: Proxy, load: Load, managers: list[TrackingManager]) -> None:
    report = run.report
    calling = [asyncio.ensure_future(load.call()) for _ in range(CALLERS)]
    looking = asyncio.ensure_future(_look_at_what_left(run, servers.where(), load, managers[0]))
    for _ in range(run.dose(1, 3)):
        await asyncio.sleep(run.dose(1, 5))
        async with Eager.turn:  # what is tracked while the store is away has to be in Redis
            await load.keep_to_redis()
            load.fault = run.setup
            await _begin(run.setup, servers, proxy)
            await load.track_all()  # from here on nothing can leave Redis: the store confirms nothing
            if run.setup == "cut":
                await _watch(run, managers, proxy)
        if run.setup != "cut":
            await _watch(run, managers, proxy)
        await _end(run.setup, servers, proxy)
        report.counts["outages"] += 1
        load.go_on()
        await _await_catching_up(run, servers.where(), load)
    load.ended = True
    await asyncio.gather(*calling)
    await looking
    report.counts["tracked"] += load.acknowledged.total()
    report.counts["milliseconds the slowest took"] = round(load.slowest * 1000)
    report.counts["groups"] += len(load.acknowledged)
    for group, wanted in load.acknowledged.items():
        tracker = await managers[0].get_tracker(group, "events")
        found = tracker and tracker.progress
        report.check(found == wanted, f"{group}: {wanted} acknowledged, {found} counted")


async def _begin(fault: str, servers: Servers, proxy: Proxy) -> None:
    match fault:
        case "refusing":
            await proxy.refuse()
        case "silent":
            proxy.fall_silent()
        case "slow":
            proxy.delay = 0.05
        case "killed":
            assert servers.mongodb is not None
            await asyncio.to_thread(servers.mongodb.kill)


async def _end(fault: str, servers: Servers, proxy: Proxy) -> None:
    match fault:
        case "refusing":
            await proxy.accept()
        case "silent":
            proxy.speak()
        case "slow":
            proxy.delay = 0.0
        case "killed":
            assert servers.mongodb is not None
            await asyncio.to_thread(servers.mongodb.start)


async def _watch(run: Run, managers: list[TrackingManager], proxy: Proxy) -> None:
    """Look at the backlog while the store is away."""
    report = run.report
    begun = time.monotonic()
    largest, told = 0, run.setup in ("slow", "cut")
    while (lasted := time.monotonic() - begun) < run.dose(2, 30) or (not told and lasted < 20):
        if run.setup == "cut":
            await proxy.cut()
        await asyncio.sleep(0.1)
        statuses = [manager.status() for manager in managers]
        largest = max(largest, *(status.backlog for status in statuses))
        told = told or any(status.store_error for status in statuses)
    report.counts["largest backlog"] = max(report.counts["largest backlog"], largest)
    report.check(largest <= MORE_GROUPS, f"a backlog of {largest} for {MORE_GROUPS} groups")
    if run.setup not in ("slow", "cut"):
        report.check(largest >= GROUPS, f"{GROUPS} groups changed, and the status tells of {largest}")
        report.check(told, "the status does not tell why the store is behind")


async def _await_catching_up(run: Run, where: Where, load: Load) -> None:
    """Wait until the store has all that was acknowledged while it was away."""
    begun = time.monotonic()
    wanted = load.acknowledged.copy()
    while True:
        found = await progress_in_store(where)
        late = [group for group, number in wanted.items() if found.get(f"{group}.events", 0) < number]
        took = time.monotonic() - begun
        if not late:
            break
        if took > CATCHING_UP:
            run.report.violations.append(f"the store did not catch up with {late}")
            return
        await asyncio.sleep(0.02)
    counts = run.report.counts
    counts["milliseconds to catch up"] = max(counts["milliseconds to catch up"], round(took * 1000))


async def _look_at_what_left(run: Run, where: Where, load: Load, manager: TrackingManager) -> None:
    """Check all the time that what is not in Redis is in the store, as it was acknowledged."""
    store = where.data_store()
    await store.open(ManualClock(), 256)
    try:
        while not load.ended:
            group = f"g{run.chance.randrange(MORE_GROUPS)}"
            acknowledged = load.acknowledged[group]
            if not await manager.data_cache.is_cached(group):
                with suppress(StoreUnavailable):
                    found = (await progress_held(store, [group])).get(f"{group}.events", 0)
                    run.report.counts["groups seen in the store alone"] += 1
                    left = f"{group} left Redis with {acknowledged}, the store has {found}"
                    run.report.check(found >= acknowledged, left)
            await asyncio.sleep(0.001)
    finally:
        await store.aclose()


PROGRAM = Program(
    name="store_down",
    promise="track on Redis never fails, the backlog is bounded and visible, the store catches up, nothing is lost",
    setups=("refusing", "silent", "slow", "cut", "killed"),
    carry_out=carry_out,
    only_full=("refusing", "slow", "cut"),
)

if __name__ == "__main__":
    main(PROGRAM)
