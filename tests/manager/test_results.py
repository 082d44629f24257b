"""What ``track`` returns."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from milepost import (
    AccumulationTracker,
    BaseCondition,
    CountLimiter,
    CountTracker,
    KeyExists,
    TrackerSnapshot,
    TrackingManager,
    TrackResult,
)


async def test_a_result_unpacks_into_four(manager: TrackingManager) -> None:
    """``ok, dirtied, completed, limited = await track(…)``; the same by name."""
    await manager.add_trackers(
        "g",
        [
            CountTracker("moves", 9),
            CountTracker("ends", 1),
            CountTracker("limits", 9, limiters=[CountLimiter(1)]),
            CountTracker("rests", 9, conditions=[KeyExists("k")]),
        ],
    )
    result = await manager.track("g", {})
    ok, dirtied, completed, limited = result
    assert isinstance(result, TrackResult)
    assert (ok, dirtied, completed, limited) == (result.ok, result.dirtied, result.completed, result.limited)
    assert ok is True
    assert [tracker.name for tracker in dirtied] == ["moves", "ends", "limits"]
    assert [tracker.name for tracker in completed] == ["ends"]
    assert [tracker.name for tracker in limited] == ["limits"]
    assert all(isinstance(tracker, TrackerSnapshot) for tracker in dirtied)
    assert [event.code for event in result.events] == ["tracker.all_completed", "tracker.limited"]
    assert (result.rejected, result.duplicate, result.error) == ((), False, None)


async def test_dirtied_has_what_completed_and_limited_have(manager: TrackingManager) -> None:
    """What was completed or limited by this call is among what it changed."""
    await manager.add_tracker("g", CountTracker("n", 1, limiters=[CountLimiter(1)]))
    result = await manager.track("g", {})
    assert [len(result.dirtied), len(result.completed), len(result.limited)] == [1, 1, 1]
    assert result.completed[0].completed


async def test_a_result_is_true_when_it_was_applied(manager: TrackingManager) -> None:
    """A result is true when ``ok`` is, also when nothing moved; a duplicate is false."""
    await manager.add_tracker("g", CountTracker("n", 9))
    assert await manager.track("g", {}, event_id="e")
    assert await manager.track("nobody", {})
    duplicate = await manager.track("g", {}, event_id="e")
    assert not duplicate
    assert (duplicate.ok, duplicate.duplicate, duplicate.dirtied, duplicate.error) == (False, True, [], None)


async def test_every_call_has_lists_of_its_own(manager: TrackingManager) -> None:
    """Changing the lists of one result changes nothing else."""
    await manager.add_tracker("g", CountTracker("n", 9))
    first = await manager.track("g", {})
    first.dirtied.clear()
    assert [tracker.progress for tracker in (await manager.track("g", {})).dirtied] == [2]


async def test_rejected_says_which_tracker_and_why(manager: TrackingManager) -> None:
    """A tracker that a datum was meant for, but could not move, is named with the reason; the call is ok."""
    await manager.add_trackers("g", [AccumulationTracker("sum", 9), CountTracker("n", 9)])
    result = await manager.track("g", {"amount": "a lot"})
    (rejected,) = result.rejected
    assert rejected.name == "sum"
    assert "'a lot' is not a number" in rejected.reason
    assert (result.ok, [tracker.name for tracker in result.dirtied]) == (True, ["n"])
    assert "rejected" in repr(result)


class Raises(BaseCondition, kind="test.raises"):
    def check(self, data: object, **context: object) -> bool:
        raise LookupError("no such shop")


async def test_a_condition_that_raises_moves_nothing_and_is_reported(manager: TrackingManager) -> None:
    """A custom condition that raises refuses its tracker, is reported, and harms no sibling."""
    await manager.add_trackers("g", [CountTracker("a", 9, conditions=[Raises()]), CountTracker("b", 9)])
    result = await manager.track("g", {})
    assert [tracker.name for tracker in result.dirtied] == ["b"]
    assert [rejected.name for rejected in result.rejected] == ["a"]
    assert "no such shop" in result.rejected[0].reason


async def test_a_group_that_nothing_matches_is_worth_one_debug_line(
    manager: TrackingManager, caplog: pytest.LogCaptureFixture
) -> None:
    """Tracking a group that has no trackers is no error; it logs one DEBUG line, and nothing above it."""
    with caplog.at_level(logging.DEBUG, "milepost"):
        result = await manager.track("nobody", {"a": 1})
    assert (result.ok, result.dirtied, result.events, result.rejected) == (True, [], (), ())
    lines = [record for record in caplog.records if record.name.startswith("milepost")]
    assert [(line.levelname, "nobody" in line.getMessage()) for line in lines] == [("DEBUG", True)]


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.track_many([("nobody", {})]),
        lambda m: m.get_trackers("nobody"),
        lambda m: m.explain("nobody", {}),
        lambda m: m.reset_tracker("nobody", "n"),
        lambda m: m.remove_tracker("nobody"),
    ],
    ids=["track_many", "get_trackers", "explain", "reset_tracker", "remove_tracker"],
)
async def test_the_same_goes_for_every_call(
    call: Callable[[TrackingManager], Awaitable[Any]], manager: TrackingManager, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is asked of a group that has no trackers is answered, and logged in one DEBUG line."""
    with caplog.at_level(logging.DEBUG, "milepost"):
        await call(manager)
    lines = [record for record in caplog.records if record.name.startswith("milepost")]
    assert [(line.levelname, "nobody" in line.getMessage()) for line in lines] == [("DEBUG", True)]
