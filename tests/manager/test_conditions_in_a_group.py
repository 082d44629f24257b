"""Conditions decide tracker by tracker; they are AND-ed, and never mix within a group."""

from __future__ import annotations

from typing import Any

from milepost import BaseCondition, CountTracker, KeyExists, KeyNotExists, KeyValueEQ, TrackingManager


async def moved(manager: TrackingManager, data: dict[str, Any], **context: Any) -> list[str]:
    return [tracker.name for tracker in (await manager.track("g", data, **context)).dirtied]


async def test_contradictory_conditions_in_one_group_never_mix(manager: TrackingManager) -> None:
    """``KeyExists("a")`` and ``KeyNotExists("a")`` in one group each move their own tracker; both move none."""
    there, missing = KeyExists("a"), KeyNotExists("a")
    await manager.add_trackers(
        "g",
        [
            CountTracker("there", 9, conditions=[there]),
            CountTracker("missing", 9, conditions=[missing]),
            CountTracker("both", 9, conditions=[there, missing]),
            CountTracker("none", 9),
        ],
    )
    assert await moved(manager, {"a": None}) == ["there", "none"]
    assert await moved(manager, {}) == ["missing", "none"]
    assert await moved(manager, {"b": 1}) == ["missing", "none"]


async def test_conditions_are_anded(manager: TrackingManager) -> None:
    """Every condition must hold; a tracker without conditions counts everything."""
    await manager.add_tracker("g", CountTracker("n", 9, conditions=[KeyValueEQ("a", 1), KeyValueEQ("b", 2)]))
    data: list[dict[str, Any]] = [{"a": 1}, {"b": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 3}, {}]
    assert [await moved(manager, datum) for datum in data] == [[], [], ["n"], [], []]


class Counting(BaseCondition, kind="test.counting"):
    """A condition that counts how often it is asked, in the class: tests may act on the world."""

    asked = 0
    key: str

    def check(self, data: Any, **context: Any) -> bool:
        Counting.asked += 1
        return self.key in data


async def test_each_distinct_condition_is_evaluated_at_most_once_per_event(in_memory: TrackingManager) -> None:
    """A hundred trackers with the same condition ask it once for a datum."""
    await in_memory.add_trackers("g", [CountTracker(f"{i}", 9, conditions=[Counting("k")]) for i in range(100)])
    await in_memory.add_tracker("g", CountTracker("other", 9, conditions=[Counting("l")]))
    Counting.asked = 0
    assert len(await moved(in_memory, {"k": 1})) == 100
    assert Counting.asked == 2


class Within(BaseCondition, kind="test.within"):
    """A condition that asks the context of the call."""

    def check(self, data: Any, limit: int = 0, **context: Any) -> bool:
        return bool(data["n"] <= limit)


async def test_context_reaches_custom_conditions(in_memory: TrackingManager) -> None:
    """Keyword arguments of ``track`` reach ``check``, as far as its signature takes them."""
    await in_memory.add_tracker("g", CountTracker("n", 9, conditions=[Within()]))
    assert await moved(in_memory, {"n": 5}, limit=5, shop="x") == ["n"]
    assert await moved(in_memory, {"n": 5}, limit=4) == []
    assert await moved(in_memory, {"n": 5}) == []
    assert bool(await in_memory.explain("g", {"n": 5}, limit=5)) is True


async def test_data_are_not_changed(in_memory: TrackingManager) -> None:
    """``track`` leaves the datum as it was."""
    data: dict[str, Any] = {"a": {"b": [1]}, "amount": "5"}
    await in_memory.add_tracker("g", CountTracker("n", 9, conditions=[KeyExists("a.b.0")]))
    assert await moved(in_memory, data) == ["n"]
    assert data == {"a": {"b": [1]}, "amount": "5"}
