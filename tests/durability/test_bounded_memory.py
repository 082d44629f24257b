"""``write="through"`` with little room: groups leave memory and come back from the file as they were."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from milepost import CountTracker
from milepost.testing import EventRecorder, ManualClock
from tests.durability.doses import dose, seeded
from tests.durability.opening import far, manager_over, progress_in


async def test_no_more_groups_than_allowed(tmp_path: Path, clock: ManualClock) -> None:
    """Between calls no more than ``max_groups`` groups are in memory; the ones used least recently have left."""
    async with manager_over(tmp_path / "t.db", max_groups=3, clock=clock) as manager:
        manager.declare("*", far())
        for n in range(8):
            await manager.track(f"g{n}", {})
            assert manager.status().replicas <= 3
        await manager.track("g5", {})
        await manager.get_trackers("g0")
        held = [n for n in range(8) if await manager.data_cache.is_cached(f"g{n}")]
        assert held == [0, 5, 7], "g6 was used least recently"
        assert manager.status().evicted == 6


@pytest.mark.survival
async def test_exact_after_coming_and_going(tmp_path: Path, clock: ManualClock) -> None:
    """Many callers on more groups than fit: counts, duplicates and milestones are exact, in memory and in the file."""
    chance = seeded("coming and going")
    path = tmp_path / "t.db"
    groups = [f"g{n}" for n in range(30)]
    wanted: Counter[str] = Counter()
    async with manager_over(path, max_groups=5, clock=clock) as manager:
        recorder = EventRecorder(manager)
        manager.declare("*", CountTracker(name="n", target=[3, 9, 1_000_000]))

        async def call(caller: int) -> None:
            for n in range(dose(30, 1000)):
                group = chance.choice(groups)
                id = f"{caller} {n}"
                first = await manager.track(group, {}, event_id=id)
                again = await manager.track(group, {}, event_id=id)
                assert (first.ok, again.ok, again.duplicate) == (True, False, True)
                wanted[group] += 1

        await asyncio.gather(*(call(caller) for caller in range(12)))
        assert manager.status().replicas <= 5
        assert manager.status().evicted > 30
        found = {group: (await manager.get_trackers(group))[0].progress for group in wanted}
        assert found == wanted
        passed = sum((count >= 3) + (count >= 9) for count in wanted.values())
        assert len({event.id for event in recorder.events}) == len(recorder.events) == passed
    assert await progress_in(path) == {f"{group}.n": count for group, count in wanted.items()}


async def test_event_ids_are_known_after_eviction_and_restart(tmp_path: Path, clock: ManualClock) -> None:
    """The last ids of the window are known wherever the group has been; older ones are not, on the way out either."""
    path = tmp_path / "t.db"
    async with manager_over(path, max_groups=1, clock=clock, dedup_window=4) as manager:
        manager.declare("*", far())
        for n in range(6):
            await manager.track("g", {}, event_id=f"{n}")
            await manager.track("other", {})
        assert not await manager.data_cache.is_cached("g")
        known = [(await manager.track("g", {}, event_id=f"{n}")).duplicate for n in (5, 4, 3, 2)]
        assert known == [True] * 4
    async with manager_over(path, max_groups=1, clock=clock, dedup_window=4) as manager:
        manager.declare("*", far())
        assert [(await manager.track("g", {}, event_id=f"{n}")).duplicate for n in (2, 3, 4, 5)] == [True] * 4
        assert (await manager.track("g", {}, event_id="1")).ok
        assert not (await manager.track("g", {}, event_id="1")).ok
        assert (await manager.track("g", {}, event_id="2")).ok, "1 has taken its place"
        assert (await manager.get_trackers("g"))[0].progress == 8


async def test_an_event_that_moved_nothing_is_known_too(tmp_path: Path, clock: ManualClock) -> None:
    """An id is remembered where no tracker matched, also for a group without any, after eviction and restart."""
    path = tmp_path / "t.db"
    for restart in range(2):
        async with manager_over(path, max_groups=1, clock=clock) as manager:
            for _ in range(2):
                result = await manager.track("nobody", {}, event_id="once")
                await manager.track("other", {})
                expected = restart == 0 and not result.duplicate
                assert result.ok is expected
                restart = 1
            assert [group async for group in manager.groups()] == []


async def test_one_round_on_more_groups_than_fit(tmp_path: Path, clock: ManualClock) -> None:
    """Groups that are worked on together stay for as long as that takes, and then leave."""
    async with manager_over(tmp_path / "t.db", max_groups=2, clock=clock) as manager:
        manager.declare("*", far())
        for turn in (1, 2, 3):
            results = await manager.track_many([(f"g{n}", {}) for n in range(50)])
            assert [result.dirtied[0].progress for result in results] == [turn] * 50
        await manager.track("g0", {})
        assert manager.status().replicas <= 2
