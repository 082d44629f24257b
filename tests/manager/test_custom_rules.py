"""Custom conditions, limiters and trackers: annotated or plain classes, on every backend and across restarts."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import (
    BaseCondition,
    CountTracker,
    KeyExists,
    ResetPolicy,
    TrackerLimited,
    TrackerSnapshot,
    TrackingManager,
)
from milepost.testing import EventRecorder
from tests.conftest import Place
from tests.manager.custom import Budget, Distinct, Either, EvenAmount, Largest, LongerThan, Streak


async def state(manager: TrackingManager, name: str) -> TrackerSnapshot:
    tracker = await manager.get_tracker("g", name)
    assert tracker is not None
    return tracker


CONDITIONS: list[tuple[BaseCondition, dict[str, Any], dict[str, Any]]] = [
    (LongerThan("k"), {"k": "long text"}, {"k": "abc"}),
    (LongerThan(key="k", length=1), {"k": "abc"}, {"k": "a"}),
    (EvenAmount(), {"amount": 4}, {"amount": 5}),
    (EvenAmount(3), {"amount": 9}, {"amount": 4}),
    (Either(KeyExists("a"), LongerThan("k")), {"k": "long text"}, {"k": "abc"}),
    (~EvenAmount() & LongerThan("k"), {"amount": 5, "k": "long"}, {"amount": 4, "k": "long"}),
]


@pytest.mark.parametrize(("condition", "yes", "no"), CONDITIONS, ids=str)
async def test_custom_conditions_survive_a_restart(
    condition: BaseCondition, yes: dict[str, Any], no: dict[str, Any], place: Place
) -> None:
    """A condition of either shape, alone or combined, decides alike before and after a restart."""
    for run in range(2):
        async with place.manager() as manager:
            await manager.add_tracker("g", CountTracker("n", 9, conditions=[condition]), if_exists="keep")
            assert [len((await manager.track("g", data)).dirtied) for data in (yes, no)] == [1, 0]
            assert (await state(manager, "n")).progress == run + 1


async def test_a_limiter_as_older_systems_write_it(place: Place) -> None:
    """Attributes set in ``__init__`` are definition and state, and ``reset_value`` reaches ``reset``."""
    budget = Budget(10)
    async with place.manager() as manager:
        recorder = EventRecorder(manager)
        await manager.add_tracker("g", CountTracker("n", 99, limiters=[budget]))
        for amount in (3, 4):
            await manager.track("g", {"amount": amount})
        assert (budget.remaining, budget.limited, budget.max_value) == (3, False, 10)
        await manager.track("g", {"amount": 5})
        assert (budget.remaining, budget.limited) == (-2, True)
        assert len(recorder.of(TrackerLimited)) == 1
    async with place.manager() as manager:
        assert (await manager.track("g", {"amount": 1})).limited
        limiter: Any = (await state(manager, "n")).limiters[0]
        assert isinstance(limiter, Budget)
        assert (limiter.remaining, limiter.max_value, limiter.limited) == (-2, 10, True)
        await manager.reset_tracker("g", "n", ResetPolicy.LIMITER, reset_value=4)
        limiter = (await state(manager, "n")).limiters[0]
        assert (limiter.remaining, limiter.limited) == (4, False)
        assert (await manager.track("g", {"amount": 1})).dirtied
        await manager.reset_tracker("g", "n", ResetPolicy.LIMITER)
        assert (await state(manager, "n")).limiters[0].remaining == 10


async def test_an_annotated_limiter_keeps_state_in_ordinary_attributes(place: Place) -> None:
    """An attribute that is no field is state; False from ``post_track`` limits until a reset."""
    async with place.manager() as manager:
        await manager.add_tracker("g", CountTracker("n", 99, limiters=[Distinct("shop")]))
        await manager.track("g", {"shop": "b"})
    async with place.manager() as manager:
        assert not (await manager.track("g", {"shop": "b"})).limited
        assert (await manager.track("g", {"shop": "a"})).limited
        assert (await state(manager, "n")).limiters[0].seen == ["a", "b"]
        assert (await state(manager, "n")).progress == 3
        assert (await manager.track("g", {"shop": "b"})).dirtied == []
    async with place.manager() as manager:
        assert (await manager.track("g", {"shop": "b"})).dirtied == []
        await manager.reset_tracker("g", "n", ResetPolicy.LIMITER)
        assert (await manager.track("g", {"shop": "b"})).dirtied


async def test_custom_trackers_survive_a_restart(place: Place) -> None:
    """Trackers of either shape measure, keep their own state, and go on after a restart."""
    async with place.manager() as manager:
        await manager.add_trackers("g", [Largest("top", 50), Streak("streak", 4)])
        for day, amount in ((1, 10), (2, 7), (5, 20)):
            await manager.track("g", {"day": day, "amount": amount})
    async with place.manager() as manager:
        assert ((await state(manager, "top")).progress, (await state(manager, "top")).key) == (20, "amount")
        streak = await state(manager, "streak")
        assert (streak.progress, streak.last, streak.kind) == (2, 5, "Streak")
        for day in (6, 7):
            completed = (await manager.track("g", {"day": day})).completed
        assert [tracker.name for tracker in completed] == ["streak"]
