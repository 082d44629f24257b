"""Conditions are combined with AllOf, AnyOf, Not, with operators, and written with ``where``."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import (
    AllOf,
    AnyOf,
    BaseCondition,
    InvalidDefinition,
    KeyExists,
    KeyNotExists,
    KeyValueContained,
    KeyValueEQ,
    KeyValueGE,
    KeyValueGT,
    KeyValueInList,
    KeyValueLE,
    KeyValueListHasItem,
    KeyValueListIntersectList,
    KeyValueLT,
    KeyValueNE,
    KeyValueNotInList,
    Not,
    where,
)

A, B, C = KeyExists("a"), KeyExists("b"), KeyExists("c")
DATA: list[dict[str, Any]] = [{key: 1 for key in "abc" if mask >> "abc".index(key) & 1} for mask in range(8)]


@pytest.mark.parametrize("data", DATA, ids=str)
def test_combinations_mean_what_their_words_say(data: dict[str, Any]) -> None:
    """AllOf needs all, AnyOf needs one, Not turns round; nested as deep as one likes."""
    a, b, c = "a" in data, "b" in data, "c" in data
    assert AllOf(A, B, C).check(data) is (a and b and c)
    assert AnyOf(A, B, C).check(data) is (a or b or c)
    assert Not(A).check(data) is (not a)
    assert AnyOf(AllOf(A, Not(B)), Not(AnyOf(A, C))).check(data) is ((a and not b) or not (a or c))


def test_operators_build_the_same_conditions() -> None:
    """``&``, ``|`` and ``~`` build AllOf, AnyOf and Not; equal conditions are equal."""
    assert AllOf(A, B) == (A & B)
    assert AnyOf(A, B) == (A | B)
    assert Not(A) == ~A
    assert AnyOf(AllOf(A, B), Not(C)) == ((A & B) | ~C)
    assert hash(A & B) == hash(AllOf(A, B))
    assert AllOf(B, A) != (A & B)


WRITTEN: list[tuple[BaseCondition, BaseCondition]] = [
    (where("k") == 1, KeyValueEQ("k", 1)),
    (where("k") != 1, KeyValueNE("k", 1)),
    (where("k") > 1, KeyValueGT("k", 1)),
    (where("k") >= 1, KeyValueGE("k", 1)),
    (where("k") < 1, KeyValueLT("k", 1)),
    (where("k") <= 1, KeyValueLE("k", 1)),
    (where("k").exists(), KeyExists("k")),
    (where("k").missing(), KeyNotExists("k")),
    (where("k").is_in([1, 2]), KeyValueInList("k", [1, 2])),
    (where("k").not_in([1, 2]), KeyValueNotInList("k", [1, 2])),
    (where("k").contains("x"), KeyValueContained("k", "x")),
    (where("k").contains("x", case_sensitive=True), KeyValueContained("k", "x", case_sensitive=True)),
    (where("k").has("vip"), KeyValueListHasItem("k", "vip")),
    (where("k").has_any(["vip"]), KeyValueListIntersectList("k", ["vip"])),
]


@pytest.mark.parametrize(("written", "built"), WRITTEN, ids=str)
def test_where_builds_the_same_objects(written: BaseCondition, built: BaseCondition) -> None:
    """``where("age") >= 18`` is ``KeyValueGE("age", 18)``: one object, one definition."""
    assert type(written) is type(built)
    assert written == built
    assert written.to_definition() == built.to_definition()


def test_where_alone_is_no_condition() -> None:
    """``where(key)`` that was not compared cannot be taken for a condition by mistake."""
    with pytest.raises(TypeError, match="compare it"):
        bool(where("k"))
    with pytest.raises(TypeError):
        hash(where("k"))
    with pytest.raises(InvalidDefinition, match="BaseCondition"):
        AllOf(where("k"))


def test_combinations_refuse_what_is_no_condition() -> None:
    """An empty combination, or one of something else, says what is allowed."""
    with pytest.raises(InvalidDefinition, match="at least 1"):
        AllOf()
    with pytest.raises(InvalidDefinition, match="at least 1"):
        AnyOf()
    with pytest.raises(InvalidDefinition, match=r"Not.condition must be a BaseCondition, got 3"):
        Not(3)
    with pytest.raises(TypeError):
        A & 3


def test_values_are_copied_when_a_condition_is_made() -> None:
    """Changing a list after a condition was made of it changes nothing about the condition."""
    wanted: list[Any] = ["a", ["b"]]
    in_list, equal = KeyValueInList("k", wanted), KeyValueEQ("k", wanted)
    wanted.append("c")
    wanted[1].append("d")
    assert not in_list.check({"k": "c"})
    assert in_list.check({"k": ["b"]})
    assert equal.check({"k": ["a", ["b"]]})


class Raises(BaseCondition, kind="test.combining.raises"):
    """A condition that breaks."""

    def check(self, data: Any, **context: Any) -> bool:
        raise RuntimeError("broken")


def test_what_settles_a_combination_settles_it_wherever_it_stands() -> None:
    """One that is not settles AllOf and one that is AnyOf, before and behind one that raises; nothing else does."""
    yes, no = {"a": 1}, dict[str, int]()
    for parts in ((A, Raises()), (Raises(), A)):
        assert AnyOf(*parts).check(yes) is True
        assert AllOf(*parts).check(no) is False
        for undecided in (lambda parts=parts: AnyOf(*parts).check(no), lambda parts=parts: AllOf(*parts).check(yes)):
            with pytest.raises(RuntimeError, match="broken"):
                undecided()
