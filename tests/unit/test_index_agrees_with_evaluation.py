"""The predicate index never changes an answer: what it finds is what evaluating every condition finds."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milepost import (
    AccumulationTracker,
    AllOf,
    AnyOf,
    BaseCondition,
    CountTracker,
    KeyExists,
    KeyNotExists,
    KeyValueComparison,
    KeyValueEQ,
    KeyValueGE,
    KeyValueInList,
    KeyValueListHasItem,
    KeyValueNE,
    KeyValueNotInList,
    Not,
)
from milepost.records import Record
from milepost.trackers.blueprint import blueprint_of
from milepost.tracking.plan import PlanBook
from milepost.tracking.step import track


class Word(StrEnum):
    A = "a"
    B = "b"


class Figure(IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


SCALARS = st.sampled_from(
    [0, 1, 2, True, False, 1.0, 0.0, -0.0, 2.5, "1", "a", "", None, 2**53, float(2**53), 2**53 + 1]
)
STORABLE = SCALARS | st.lists(SCALARS, max_size=2)
VALUES = st.recursive(
    STORABLE | st.sampled_from([float("nan"), Word.A, Figure.ONE, Text("a"), 1 + 0j, frozenset({1}), b"a", 10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab01"), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(["a", "a", "b", "b", "c", "a.b", "a.0", "a.b.0", r"a\.b", "b.a"])
FIELDS = st.sampled_from(["a", "b", "c", "a.b", "x", "y", Word.A, Word.B, Text("c"), 1])

SIMPLE: st.SearchStrategy[BaseCondition] = st.one_of(
    st.builds(KeyExists, KEYS),
    st.builds(KeyNotExists, KEYS),
    st.builds(KeyValueEQ, KEYS, STORABLE),
    st.builds(KeyValueNE, KEYS, STORABLE),
    st.builds(KeyValueGE, KEYS, st.sampled_from([0, 1, 1.5, "a"])),
    st.builds(KeyValueComparison, KEYS, STORABLE, st.sampled_from(["==", "!=", "<", ">="])),
    st.builds(KeyValueInList, KEYS, st.lists(STORABLE, max_size=3)),
    st.builds(KeyValueNotInList, KEYS, st.lists(STORABLE, max_size=3)),
    st.builds(KeyValueListHasItem, KEYS, SCALARS),
)
CONDITIONS: st.SearchStrategy[BaseCondition] = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(st.builds(AllOf, inner, inner), st.builds(AnyOf, inner, inner), st.builds(Not, inner)),
    max_leaves=4,
)
DATA = st.dictionaries(FIELDS, VALUES, max_size=4)


@settings(max_examples=400, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    goals=st.lists(st.lists(SIMPLE | CONDITIONS, max_size=2), min_size=1, max_size=6), data=st.lists(DATA, max_size=4)
)
def test_the_index_finds_exactly_what_evaluation_finds(
    goals: list[list[BaseCondition]], data: list[dict[Any, Any]]
) -> None:
    """A datum moves a tracker exactly when each of its conditions, asked by itself, holds for the datum."""
    book, record = PlanBook(), Record("g", 1)
    blueprints = [
        blueprint_of(CountTracker(f"t{i}", 1000, conditions=conditions)) for i, conditions in enumerate(goals)
    ]
    for serial, blueprint in enumerate(blueprints, 1):
        record.rows[blueprint.name] = blueprint.start(1, serial, 0.0)
    plan = book.plan_for("g", record.rows)
    for datum in data:
        result = track(plan, record.rows, record, datum, 0.0)
        expected = [
            f"t{i}" for i, conditions in enumerate(goals) if all(condition.check(datum) for condition in conditions)
        ]
        assert [row.name for row in result.dirtied] == expected
        assert result.rejected == ()


@settings(max_examples=100, deadline=None, print_blob=True)
@given(
    wanted=st.lists(st.sampled_from(["a", "b", "c", "a.a", "a.b", "a.c"]), min_size=1, max_size=6, unique=True),
    datum=st.recursive(
        st.just({}),
        lambda inner: st.dictionaries(st.sampled_from([Word.A, Word.B, Text("c"), "b"]), inner, max_size=3),
        max_leaves=6,
    ),
)
def test_a_key_is_found_whatever_class_of_text_it_is(wanted: list[str], datum: dict[Any, Any]) -> None:
    """A datum whose keys are members of a StrEnum is found like one with plain text, in any group."""
    book = PlanBook()
    blueprints = [blueprint_of(CountTracker(key, 9, conditions=[KeyExists(key)])) for key in wanted]
    rows = {blueprint.name: blueprint.start(1, i, 0.0) for i, blueprint in enumerate(blueprints, 1)}
    result = track(book.plan_for("g", rows), rows, Record("g", 1), datum, 0.0)
    assert [row.name for row in result.dirtied] == [key for key in wanted if KeyExists(key).check(datum)]


@settings(max_examples=100, deadline=None, print_blob=True)
@given(keys=st.lists(KEYS, min_size=1, max_size=5), datum=DATA)
def test_an_amount_is_found_wherever_its_path_leads(keys: list[str], datum: dict[Any, Any]) -> None:
    """An accumulation without conditions meets a datum exactly when its key is there."""
    book, record = PlanBook(), Record("g", 1)
    for serial, key in enumerate(keys, 1):
        blueprint = blueprint_of(AccumulationTracker(f"t{serial}", 2**60, key=key))
        record.rows[blueprint.name] = blueprint.start(1, serial, 0.0)
    result = track(book.plan_for("g", record.rows), record.rows, record, datum, 0.0)
    met = [row.name for row in result.dirtied] + [rejected.name for rejected in result.rejected]
    completed = {row.name for row in result.completed}
    assert sorted(met) == [f"t{i}" for i, key in enumerate(keys, 1) if KeyExists(key).check(datum)]
    assert completed <= set(met)


@settings(max_examples=100, deadline=None, print_blob=True)
@given(goals=st.lists(st.lists(SIMPLE, max_size=2), min_size=2, max_size=8), gone=st.data(), datum=DATA)
def test_a_tracker_that_is_taken_out_leaves_the_others_where_they_are(
    goals: list[list[BaseCondition]], gone: st.DataObject, datum: dict[Any, Any]
) -> None:
    """Removing trackers from an index, and putting them back, leaves what the rest finds as it was."""
    book = PlanBook()
    blueprints = [blueprint_of(CountTracker(f"t{i}", 9, conditions=goal)) for i, goal in enumerate(goals)]
    rows = {blueprint.name: blueprint.start(1, i, 0.0) for i, blueprint in enumerate(blueprints, 1)}
    plan, record = book.plan_for("g", rows), Record("g", 1)
    before = [row.name for row in track(plan, rows, record, datum, 0.0).dirtied]
    leaving = gone.draw(st.sets(st.sampled_from(sorted(rows))))
    for name in leaving:
        plan.discard(name)
    assert [row.name for row in track(plan, rows, record, datum, 0.0).dirtied] == [
        n for n in before if n not in leaving
    ]
    for name in leaving:
        plan.add(rows[name].blueprint)
    assert {row.name for row in track(plan, rows, record, datum, 0.0).dirtied} == set(before)
