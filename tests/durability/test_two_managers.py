"""Two managers on one file: what one was told is done, the other sees."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from milepost import ConflictingNameError, CountTracker, ResetPolicy, TrackingManager
from milepost.events import EVENT_TRACKER_EXPIRED, TrackerEvent
from milepost.testing import EventRecorder, ManualClock
from tests.durability.doses import dose, seeded
from tests.durability.opening import far, manager_over, progress_in

Pair = tuple[TrackingManager, TrackingManager]


@pytest.fixture
async def pair(tmp_path: Path, clock: ManualClock) -> AsyncGenerator[Pair, None]:
    """Two managers on one file."""
    path = tmp_path / "t.db"
    async with manager_over(path, clock=clock) as one, manager_over(path, clock=clock) as other:
        yield one, other


async def progress(manager: TrackingManager, group: str = "g") -> dict[str, float]:
    """Return what a manager says of a group."""
    return {tracker.name: float(tracker.progress) for tracker in await manager.get_trackers(group)}


async def test_every_call_is_seen_by_the_other(pair: Pair) -> None:
    """Adding, tracking, updating, resetting and removing in turn: each begins from what the other left."""
    for one, other in (pair, pair[::-1]):
        await one.add_tracker("g", CountTracker(name="n", target=[2, 10]))
        assert await progress(other) == {"n": 0}
        with pytest.raises(ConflictingNameError):
            await other.add_tracker("g", far())
        await one.track("g", {})
        result = await other.track("g", {})
        assert [event.code for event in result.events] == ["tracker.stage_completed"]
        assert (await one.explain("g", {})).trackers[0].before == 2
        await other.update_tracker("g", CountTracker(name="n", target=[2, 10, 20]))
        assert (await one.get_trackers("g"))[0].targets == (2, 10, 20)
        assert await one.reset_tracker("g", "n", ResetPolicy.PROGRESS)
        assert (await other.track("g", {})).dirtied[0].progress == 1
        await other.add_tracker("g", far("more"))
        assert (await one.track("g", {})).dirtied[1].name == "more"
        assert await one.remove_tracker("g", "more")
        assert [tracker.name for tracker in (await other.track("g", {})).dirtied] == ["n"]
        assert await other.remove_tracker("g")
        assert (await one.track("g", {})).dirtied == []
        assert await progress(one) == {}
        assert not await one.reset_tracker("g", "n")


async def test_removed_and_added_again_by_the_other(pair: Pair) -> None:
    """A stale replica neither brings a removed tracker back nor adds to the one that took its name; ids are new."""
    one, other = pair
    told: list[str] = []
    for _ in range(4):
        await one.add_tracker("g", CountTracker(name="n", target=[1, 100]))
        told += [event.id for event in (await other.track("g", {})).events]
        assert await progress(one) == {"n": 1}
        await other.remove_tracker("g")
        assert await progress(one) == {}
        one, other = other, one
    assert len(set(told)) == 4


async def test_event_ids_of_the_other_are_known(pair: Pair) -> None:
    """An event id that either has tracked is a duplicate for both."""
    one, other = pair
    await one.add_tracker("g", far())
    await one.track("g", {})
    await other.track("g", {})
    assert (await one.track("g", {}, event_id="a")).ok
    assert (await other.track("g", {}, event_id="a")).duplicate
    both = await asyncio.gather(*(manager.track("g", {}, event_id="b") for manager in pair for _ in range(3)))
    assert sum(result.ok for result in both) == 1
    assert await progress(one) == await progress(other) == {"n": 4}


async def test_a_flush_amid_the_other(pair: Pair, tmp_path: Path) -> None:
    """After one has deleted everything the other writes nothing of before, and both go on from nothing."""
    one, other = pair
    for turn in range(5):
        for manager in pair:
            await manager.add_tracker(f"g{turn}", far(), if_exists="keep")
            await manager.track(f"g{turn}", {}, event_id=f"{id(manager)}")
        callers = [asyncio.ensure_future(other.track(f"g{turn}", {})) for _ in range(20)]
        for _ in range(turn * 2):
            await asyncio.sleep(0)
        assert await one.flush(confirm=True)
        await asyncio.gather(*callers)
        for manager in pair:
            assert await progress(manager, f"g{turn}") == {}
            assert [group async for group in manager.groups()] == []
        assert (await other.track(f"g{turn}", {}, event_id=f"{id(other)}")).ok, "event ids are forgotten too"
        await other.add_tracker("after", far())
        await one.track("after", {})
        assert await progress(other, "after") == {"n": 1}
        one, other = other, one
        assert await one.flush(confirm=True)


async def test_what_expires_is_announced_by_one(pair: Pair, clock: ManualClock) -> None:
    """Both sweep; the EXPIRED event comes once, with the tracker gone for both."""
    one, other = pair
    gone: list[TrackerEvent] = []
    for manager in pair:
        manager.add_listener(EVENT_TRACKER_EXPIRED, gone.append)
        await manager.add_tracker(f"of {id(manager)}", far(), expire=30)
    for _ in range(6):
        await clock.advance(10)
        await asyncio.sleep(0.01)  # the file is read in a thread
        await one.settle()
        await other.settle()
    assert sorted(event.group_id for event in gone) == sorted(f"of {id(manager)}" for manager in pair)
    assert [group async for group in one.groups()] == []


@pytest.mark.survival
async def test_everything_at_once(pair: Pair, tmp_path: Path) -> None:
    """Both track and declare, add and remove other trackers of the same groups: every count that stays is exact."""
    chance = seeded("two managers at once")
    groups = [f"g{n}" for n in range(4)]
    wanted: Counter[str] = Counter()
    recorders = [EventRecorder(manager) for manager in pair]
    for group in groups:
        await pair[0].add_tracker(group, CountTracker(name="steady", target=[5, 25, 1_000_000]))

    async def call(manager: TrackingManager, name: str) -> None:
        for n in range(dose(25, 500)):
            group = chance.choice(groups)
            what = chance.randrange(8)
            if what == 0:
                await manager.add_tracker(group, far(name), if_exists=chance.choice(("keep", "replace")))
            elif what == 1:
                await manager.remove_tracker(group, name)
            elif what == 2:
                await manager.reset_tracker(group, name)
            elif what == 3:
                assert "steady" in await progress(manager, group)
            else:
                result = await manager.track(group, {}, event_id=f"{name} {n}" if n % 2 else None)
                assert result.ok
                wanted[f"{group}.steady"] += 1

    await asyncio.gather(*(call(manager, f"{who} {n}") for who, manager in enumerate(pair) for n in range(6)))
    for manager in pair:
        for group in groups:
            assert (await progress(manager, group))["steady"] == wanted[f"{group}.steady"]
    found = await progress_in(tmp_path / "t.db")
    assert {name: count for name, count in found.items() if name.endswith(".steady")} == wanted
    stages = [event for recorder in recorders for event in recorder.events if event.code == "tracker.stage_completed"]
    assert len({event.id for event in stages}) == len(stages)
    assert len(stages) == sum((count >= 5) + (count >= 25) for count in wanted.values())
