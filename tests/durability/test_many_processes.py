"""Several processes on one file or database: every count is exact, every milestone is announced by one of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from milepost.testing import ManualClock
from tests.durability.doses import dose, seeded
from tests.durability.opening import far, manager_over
from tests.durability.workers import Worker, check_milestones, look_at, workers

PROCESSES = 4


async def test_anybody_may_be_first(tmp_path: Path, clock: ManualClock) -> None:
    """Several that open a file that is not there yet, at the same moment, all get it, and share what they track."""
    for turn in range(dose(10, 1000)):
        managers = [manager_over(tmp_path / f"{turn}.db", clock=clock) for _ in range(PROCESSES)]
        await asyncio.gather(*(manager.start() for manager in managers))
        for manager in managers:
            manager.declare("*", far())
        await asyncio.gather(*(manager.track("g", {}) for manager in managers))
        found = [(await manager.get_trackers("g"))[0].progress for manager in managers]
        assert found == [PROCESSES] * PROCESSES
        await asyncio.gather(*(manager.aclose() for manager in managers))


@pytest.mark.survival
@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 40])
def test_four_processes(groups: int, shared_place: Path | str) -> None:
    """Each event counts once, each milestone is told to exactly one caller and is once in the outbox."""
    chance = seeded(f"{PROCESSES} processes, {groups} groups")
    each = dose(250, 10_000)
    targets = [1, 7, each, 2 * each, 3 * each + 1, PROCESSES * each]
    plans = [
        [(f"g{chance.randrange(groups)}", f"{process} {n}" if n % 3 else None) for n in range(each)]
        for process in range(PROCESSES)
    ]
    orders = {"targets": targets, "tasks": 2 if groups == 1 else 8, "max_groups": 15}
    with workers(Worker(shared_place, plan, **orders) for plan in plans) as running:
        told = [done for worker in running for done in worker.finish()]
    left = look_at(shared_place, targets)
    conflicts = [worker.conflicts for worker in running]
    print(f"{each} events each, {len(left.milestones)} milestones, races lost: {conflicts}")
    assert sum(conflicts), "nobody was in anybody's way: nothing was shown"
    assert left.progress == Counter(group for plan in plans for group, _ in plan)
    check_milestones(left, targets)
    assert Counter(id for done in told for id in done.caused) == Counter(id for id, *_ in left.milestones)


@pytest.mark.survival
@pytest.mark.slow
def test_the_same_events_from_every_process(shared_place: Path | str) -> None:
    """Four processes that are given the same events with the same ids count each of them once."""
    chance = seeded("the same events")
    events = [(f"g{n % 5}", f"event {n}") for n in range(dose(200, 1000))]
    targets = [10, 30, 100_000]
    plans = [chance.sample(events, len(events)) for _ in range(PROCESSES)]
    with workers(Worker(shared_place, plan, targets=targets) for plan in plans) as running:
        told = [done for worker in running for done in worker.finish()]
    left = look_at(shared_place, targets)
    assert left.progress == Counter(group for group, _ in events)
    check_milestones(left, targets)
    assert Counter(id for done in told for id in done.caused) == Counter(id for id, *_ in left.milestones)
