"""Callers that are cancelled: the state is the one before or the one after, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from milepost import CountTracker, ResetPolicy, TrackingManager
from milepost.testing import EventRecorder, ManualClock
from tests.durability.doses import dose, seeded
from tests.durability.opening import far, manager_over, progress_in


def others() -> set[asyncio.Task[object]]:
    """Return all tasks but this one."""
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.survival
@pytest.mark.parametrize("write", ["through", "behind"])
async def test_callers_cancelled_at_any_moment(write: str, tmp_path: Path, clock: ManualClock) -> None:
    """Progress is what was acknowledged and some of what was cancelled, never half of an event; retries count once."""
    chance = seeded(f"cancelled callers, {write}")
    path = tmp_path / "t.db"
    acknowledged: Counter[str] = Counter()
    cancelled: Counter[str] = Counter()
    before = others()
    async with manager_over(path, max_groups=3, write=write, clock=clock) as manager:
        recorder = EventRecorder(manager)
        manager.declare("*", CountTracker(name="a", target=[3, 10, 10**6]), far("b"))
        groups = [f"g{n}" for n in range(5)]

        async def call(group: str, id: str) -> None:
            assert (await manager.track(group, {}, event_id=id)).ok
            acknowledged[group] += 1

        retries: list[tuple[str, str]] = []
        for turn in range(dose(40, 1500)):
            calls = {(chance.choice(groups), f"{turn} {n}"): None for n in range(6)}
            tasks = {asyncio.ensure_future(call(*key)): key for key in calls}
            for task in chance.sample(list(tasks), 3):
                for _ in range(chance.randrange(12)):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait(tasks)
            for task, key in tasks.items():
                if task.cancelled():
                    cancelled[key[0]] += 1
                    retries.append(key)
                else:
                    await task
        for group in groups:
            a, b = await manager.get_trackers(group)
            assert a.progress == b.progress, "both or none"
            assert acknowledged[group] <= a.progress <= acknowledged[group] + cancelled[group]
        assert cancelled.total()
        print(f"{acknowledged.total()} acknowledged, {cancelled.total()} cancelled")
        window = retries[-40:]
        extra = [await manager.track(group, {}, event_id=id) for group, id in window]
        assert all(result.ok or result.duplicate for result in extra)
        for group in groups:
            a, b = await manager.get_trackers(group)
            assert a.progress == b.progress
        final = {f"{g}.{t.name}": float(t.progress) for g in groups for t in await manager.get_trackers(g)}
        stages = sum((final[f"{group}.a"] >= 3) + (final[f"{group}.a"] >= 10) for group in groups)
        assert len({event.id for event in recorder.events}) == len(recorder.events) == stages
    assert await progress_in(path) == final
    assert others() == before


@pytest.mark.survival
async def test_every_call_cancelled_at_every_step(tmp_path: Path, clock: ManualClock) -> None:
    """Each public coroutine, cancelled after each number of steps of the loop, leaves a manager that works."""
    before = others()
    async with manager_over(tmp_path / "t.db", max_groups=2, clock=clock) as manager:
        for steps in range(dose(14, 60)):
            for number, call in enumerate(CALLS):
                group = f"g{steps} {number}"
                await asyncio.wait_for(manager.add_tracker(group, CountTracker(name="n", target=[1, 9])), 10)
                await manager.track(group, {})
                calling = asyncio.ensure_future(call(manager, group))
                for _ in range(steps):
                    await asyncio.sleep(0)
                calling.cancel()
                await asyncio.wait([calling])
                await asyncio.wait_for(manager.settle(), 10)
                found = await asyncio.wait_for(manager.get_trackers(group), 10)
                state = [(t.name, t.progress, t.targets) for t in found]
                assert state in ALLOWED[number], f"{call.__name__} cancelled after {steps} steps"
                if calling.done() and not calling.cancelled():
                    assert state == ALLOWED[number][1], f"{call.__name__} was acknowledged after {steps} steps"
    assert others() == before


async def adding(manager: TrackingManager, group: str) -> None:
    await manager.add_trackers(group, [far("x"), far("y")])


async def tracking(manager: TrackingManager, group: str) -> None:
    await manager.track(group, {})


async def tracking_many(manager: TrackingManager, group: str) -> None:
    await manager.track_many([(group, {})])


async def updating(manager: TrackingManager, group: str) -> None:
    await manager.update_tracker(group, CountTracker(name="n", target=[1, 9, 10]))


async def resetting(manager: TrackingManager, group: str) -> None:
    await manager.reset_tracker(group, "n", ResetPolicy.PROGRESS)


async def removing(manager: TrackingManager, group: str) -> None:
    await manager.remove_tracker(group)


async def reading(manager: TrackingManager, group: str) -> None:
    await manager.get_trackers(group)
    await manager.explain(group, {})
    assert [found async for found in manager.groups(f"{group}*")] == [group]


async def flushing(manager: TrackingManager, group: str) -> None:
    await manager.flush(confirm=True)


CALLS = (adding, tracking, tracking_many, updating, resetting, removing, reading, flushing)
State = tuple[str, float, tuple[float, ...]]
START: State = ("n", 1, (1, 9))
ALLOWED: tuple[tuple[list[State], list[State]], ...] = (
    ([START], [START, ("x", 0, (1_000_000,)), ("y", 0, (1_000_000,))]),
    ([START], [("n", 2, (1, 9))]),
    ([START], [("n", 2, (1, 9))]),
    ([START], [("n", 1, (1, 9, 10))]),
    ([START], [("n", 0, (1, 9))]),
    ([START], []),
    ([START], [START]),
    ([START], []),
)


async def test_start_and_close_cancelled(tmp_path: Path, clock: ManualClock) -> None:
    """A start or a close that is cancelled ends whole: the file is free afterwards, nothing runs on."""
    before = others()
    path = tmp_path / "t.db"
    for steps in range(12):
        manager = manager_over(path, write="behind", clock=clock)
        starting = asyncio.ensure_future(manager.start())
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        manager.declare("*", far())
        await manager.track("g", {})
        closing = asyncio.ensure_future(manager.aclose())
        for _ in range(steps):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await manager.aclose()
        assert others() == before, f"after {steps} steps"
        assert await progress_in(path) == {"g.n": steps + 1}
