"""``1``, ``True`` and ``1.0`` are equal and hash alike; definitions tell them apart all the same."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

from milepost import BaseCondition, BaseLimiter, CountTracker, KeyValueEQ, KeyValueInList, TrackingManager

ONES: list[Any] = [1, True, 1.0, Decimal(1)]
ZEROS: list[Any] = [0, False, 0.0, -0.0, Decimal(0)]
TRAPS = [
    *itertools.combinations(ONES, 2),
    *itertools.combinations(ZEROS, 2),
    ([1], (1,)),
    ([1], [True]),
    ({"a": 1}, {"a": True}),
    ({1}, frozenset({1})),
    (Decimal("1.0"), Decimal("1.00")),
    ({"$decimal": "1"}, Decimal(1)),
    ("1", 1),
]


@pytest.mark.parametrize(("one", "other"), TRAPS, ids=str)
def test_conditions_are_the_same_by_their_bytes_not_by_equality(one: Any, other: Any) -> None:
    """Conditions on values that are equal, but not the same, are different conditions and definitions."""
    assert KeyValueEQ("k", one) != KeyValueEQ("k", other)
    assert KeyValueInList("k", [one]) != KeyValueInList("k", [other])
    hashes = {CountTracker("t", 1, conditions=[KeyValueEQ("k", value)]).definition.hash for value in (one, other)}
    assert len(hashes) == 2


class IsOfType(BaseCondition):
    """A condition whose field has a default that another value equals."""

    wanted: Any = (1,)

    def check(self, data: Any, **context: Any) -> bool:
        return type(data["k"]) is type(self.wanted[0])


@pytest.mark.parametrize("wanted", [(True,), (1.0,)], ids=str)
async def test_a_value_that_equals_the_default_is_not_the_default(wanted: Any, in_memory: TrackingManager) -> None:
    """A field set to something that equals its default keeps what it was set to."""
    given, default = IsOfType(wanted), IsOfType()
    assert given != default
    await in_memory.add_trackers(
        "g", [CountTracker("given", 9, conditions=[given]), CountTracker("default", 9, conditions=[default])]
    )
    moved = [(await in_memory.track("g", {"k": k})).dirtied for k in (wanted[0], 1)]
    assert [[tracker.name for tracker in trackers] for trackers in moved] == [["given"], ["default"]]


def test_negative_zero_is_not_the_default_zero() -> None:
    """A float field of -0.0 is kept apart from its default 0.0."""

    class Shift(BaseCondition, kind="test.shift"):
        by: float = 0.0

    assert Shift(-0.0).to_definition() != Shift(0.0).to_definition()


class Remembers(BaseLimiter):
    """A limiter whose state equals what it began with, but is not the same."""

    def __init__(self) -> None:
        self.last = [0]

    def post_track(self, data: Any, tracker: Any, **context: Any) -> bool:
        self.last = [data["k"]]
        return True


async def test_state_that_equals_the_beginning_is_kept(in_memory: TrackingManager) -> None:
    """A limiter that sets an attribute to something equal to what it began with reads what it set."""
    await in_memory.add_tracker("g", CountTracker("t", 9, limiters=[Remembers()]))
    await in_memory.track("g", {"k": False})
    (tracker,) = await in_memory.get_trackers("g")
    (limiter,) = tracker.limiters
    assert limiter.last == [False]
    assert type(limiter.last[0]) is bool


async def test_each_of_two_equal_looking_conditions_gets_its_own_answer(in_memory: TrackingManager) -> None:
    """Within one group and one datum, a condition never gets the answer of one that only looks equal."""

    class Exactly(BaseCondition, kind="test.exactly"):
        value: Any

        def check(self, data: Any, **context: Any) -> bool:
            return type(data["k"]) is type(self.value)

    kinds = {"int": 1, "bool": True, "float": 1.0, "decimal": Decimal(1)}
    await in_memory.add_trackers(
        "g", [CountTracker(name, 9, conditions=[Exactly(value)]) for name, value in kinds.items()]
    )
    for name, value in kinds.items():
        assert [tracker.name for tracker in (await in_memory.track("g", {"k": value})).dirtied] == [name]
