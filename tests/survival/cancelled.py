"""Every public coroutine is cancelled at each of its awaits, and at any moment of what it causes.

The state is the one before or the one after, never between; what was acknowledged is there; the manager works on; and
when it is closed no task and no connection is left, which proxies before the servers count.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple

from milepost import CountTracker, ResetPolicy, TrackingManager
from tests.faults.proxy import Proxy
from tests.survival.programs import Program, Run, main
from tests.survival.servers import proxies_before, servers_for
from tests.survival.where import Where

MOST_CONNECTIONS = 40
"""More to one server from one manager that does one thing at a time are a leak."""


class Cancelling:
    """Awaits a coroutine, and has the task cancelled at its n-th await.

    Args:
        coroutine: what to await.
        at: which await, from 1.
    """

    def __init__(self, coroutine: Awaitable[object], at: int) -> None:
        self._coroutine = coroutine
        self._at = at
        self.awaits = 0

    def __await__(self) -> Generator[Any, Any, object]:
        steps = self._coroutine.__await__()
        sent: Any = None
        while True:
            try:
                waiting = steps.send(sent)
            except StopIteration as stop:
                return stop.value
            self.awaits += 1
            if self.awaits == self._at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                sent = yield waiting
            except BaseException as error:
                try:
                    yield steps.throw(error)
                except StopIteration as stop:
                    return stop.value


def far(name: str) -> CountTracker:
    """Return a tracker that does not complete."""
    return CountTracker(name, 1_000_000)


State = list[tuple[str, float, tuple[float, ...]]]
START: State = [("n", 1, (1, 9))]


class Case(NamedTuple):
    """A call, and the state after it where it was carried out."""

    name: str
    call: Callable[[TrackingManager, str], Awaitable[object]]
    after: State


async def _reading(manager: TrackingManager, group: str) -> None:
    await manager.get_trackers(group)
    await manager.get_tracker(group, "n")
    await manager.explain(group, {})
    assert [found async for found in manager.groups(f"{group}*")] == [group]
    await manager.data_cache.is_cached(group)


async def _settling(manager: TrackingManager, group: str) -> None:
    await manager.settle()


CASES = (
    Case("add", lambda m, g: m.add_trackers(g, [far("x"), far("y")]), [*START, ("x", 0, (1e6,)), ("y", 0, (1e6,))]),
    Case("replace", lambda m, g: m.add_tracker(g, CountTracker("n", 5), if_exists="replace"), [("n", 0, (5,))]),
    Case("track", lambda m, g: m.track(g, {}), [("n", 2, (1, 9))]),
    Case("track with an id", lambda m, g: m.track(g, {}, event_id="once"), [("n", 2, (1, 9))]),
    Case("track many", lambda m, g: m.track_many([(g, {}), (g, {})]), [("n", 3, (1, 9))]),
    Case("update", lambda m, g: m.update_tracker(g, CountTracker("n", [1, 9, 10])), [("n", 1, (1, 9, 10))]),
    Case("reset", lambda m, g: m.reset_tracker(g, "n", ResetPolicy.PROGRESS), [("n", 0, (1, 9))]),
    Case("remove", lambda m, g: m.remove_tracker(g), []),
    Case("read", _reading, START),
    Case("settle", _settling, START),
    Case("flush", lambda m, g: m.flush(confirm=True), []),
)
BETWEEN: dict[str, State] = {"track many": [("n", 2, (1, 9))]}
"""``track_many`` is many calls, each whole."""


class Trial:
    """One manager, in which one call after the other is cancelled.

    Args:
        run: the dose and the chance.
        manager: the manager.
        proxies: before its servers.
    """

    def __init__(self, run: Run, manager: TrackingManager, proxies: list[Proxy]) -> None:
        self._run = run
        self._manager = manager
        self._proxies = proxies
        self._number = 0
        self._took: dict[str, float] = {}

    async def at_each_await(self, case: Case) -> None:
        """Cancel a call at its first await, its second, … until it is through."""
        at = 1
        while True:
            group = await self._prepared()
            cancelling = Cancelling(case.call(self._manager, group), at)
            told = await self._outcome(asyncio.ensure_future(_awaited(cancelling)))
            await self._check(case, group, told, f"at await {at}")
            if cancelling.awaits < at:
                return
            self._run.report.counts["cancelled at an await"] += 1
            at += 1

    async def at_any_moment(self, case: Case, moment: float) -> None:
        """Cancel a call at some moment of the time that it takes.

        Args:
            case: which.
            moment: 1 is about when it would end.
        """
        if case.name not in self._took:
            self._took[case.name] = await self._measure(case)
        group = await self._prepared()
        calling = asyncio.ensure_future(_awaited(case.call(self._manager, group)))
        until = time.perf_counter() + self._took[case.name] * moment
        await asyncio.sleep(0)
        while time.perf_counter() < until and not calling.done():
            await asyncio.sleep(0)
        calling.cancel()
        told = await self._outcome(calling)
        self._run.report.counts["cancelled at a moment"] += not told
        self._run.report.counts["through before they were cancelled"] += told
        await self._check(case, group, told, f"at {moment:.2f} of its time")

    async def _measure(self, case: Case) -> float:
        took = []
        for _ in range(3):
            group = await self._prepared()
            begun = time.perf_counter()
            await case.call(self._manager, group)
            took.append(time.perf_counter() - begun)
        return statistics.median(took)

    async def _prepared(self) -> str:
        self._number += 1
        group = f"group {self._number}."
        await asyncio.wait_for(self._manager.add_tracker(group, CountTracker("n", [1, 9])), 20)
        await asyncio.wait_for(self._manager.track(group, {}), 20)
        return group

    @staticmethod
    async def _outcome(calling: asyncio.Future[object]) -> bool:
        """Wait for the end of a call; return whether its caller was told that it is done."""
        await asyncio.wait([calling], timeout=20)
        assert calling.done(), "a cancelled call hangs"
        if calling.cancelled():
            return False
        calling.result()
        return True

    async def _check(self, case: Case, group: str, told: bool, when: str) -> None:
        report, manager = self._run.report, self._manager
        await asyncio.wait_for(manager.settle(), 20)
        found = await asyncio.wait_for(manager.get_trackers(group), 20)
        state: State = [(row.name, float(row.progress), tuple(row.targets)) for row in found]
        allowed = [case.after] if told else [START, case.after, BETWEEN.get(case.name, START)]
        report.counts["calls"] += 1
        report.check(state in allowed, f"{case.name}, told {told}, cancelled {when}: {state}")
        if case.name == "track with an id":
            again = await manager.track(group, {}, event_id="once")
            report.check(again.duplicate == (state == case.after), f"{case.name}, cancelled {when}: {state}, {again}")
        for proxy in self._proxies:
            report.check(
                proxy.connections <= MOST_CONNECTIONS,
                f"{case.name}, cancelled {when}: {proxy.connections} connections",
            )


async def _awaited(awaitable: Awaitable[object]) -> object:
    return await awaitable


async def carry_out(run: Run) -> None:
    """Cancel every call at every await, then at random moments, and starts and closes."""
    async with servers_for(run.setup, run.folder) as servers, proxies_before(servers) as before:
        proxies = [proxy for proxy in before if proxy is not None]
        ports = [0 if proxy is None else proxy.port for proxy in before]
        where = servers.where(redis_port=ports[0], mongodb_port=ports[1])
        manager = where.manager(flush_interval=0.02)
        others = asyncio.all_tasks() - _serving(proxies)
        async with manager:
            trial = Trial(run, manager, proxies)
            for _ in range(run.dose(1, 10)):
                for case in CASES:
                    await trial.at_each_await(case)
            moments = run.dose(100, 3000)
            for n in range(moments):
                await trial.at_any_moment(CASES[n % len(CASES)], run.chance.random() * 1.3)
        await _check_left(run, others, proxies, "the manager was closed")
        for _ in range(run.dose(12, 200)):
            await _start_and_close(run, where, run.chance.random())
            await _check_left(run, others, proxies, "a start and a close were cancelled")


async def _start_and_close(run: Run, where: Where, moment: float) -> None:
    """Cancel a start and a close; the manager works between, and is closed in the end."""
    manager = where.manager(flush_interval=0.02)
    group = f"started {run.report.counts['starts and closes']}"
    run.report.counts["starts and closes"] += 1
    for call in (manager.start, manager.aclose):
        calling = asyncio.ensure_future(call())
        await asyncio.sleep(moment * run.chance.choice([0, 0.002, 0.02]))
        calling.cancel()
        await asyncio.wait([calling])
        if call == manager.start:
            await asyncio.wait_for(manager.add_tracker(group, far("n")), 20)
            await asyncio.wait_for(manager.track(group, {}), 20)
    await asyncio.wait_for(manager.aclose(), 20)


def _serving(proxies: list[Proxy]) -> set[asyncio.Task[Any]]:
    """Return the tasks of proxies that serve connections."""
    return {task for proxy in proxies for task in proxy.serving}


async def _check_left(run: Run, others: set[asyncio.Task[Any]], proxies: list[Proxy], when: str) -> None:
    """Check that no connection and no task is left; a proxy takes a moment to see that one was closed."""
    until = time.monotonic() + 5
    while any(proxy.connections for proxy in proxies) and time.monotonic() < until:
        await asyncio.sleep(0.01)
    left = sum(proxy.connections for proxy in proxies)
    run.report.check(not left, f"{left} connections were left when {when}")
    tasks = asyncio.all_tasks() - others - _serving(proxies)
    run.report.check(not tasks, f"tasks were left when {when}: {[task.get_name() for task in tasks]}")


PROGRAM = Program(
    name="cancelled",
    promise="state before or after, never between; no lock, task or connection left behind",
    setups=("redis", "redis+sqlite", "redis+mongodb", "mongodb", "sqlite"),
    carry_out=carry_out,
    only_full=("redis+sqlite",),
)

if __name__ == "__main__":
    main(PROGRAM)
