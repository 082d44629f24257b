"""A tracker's definition is a value: frozen, with a hash that is the same everywhere, and it loads and dumps."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from milepost import (
    AccumulationTracker,
    BaseCondition,
    BaseLimiter,
    BaseTracker,
    CountLimiter,
    CountTracker,
    KeyExists,
    KeyNotExists,
    KeyValueComparison,
    KeyValueContained,
    KeyValueEQ,
    KeyValueInList,
    KeyValueListIntersectList,
    MilepostError,
    ResetPolicy,
    TimeLimiter,
    TrackerDefinition,
)

VALUE = {"b": [1, 2.5, None], "a": {"x", "y", "z"}, "d": Decimal("1.50"), "t": (datetime(2026, 1, 2, tzinfo=UTC),)}


class Odd(BaseCondition):
    """A plain class; its attributes are set in either order."""

    def __init__(self, forwards: bool = True) -> None:
        names = ["alpha", "beta", "gamma"]
        for name in names if forwards else reversed(names):
            setattr(self, name, {"z": 1, "y": {"q", "p"}} if forwards else {"y": {"p", "q"}, "z": 1})

    def check(self, data: Any, *args: Any) -> bool:
        return True


CONDITIONS: list[BaseCondition] = [
    KeyExists("a") & ~KeyNotExists(r"b\.c") | KeyValueContained("k", "ä", case_sensitive=True),
    KeyValueEQ("k", VALUE),
    KeyValueComparison("k", 5, ">="),
    KeyValueInList("k", [1, True, 1.0, "1", None]),
    KeyValueListIntersectList("k", [[1], ("a",)]),
    Odd(),
]
LIMITERS: list[BaseLimiter] = [
    CountLimiter(5),
    TimeLimiter(seconds=60),
    TimeLimiter(interval=timedelta(days=1, microseconds=3), start_ts=5),
    TimeLimiter(end_ts=datetime(2030, 1, 1, tzinfo=UTC)),
]
TRACKERS: list[BaseTracker] = [
    CountTracker("count", [1, 2.5, Decimal("3.50")], CONDITIONS, LIMITERS, init_progress=Decimal("0.5")),
    AccumulationTracker("sum", 10, key="a.b", exact=True, loop_forever=True, reset_policy=ResetPolicy.NONE),
    CountTracker("gone", 1, on_completed="remove", reset_policy=ResetPolicy.ALL),
]

MAKE = """
import tests.unit.test_definitions as t
print(*(tracker.definition.hash for tracker in t.TRACKERS))
"""


def test_a_hash_is_the_same_in_every_process() -> None:
    """A definition has one hash, whatever seed Python's own hashes have in a process."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", MAKE],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),  # noqa: PTH120
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[1]
        for seed in ("1", "2")
    }
    assert printed == {TRACKERS[1].definition.hash}


def test_a_hash_does_not_depend_on_the_order_of_attributes() -> None:
    """Attributes, keyword arguments, dicts and sets hash alike in whichever order they were written."""
    forwards = CountTracker("t", 5, conditions=[Odd()], loop_forever=True)
    backwards = CountTracker(loop_forever=True, conditions=[Odd(forwards=False)], target=5, name="t")
    assert forwards.definition.hash == backwards.definition.hash
    assert Odd() == Odd(forwards=False)


CHANGES: list[dict[str, Any]] = [
    {"name": "u"},
    {"target": 6},
    {"target": 5.0},
    {"target": [5, 6]},
    {"conditions": [KeyExists("k")]},
    {"limiters": [CountLimiter(1)]},
    {"reset_policy": ResetPolicy.NONE},
    {"loop_forever": True},
    {"init_progress": 1},
    {"init_progress": 0.0},
    {"on_completed": "remove"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_field_is_part_of_the_hash(change: dict[str, Any]) -> None:
    """Definitions that differ in any field have different hashes."""
    fields: dict[str, Any] = {"name": "t", "target": 5}
    assert CountTracker(**fields).definition.hash != CountTracker(**{**fields, **change}).definition.hash


def test_the_kind_and_the_order_of_conditions_are_part_of_the_hash() -> None:
    """A sum is not a count, and limiters keep their places."""
    assert CountTracker("t", 5).definition.hash != AccumulationTracker("t", 5).definition.hash
    one, other = CountLimiter(1), CountLimiter(2)
    hashes = {CountTracker("t", 5, limiters=limiters).definition.hash for limiters in ([one, other], [other, one])}
    assert len(hashes) == 2


def test_the_group_is_no_part_of_the_hash() -> None:
    """Group and expiry are not part of a definition: every group shares it."""
    assert CountTracker("t", 5, group_id="g").definition.hash == CountTracker("t", 5).definition.hash


def test_a_hash_has_128_bits() -> None:
    """A hash is 22 characters of URL-safe base64."""
    assert len(TRACKERS[0].definition.hash) == 22


@pytest.mark.parametrize("tracker", TRACKERS, ids=lambda tracker: tracker.name)
def test_a_definition_is_frozen_and_makes_the_same_tracker_again(tracker: BaseTracker) -> None:
    """``tracker.definition`` cannot be changed, and a tracker made from it has the same definition."""
    definition = tracker.definition
    assert isinstance(definition, TrackerDefinition)
    assert (definition.name, definition.targets) == (tracker.name, tracker.targets)
    with pytest.raises(ValidationError):
        definition.name = "other"
    assert definition.to_tracker().definition.hash == definition.hash


@pytest.mark.parametrize("tracker", TRACKERS, ids=lambda tracker: tracker.name)
def test_trackers_load_and_dump_through_pydantic(tracker: BaseTracker) -> None:
    """A TypeAdapter dumps a tracker as JSON and loads an equal one of the same class."""
    adapter: TypeAdapter[BaseTracker] = TypeAdapter(BaseTracker)
    loaded = adapter.validate_json(adapter.dump_json(tracker))
    assert type(loaded) is type(tracker)
    assert loaded.definition.hash == tracker.definition.hash


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_conditions_load_and_dump_through_pydantic(condition: BaseCondition) -> None:
    """A TypeAdapter dumps a condition as JSON and loads an equal one of the same class."""
    adapter: TypeAdapter[BaseCondition] = TypeAdapter(BaseCondition)
    loaded = adapter.validate_json(adapter.dump_json(condition))
    assert type(loaded) is type(condition)
    assert loaded == condition


@pytest.mark.parametrize("limiter", LIMITERS, ids=str)
def test_limiters_load_and_dump_through_pydantic(limiter: BaseLimiter) -> None:
    """A TypeAdapter dumps a limiter as JSON and loads one that dumps the same."""
    adapter: TypeAdapter[BaseLimiter] = TypeAdapter(BaseLimiter)
    dumped = adapter.dump_json(limiter)
    assert adapter.dump_json(adapter.validate_json(dumped)) == dumped


def test_what_is_no_definition_is_refused_by_pydantic() -> None:
    """A TypeAdapter refuses what describes no tracker, condition or limiter."""
    for adapter, value in (
        (TypeAdapter(BaseTracker), {"kind": "CountTracker", "name": "t", "target": 0}),
        (TypeAdapter(CountTracker), {"kind": "AccumulationTracker", "name": "t", "target": 1}),
        (TypeAdapter(BaseCondition), {"kind": "CountLimiter", "count": 1}),
        (TypeAdapter(BaseCondition), 3),
    ):
        with pytest.raises((ValidationError, MilepostError)):
            adapter.validate_python(value)


@pytest.mark.parametrize(
    "cls", [BaseTracker, BaseCondition, BaseLimiter, CountTracker, AccumulationTracker, TimeLimiter]
)
def test_there_is_a_json_schema(cls: type[Any]) -> None:
    """Definitions have a JSON schema: per class, tagged by kind, and for a family all its kinds."""
    schema = TypeAdapter(cls).json_schema()
    members = schema.get("oneOf", [schema])
    kinds = [member["properties"]["kind"]["const"] for member in members]
    assert len(kinds) == len(set(kinds))
    if cls in (CountTracker, AccumulationTracker, TimeLimiter):
        assert kinds == [cls.__name__]
        assert "kind" in schema["required"]
    else:
        assert len(kinds) >= 2
