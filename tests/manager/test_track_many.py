"""``track_many``: many items, results in order, one bad item harms no other."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import AccumulationTracker, BaseLimiter, CountTracker, ManagerClosed, TrackingManager, TrackItem
from milepost.testing import EventRecorder, ManualClock


async def totals(manager: TrackingManager, *groups: str) -> list[Any]:
    return [tracker.progress for group in groups for tracker in await manager.get_trackers(group)]


async def test_results_come_in_the_order_of_the_items(manager: TrackingManager, recorder: EventRecorder) -> None:
    """Pairs and TrackItems can be mixed; results, and the events of a group, come in order."""
    for group in "abc":
        await manager.add_tracker(group, AccumulationTracker("n", [5, 1000]))
    items: list[Any] = [("abc"[i % 3], {"amount": i}) for i in range(30)]
    items[7] = TrackItem("b", {"amount": 7}, event_id="seven")
    results = await manager.track_many(items)
    assert [result.dirtied[0].progress for result in results[:9]] == [0, 1, 2, 3, 5, 7, 9, 12, 15]
    assert await totals(manager, *"abc") == [sum(range(first, 30, 3)) for first in range(3)]
    assert sorted(event.group_id for event in recorder.events if event.code == "tracker.stage_completed") == [*"abc"]


async def test_a_generator_of_items_will_do(manager: TrackingManager) -> None:
    """Items may come from any iterable, none is fine too."""
    manager.declare("*", CountTracker("n", 9999))
    results = await manager.track_many((f"g{i % 7}", {}) for i in range(700))
    assert all(results)
    assert await totals(manager, *(f"g{i}" for i in range(7))) == [100] * 7
    assert await manager.track_many([]) == []


async def test_an_item_that_cannot_be_applied_has_its_error(manager: TrackingManager) -> None:
    """A bad item's result is false and has its error; the others are applied."""
    manager.declare("*", CountTracker("n", 99))
    items: list[Any] = [
        ("g", {}),
        ("g", "no mapping"),
        ("", {}),
        (3, {}),
        ("g", {}, 5),
        TrackItem("g", {}, now="noon"),
        7,
        ("g",),
        ("g", {}),
    ]
    results = await manager.track_many(items)
    assert [bool(result) for result in results] == [True, *[False] * 7, True]
    assert all(isinstance(result.error, TypeError | ValueError) for result in results[1:-1])
    assert "data must be a mapping" in str(results[1].error)
    assert results[0].error is None
    assert await totals(manager, "g") == [2]


async def test_event_ids_within_one_call(manager: TrackingManager) -> None:
    """An event id that comes twice in one call counts once; the second result says duplicate."""
    await manager.add_tracker("g", CountTracker("n", 99))
    results = await manager.track_many([TrackItem("g", {}, "e"), TrackItem("g", {}, "f"), TrackItem("g", {}, "e")])
    assert [(result.ok, result.duplicate) for result in results] == [(True, False), (True, False), (False, True)]
    assert await totals(manager, "g") == [2]


class Sees(BaseLimiter, kind="test.sees"):
    """Remembers the context that it was told."""

    def __init__(self) -> None:
        self.shops: list[str] = []

    def post_track(self, data: Any, tracker: Any, shop: str = "", **context: Any) -> bool:
        self.shops.append(shop)
        return True


async def test_items_have_a_time_and_a_context_of_their_own(manager: TrackingManager, clock: ManualClock) -> None:
    """``TrackItem.now`` dates an item, ``TrackItem.context`` reaches custom conditions and limiters."""
    await manager.add_tracker("g", CountTracker("n", 2, limiters=[Sees()]))
    at = clock.time() - 500
    await manager.track_many(
        [TrackItem("g", {}, context={"shop": "x"}), TrackItem("g", {}, now=at, context={"shop": "y"})]
    )
    (tracker,) = await manager.get_trackers("g")
    assert tracker.limiters[0].shops == ["x", "y"]
    assert tracker.completed_at is not None
    assert tracker.completed_at.timestamp() == at


async def test_after_closing_nothing_is_tracked(manager: TrackingManager) -> None:
    """``track_many`` on a closed manager raises ManagerClosed."""
    await manager.aclose()
    with pytest.raises(ManagerClosed):
        await manager.track_many([("g", {})])
