"""The methods of custom classes: what reaches them, and what comes of one that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import (
    BaseCondition,
    BaseLimiter,
    BaseTracker,
    CountTracker,
    InvalidDefinition,
    ResetPolicy,
    TrackerSnapshot,
    TrackingManager,
)
from tests.manager.custom import Distinct, EvenAmount, LongerThan, Streak


async def state(manager: TrackingManager, name: str) -> TrackerSnapshot:
    tracker = await manager.get_tracker("g", name)
    assert tracker is not None
    return tracker


async def test_a_method_that_raises_changes_nothing(manager: TrackingManager) -> None:
    """A limiter or tracker whose method raises refuses the datum whole, is reported, and harms no sibling."""
    await manager.add_trackers(
        "g", [CountTracker("a", 9, limiters=[Distinct("shop", 9)]), Streak("b", 9), CountTracker("c", 9)]
    )
    await manager.track("g", {"shop": "x", "day": 1})
    before = await manager.get_trackers("g")
    result = await manager.track("g", {})
    assert [tracker.name for tracker in result.dirtied] == ["c"]
    assert {rejected.name: rejected.reason for rejected in result.rejected} == {
        "a": "KeyError: 'shop'",
        "b": "KeyError: 'day'",
    }
    assert (await manager.get_trackers("g"))[:2] == before[:2]


class Unstorable(BaseLimiter, kind="test.unstorable"):
    def __init__(self) -> None:
        self.calls = 0

    def post_track(self, data: Any, tracker: Any, **context: Any) -> bool:
        self.last = object() if self.calls == 1 else None
        self.calls += 1
        return True


async def test_state_that_cannot_be_stored_is_refused_by_name(manager: TrackingManager) -> None:
    """State that is no storable value refuses the datum, names the attribute, and the state before stays."""
    await manager.add_tracker("g", CountTracker("n", 9, limiters=[Unstorable()]))
    await manager.track("g", {})
    result = await manager.track("g", {})
    assert "Unstorable.last" in result.rejected[0].reason
    tracker = await state(manager, "n")
    assert (tracker.progress, tracker.limiters[0].calls) == (1, 1)


async def test_attributes_are_copied_when_handed_over(manager: TrackingManager) -> None:
    """A plain class's definition is a deep copy of its attributes: changing a list later changes nothing."""
    wanted = [0]
    condition = EvenAmount()
    condition._seen_as["even"] = wanted
    await manager.add_tracker("g", CountTracker("n", 9, conditions=[condition]))
    wanted.append(1)
    assert not (await manager.track("g", {"amount": 5})).dirtied


async def test_methods_work_on_a_copy(in_memory: TrackingManager) -> None:
    """A method that changes a list in place changes the state of its own group only."""

    class Collects(BaseLimiter, kind="test.collects"):
        def __init__(self) -> None:
            self.items: list[int] = []

        def post_track(self, data: Any, tracker: Any, **context: Any) -> bool:
            self.items.append(data["k"])
            return True

    limiter = Collects()
    for group in "gh":
        await in_memory.add_tracker(group, CountTracker("n", 9, limiters=[limiter]))
        await in_memory.track(group, {"k": ord(group)})
    items = [(await in_memory.get_trackers(group))[0].limiters[0].items for group in "gh"]
    assert items == [[ord("g")], [ord("h")]]


async def test_context_reaches_custom_limiters_and_trackers(in_memory: TrackingManager) -> None:
    """Keyword arguments of ``track``, and ``now_ts``, reach each hook as far as its signature takes them."""
    seen: dict[str, Any] = {}

    class Asks(BaseLimiter, kind="test.asks"):
        def pre_track(self, data: Any, tracker: Any, shop: str = "", **context: Any) -> bool:
            seen["pre"] = (shop, context["now_ts"], tracker.progress)
            return True

        def post_track(self, data: Any, tracker: Any, *, now_ts: float) -> bool:
            seen["post"] = (now_ts, tracker.progress)
            return True

        def reset(self, reason: str) -> bool:
            seen["reset"] = reason
            return True

    class Weighs(BaseTracker, kind="test.weighs"):
        def measure(self, data: Any, weight: int = 1) -> int:
            return weight

    await in_memory.add_tracker("g", Weighs("n", 99, limiters=[Asks()]))
    await in_memory.track("g", {}, now=5.0, shop="x", weight=7)
    await in_memory.reset_tracker("g", "n", ResetPolicy.LIMITER, reason="because")
    assert seen == {"pre": ("x", 5.0, 0), "post": (5.0, 7), "reset": "because"}


def test_annotated_fields_are_validated_by_name() -> None:
    """A wrong value for a field of a custom class names class and field."""
    with pytest.raises(InvalidDefinition, match=r"LongerThan\.length must be an integer, got 'x'"):
        LongerThan("k", "x")
    with pytest.raises(InvalidDefinition, match=r"LongerThan\.key is required"):
        LongerThan()


async def test_plain_classes_that_are_incomplete_are_refused_when_added(in_memory: TrackingManager) -> None:
    """A plain tracker without a name, or with a value that cannot be stored, is refused by name when it is added."""

    class Nameless(BaseTracker, kind="test.nameless"):
        def __init__(self) -> None:
            self.target = 5

    class Holds(BaseCondition, kind="test.holds"):
        def __init__(self) -> None:
            self.callback = print

    with pytest.raises(InvalidDefinition, match=r"Nameless\.name is required"):
        await in_memory.add_tracker("g", Nameless())
    with pytest.raises(InvalidDefinition, match=r"Holds\.callback must be .*callable"):
        await in_memory.add_tracker("g", CountTracker("n", 5, conditions=[Holds()]))
    assert await in_memory.get_trackers("g") == []


async def test_a_hook_that_was_not_written_says_so(in_memory: TrackingManager) -> None:
    """A condition without ``check``, or a tracker without ``measure``, is refused in words when it is handed over."""

    class Empty(BaseCondition, kind="test.empty"):
        pass

    class Idle(BaseTracker, kind="test.idle"):
        pass

    with pytest.raises(InvalidDefinition, match=r"Empty must define check\(self, data"):
        await in_memory.add_tracker("g", CountTracker("n", 5, conditions=[Empty()]))
    with pytest.raises(InvalidDefinition, match=r"Idle must define measure\(self, data"):
        await in_memory.add_tracker("g", Idle("m", 5))
