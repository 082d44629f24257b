"""Custom conditions, limiters and trackers: annotated or plain classes, on every backend and across restarts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from milepost import (
    BaseCondition,
    BaseLimiter,
    BaseTracker,
    CountTracker,
    InvalidDefinition,
    KeyExists,
    NumericTracker,
    ResetPolicy,
    TrackerLimited,
    TrackerSnapshot,
    TrackingManager,
)
from milepost.testing import EventRecorder
from tests.conftest import Place


class LongerThan(BaseCondition):
    """Annotated fields, validated."""

    key: str
    length: int = 3

    def check(self, data: Any, **context: Any) -> bool:
        return len(data.get(self.key, "")) > self.length


class EvenAmount(BaseCondition):
    """A plain class: its own ``__init__``, underscore attributes, no ``super().__init__()``."""

    def __init__(self, modulus: int = 2) -> None:
        self._modulus = modulus
        self._seen_as = {"even": [0], "when": timedelta(seconds=1), "d": Decimal("1.5"), "t": (1, {2})}

    def check(self, data: Any, *args: Any, **kwargs: Any) -> bool:
        return data.get("amount", 1) % self._modulus in self._seen_as["even"]  # type: ignore[operator]


class Either(BaseCondition):
    """A plain class that holds other conditions, and is polite enough to call ``super().__init__()``."""

    def __init__(self, *conditions: BaseCondition) -> None:
        super().__init__()
        self.conditions = list(conditions)

    def check(self, data: Any) -> bool:
        return any(condition.check(data) for condition in self.conditions)


class Budget(BaseLimiter):
    """As older systems write a limiter: ``super().__init__()``, then attributes."""

    def __init__(self, max_value: float) -> None:
        super().__init__()
        self.max_value = max_value
        self.remaining = max_value

    def pre_track(self, data: Any, tracker: Any, *args: Any, **kwargs: Any) -> bool:
        return not self.limited

    def post_track(self, data: Any, post_tracker: Any, *args: Any, **kwargs: Any) -> bool:
        self.remaining -= data.get("amount", 0)
        if self.remaining <= 0:
            self.limited = True
        return True

    def reset(self, *args: Any, reset_value: float | None = None, **kwargs: Any) -> bool:
        self.remaining = self.max_value if reset_value is None else reset_value
        self.limited = False
        return True


class Distinct(BaseLimiter):
    """Annotated, with state that is no field."""

    key: str
    most: int = 2

    def post_track(self, data: Any, tracker: Any) -> bool:
        self.seen = sorted({*getattr(self, "seen", []), data[self.key]})
        return len(self.seen) < self.most


class Largest(NumericTracker):
    """An annotated tracker whose progress is the largest value so far."""

    key: str = "amount"

    def measure(self, data: Any, **context: Any) -> Any:
        return max(data[self.key] - self.progress, 0) if self.key in data else None


class Streak(BaseTracker):
    """A plain tracker with state of its own, and no ``super().__init__()``."""

    def __init__(self, name: str, target: int) -> None:
        self.name = name
        self.target = target
        self.last: int | None = None

    def measure(self, data: Any, *args: Any, **kwargs: Any) -> int:
        follows = self.last is not None and data["day"] == self.last + 1
        self.last = data["day"]
        return 1 if follows or not self.progress else 0


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
    """Attributes set in ``__init__`` are definition and state; ``self.limited`` limits; ``reset_value`` reaches reset."""
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
    """An attribute that is no field is state; returning False from ``post_track`` limits after counting."""
    async with place.manager() as manager:
        await manager.add_tracker("g", CountTracker("n", 99, limiters=[Distinct("shop")]))
        await manager.track("g", {"shop": "b"})
    async with place.manager() as manager:
        assert not (await manager.track("g", {"shop": "b"})).limited
        assert (await manager.track("g", {"shop": "a"})).limited
        assert (await state(manager, "n")).limiters[0].seen == ["a", "b"]
        assert (await state(manager, "n")).progress == 3


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
        LongerThan("k", "x")  # type: ignore[arg-type]
    with pytest.raises(InvalidDefinition, match=r"LongerThan\.key is required"):
        LongerThan()  # type: ignore[call-arg]


async def test_plain_classes_that_are_incomplete_are_refused_when_added(in_memory: TrackingManager) -> None:
    """A plain tracker without a name, or with an attribute that cannot be stored, is refused by name when handed over."""

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
