"""``explain``: what would happen, and who says no; it changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from milepost import (
    AccumulationTracker,
    CountLimiter,
    CountTracker,
    KeyExists,
    KeyValueEQ,
    TimeLimiter,
    TrackingManager,
    WouldBe,
)
from milepost.testing import EventRecorder, ManualClock


@pytest.fixture
async def furnished(manager: TrackingManager) -> TrackingManager:
    await manager.add_trackers(
        "g",
        [
            AccumulationTracker("moves", [5, 9]),
            CountTracker("unmatched", 9, conditions=[KeyExists("amount"), KeyValueEQ("kind", "buy")]),
            CountTracker("limited", 9, limiters=[CountLimiter(1)]),
            AccumulationTracker("rejected", 9, key="bad"),
            CountTracker("done", 1),
            AccumulationTracker("keyless", 9, key="nothing"),
        ],
    )
    await manager.track("g", {})
    return manager


DATA: dict[str, Any] = {"amount": 7, "bad": "x"}


async def test_every_tracker_is_explained(furnished: TrackingManager) -> None:
    """Per tracker: what would happen, and which condition or limiter says no."""
    explanation = await furnished.explain("g", DATA)
    assert explanation.group_id == "g"
    assert {tracker.name: tracker.outcome for tracker in explanation.trackers} == {
        "moves": WouldBe.MOVED,
        "unmatched": WouldBe.UNMATCHED,
        "limited": WouldBe.LIMITED,
        "rejected": WouldBe.REJECTED,
        "done": WouldBe.ALREADY_COMPLETED,
        "keyless": WouldBe.UNMATCHED,
    }
    moves = explanation["moves"]
    assert (moves.before, moves.after, moves.events) == (0, 7, ("tracker.stage_completed",))
    assert moves.reason is None
    assert [holds for _, holds in explanation["unmatched"].conditions] == [True, False]
    for name, says in (("unmatched", "KeyValueEQ"), ("limited", "CountLimiter"), ("rejected", "'x'")):
        assert says in str(explanation[name].reason)
    assert [allows for _, allows in explanation["limited"].limiters] == [False]
    with pytest.raises(KeyError):
        explanation["nothing"]


async def test_explaining_changes_nothing(furnished: TrackingManager) -> None:
    """After ``explain`` everything is as it was, nothing was announced, and ``track`` does what was said."""
    recorder = EventRecorder(furnished)
    before = await furnished.get_trackers("g")
    explained = await furnished.explain("g", DATA)
    assert await furnished.get_trackers("g") == before
    assert recorder.events == []
    result = await furnished.track("g", DATA)
    assert [tracker.name for tracker in result.dirtied] == [
        tracker.name for tracker in explained.trackers if tracker.outcome is WouldBe.MOVED
    ]
    assert [tracker.progress for tracker in result.dirtied] == [explained["moves"].after]


async def test_an_explanation_is_true_when_something_would_move(furnished: TrackingManager) -> None:
    """``if await explain(…)`` asks whether any tracker would move."""
    assert await furnished.explain("g", DATA)
    assert not await furnished.explain("g", {"bad": "x"})
    assert not await furnished.explain("nobody", DATA)


async def test_it_explains_another_moment(manager: TrackingManager, clock: ManualClock) -> None:
    """``now`` and ``now_ts`` ask what would happen then."""
    await manager.add_tracker("g", CountTracker("n", 9, limiters=[TimeLimiter(seconds=60)]))
    late = clock.time() + 61
    assert await manager.explain("g", {})
    for when in ({"now": late}, {"now_ts": late}, {"now": datetime.fromtimestamp(late, UTC)}):
        explanation = await manager.explain("g", {}, **when)
        assert explanation["n"].outcome is WouldBe.LIMITED
        assert explanation["n"].events == ("tracker.limited",)


async def test_declared_trackers_are_explained(manager: TrackingManager) -> None:
    """A declared tracker that has not moved is explained from its start."""
    manager.declare("*", CountTracker("n", 9, init_progress=3))
    assert ((await manager.explain("g", {}))["n"].before, (await manager.explain("g", {}))["n"].after) == (3, 4)
    assert [group async for group in manager.groups()] == []


async def test_an_explanation_is_plain_data(furnished: TrackingManager) -> None:
    """An Explanation dumps as JSON."""
    dumped = (await furnished.explain("g", DATA)).model_dump(mode="json")
    assert dumped["trackers"][0]["name"] == "moves"
    assert dumped["trackers"][0]["outcome"] == "moved"
