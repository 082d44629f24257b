"""Two managers on one SQLite file: a race that is lost is worked out again, and counts once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from milepost import (
    BaseLimiter,
    BaseTracker,
    CommitConflict,
    CountTracker,
    SQLiteDataStore,
    TrackerAllCompleted,
    TrackerStageCompleted,
    TrackingManager,
)
from milepost.testing import EventRecorder, ManualClock
from tests.conftest import Place


class Halving(BaseLimiter, kind="test.halving"):
    """A plain limiter with state of its own; counts how often it runs, in the class."""

    runs = 0

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.spent = 0

    def post_track(self, data: Any, tracker: Any, **context: Any) -> bool:
        Halving.runs += 1
        self.spent += 1
        return self.spent < self.budget


class Doubling(BaseTracker, kind="test.doubling"):
    """A plain tracker with state of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.target = 1_000_000
        self.step = 1

    def measure(self, data: Any, **context: Any) -> int:
        self.step *= 2
        return self.step


@pytest.fixture
def file(clock: ManualClock, tmp_path: Path) -> Place:
    return Place("sqlite through", clock, tmp_path)


async def test_a_lost_race_runs_a_custom_limiter_twice_and_counts_once(file: Place) -> None:
    """Where another process was faster, users' methods run again on the newer state; each call counts once."""
    async with file.manager() as one, file.manager() as other:
        await one.add_tracker("g", CountTracker("n", 99, limiters=[Halving(10)]))
        await other.get_trackers("g")
        await one.track("g", {})  # from here on the other's replica is behind
        Halving.runs = 0
        await other.track("g", {})
        assert other.status().conflicts == 1
        assert Halving.runs == 2
        for manager in (one, other):
            (tracker,) = await manager.get_trackers("g")
            assert (tracker.progress, tracker.limiters[0].spent) == (2, 2)


async def test_state_of_a_custom_tracker_survives_lost_races(file: Place) -> None:
    """A custom tracker's own state is that of the calls that were committed, each once."""
    async with file.manager() as one, file.manager() as other:
        await one.add_tracker("g", Doubling("n"))
        for i in range(8):
            await (one, other)[i % 2].track("g", {})
        assert one.status().conflicts + other.status().conflicts >= 6
        for manager in (one, other):
            (tracker,) = await manager.get_trackers("g")
            assert (tracker.progress, tracker.step) == (sum(2**i for i in range(1, 9)), 256)


async def test_every_count_is_exact_and_every_milestone_comes_once(file: Place) -> None:
    """Many tasks on two managers: the sum is exact, and each milestone is announced by one of them, once."""
    async with file.manager() as one, file.manager() as other:
        recorders = [EventRecorder(one), EventRecorder(other)]
        await one.add_tracker("g", CountTracker("n", [10, 50, 120]))
        moves = await asyncio.gather(*((one, other)[i % 2].track("g", {}) for i in range(120)))
        assert all(result.ok for result in moves)
        seen = sorted(result.dirtied[0].progress for result in moves)
        assert seen == list(range(1, 121))
        stages = [event.tracker.target for heard in recorders for event in heard.of(TrackerStageCompleted)]
        ends = [event.id for heard in recorders for event in heard.of(TrackerAllCompleted)]
        assert (sorted(stages), len(ends)) == ([10, 50], 1)


async def test_a_call_that_changes_nothing_sees_what_another_process_was_told_is_done(file: Place) -> None:
    """Reading, explaining and data that match nothing ask the authority: a stale replica answers nothing."""
    async with file.manager() as one, file.manager() as other:
        assert (await other.track("g", {})).dirtied == []
        await one.add_tracker("g", CountTracker("n", 9))
        assert len((await other.explain("g", {})).trackers) == 1
        assert len((await other.track("g", {})).dirtied) == 1
        await one.track("g", {})
        assert [tracker.progress for tracker in await other.get_trackers("g")] == [2]
        await one.reset_tracker("g", "n", 1)
        assert [tracker.progress for tracker in await other.get_trackers("g")] == [0]


async def test_a_taken_name_is_taken_for_everybody(file: Place) -> None:
    """Of two processes that add the same name at the same moment one is told of the conflict."""
    async with file.manager() as one, file.manager() as other:
        await asyncio.gather(one.get_trackers("g"), other.get_trackers("g"))
        added = await asyncio.gather(
            one.add_tracker("g", CountTracker("n", 5)),
            other.add_tracker("g", CountTracker("n", 7)),
            return_exceptions=True,
        )
        errors = [item for item in added if isinstance(item, BaseException)]
        assert [type(error).__name__ for error in errors] == ["ConflictingNameError"]
        (winner,) = [item for item in added if not isinstance(item, BaseException)]
        assert await one.get_trackers("g") == await other.get_trackers("g") == [winner]


async def test_an_event_id_is_known_to_everybody(file: Place) -> None:
    """An event id that two processes apply at the same moment counts once, and one of them is told so."""
    async with file.manager() as one, file.manager() as other:
        await one.add_tracker("g", CountTracker("n", 99))
        for i in range(10):
            pair = await asyncio.gather(one.track("g", {}, event_id=f"e{i}"), other.track("g", {}, event_id=f"e{i}"))
            assert sorted((result.ok, result.duplicate) for result in pair) == [(False, True), (True, False)]
        assert [tracker.progress for tracker in await other.get_trackers("g")] == [10]


async def test_a_call_that_never_wins_gives_up_and_changes_nothing(clock: ManualClock, tmp_path: Path) -> None:
    """A call that loses every race within ``commit_timeout`` raises CommitConflict; nothing was changed."""
    path = tmp_path / "t.db"

    class Beaten(SQLiteDataStore):
        """A store in front of which somebody else is always faster."""

        faster: TrackingManager | None = None

        async def commit(self, commits: Any) -> Any:
            if self.faster is not None and any(commit.puts for commit in commits):
                await self.faster.track("g", {"who": "other"})
            return await super().commit(commits)

    store = Beaten(path)
    async with (
        TrackingManager(data_store=SQLiteDataStore(path), clock=clock) as other,
        TrackingManager(data_store=store, clock=clock, commit_timeout=0.05) as one,
    ):
        await one.add_tracker("g", CountTracker("n", 10_000))
        store.faster = other
        with pytest.raises(CommitConflict, match="nothing was changed"):
            await one.track("g", {})
        store.faster = None
        (tracker,) = await one.get_trackers("g")
        assert tracker.progress == one.status().conflicts
