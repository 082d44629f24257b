"""What each condition on a key says, for values that are there, missing, None or of another type."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from milepost import (
    BaseCondition,
    KeyExists,
    KeyNotExists,
    KeyValueComparison,
    KeyValueContained,
    KeyValueEQ,
    KeyValueGE,
    KeyValueGT,
    KeyValueInList,
    KeyValueLE,
    KeyValueListHasItem,
    KeyValueListIntersectList,
    KeyValueListNotHasItem,
    KeyValueListNotIntersectList,
    KeyValueLT,
    KeyValueNE,
    KeyValueNotContained,
    KeyValueNotInList,
)

ABSENT = object()
NAN = float("nan")

EACH = [
    KeyValueEQ("k", 5),
    KeyValueNE("k", 5),
    KeyValueGT("k", 5),
    KeyValueGE("k", 5),
    KeyValueLT("k", 5),
    KeyValueLE("k", 5),
    *(KeyValueComparison("k", 5, op) for op in ("==", "!=", ">", ">=", "<", "<=")),
    KeyValueContained("k", "x"),
    KeyValueNotContained("k", "x"),
    KeyValueInList("k", [5]),
    KeyValueNotInList("k", [5]),
    KeyValueListHasItem("k", 5),
    KeyValueListNotHasItem("k", 5),
    KeyValueListIntersectList("k", [5]),
    KeyValueListNotIntersectList("k", [5]),
    KeyExists("k"),
]

CASES: list[tuple[BaseCondition, list[Any], list[Any]]] = [
    (KeyExists("k"), [0, None, "", [], {}, False], [ABSENT]),
    (KeyNotExists("k"), [ABSENT], [0, None, "", [], {}, False]),
    (KeyValueEQ("k", 5), [5, 5.0, Decimal(5)], [ABSENT, 4, "5", None, [5]]),
    (KeyValueEQ("k", "a"), ["a"], [ABSENT, "A", None, 1, b"a"]),
    (KeyValueEQ("k", None), [None], [ABSENT, 0, False, ""]),
    (KeyValueEQ("k", [1, 2]), [[1, 2]], [ABSENT, [2, 1], (1, 2), None]),
    (KeyValueNE("k", 5), [4, None, "5", [], NAN], [ABSENT, 5, 5.0]),
    (KeyValueNE("k", None), [0, ""], [ABSENT, None]),
    (KeyValueGT("k", 5), [5.1, 6, Decimal(6)], [ABSENT, 5, 4, None, "6", [6], NAN]),
    (KeyValueGE("k", 5), [5, 6], [ABSENT, 4.9, None, "6", {}, NAN]),
    (KeyValueLT("k", 5), [4.9, -1], [ABSENT, 5, 6, None, "4", [], NAN]),
    (KeyValueLE("k", 5), [5, -1], [ABSENT, 5.1, None, "4", NAN]),
    (KeyValueGT("k", "b"), ["c"], [ABSENT, "b", "a", 1, None]),
    (KeyValueComparison("k", 5), [5], [ABSENT, 4, None]),
    (KeyValueComparison("k", 5, ">="), [5, 6], [ABSENT, 4, None, "9"]),
    (KeyValueComparison("k", 5, "!="), [4, None], [ABSENT, 5]),
    (KeyValueContained("k", "Vip"), ["vip", "a VIP guest", "Vip"], [ABSENT, "vi", None, 5, ["vip"]]),
    (KeyValueContained("k", "Vip", case_sensitive=True), ["Vip", "a Vip"], [ABSENT, "vip", "VIP", None]),
    (KeyValueContained("k", "STRASSE"), ["Hauptstraße"], [ABSENT, "weg"]),
    (KeyValueNotContained("k", "Vip"), ["guest", ""], [ABSENT, "vip", "VIP", None, 5, ["x"]]),
    (KeyValueNotContained("k", "Vip", case_sensitive=True), ["vip", "VIP"], [ABSENT, "a Vip", None]),
    (KeyValueInList("k", [1, "a", None]), [1, 1.0, "a", None], [ABSENT, 2, "A", [1], NAN, {}]),
    (KeyValueNotInList("k", [1, "a"]), [2, None, "A", [1], {}, NAN], [ABSENT, 1, 1.0, "a"]),
    (KeyValueListHasItem("k", 5), [[5], (4, 5), {5}, frozenset({5})], [ABSENT, [4], [], 5, "5", None, {5: 1}]),
    (KeyValueListNotHasItem("k", 5), [[4], [], ()], [ABSENT, [5], 5, "4", None, {4: 1}]),
    (KeyValueListIntersectList("k", [1, "a"]), [[1], ["a", 2], (1,), {1}], [ABSENT, [], [2], 1, "a", None]),
    (KeyValueListNotIntersectList("k", [1, "a"]), [[], [2], ("b",)], [ABSENT, [1], ["a"], 1, "b", None]),
    (KeyValueListHasItem("k", None), [[None]], [ABSENT, [], [0], None]),
    (KeyValueListIntersectList("k", []), [], [ABSENT, [], [1], None]),
]

YES = [(condition, value) for condition, yes, _ in CASES for value in yes]
NO = [(condition, value) for condition, _, no in CASES for value in no]


def datum(value: Any) -> dict[str, Any]:
    return {"other": 1} if value is ABSENT else {"k": value, "other": 1}


@pytest.mark.parametrize(("condition", "value"), YES, ids=str)
def test_a_condition_holds_for_what_it_describes(condition: BaseCondition, value: Any) -> None:
    """A condition is true for every value that its docstring describes."""
    assert condition.check(datum(value)) is True


@pytest.mark.parametrize(("condition", "value"), NO, ids=str)
def test_a_condition_does_not_hold_for_anything_else(condition: BaseCondition, value: Any) -> None:
    """A condition is false, and raises nothing, for other values, other types, None and missing keys."""
    assert condition.check(datum(value)) is False


@pytest.mark.parametrize("condition", EACH, ids=str)
def test_a_missing_key_is_false_for_all_but_key_not_exists(condition: BaseCondition) -> None:
    """A missing key makes every condition False, the negative ones included; only KeyNotExists is true."""
    assert condition.check({}) is False
    assert KeyNotExists("k").check({}) is True


@pytest.mark.parametrize("condition", EACH, ids=str)
@pytest.mark.parametrize(
    "value",
    [object(), 1j, {}, {1}, b"x", type, NAN, Decimal("NaN"), Decimal("sNaN"), [Decimal("sNaN")], range(3)],
    ids=["object", "complex", "dict", "set", "bytes", "type", "nan", "NaN", "sNaN", "list of sNaN", "range"],
)
def test_types_that_do_not_compare_raise_nothing(condition: BaseCondition, value: Any) -> None:
    """A comparison of types that do not compare is an answer, never an exception."""
    assert condition.check({"k": value}) in (True, False)


@pytest.mark.parametrize("condition", EACH, ids=str)
def test_conditions_take_more_arguments_than_they_need(condition: BaseCondition) -> None:
    """``check`` can be called with positional and keyword extras, as older systems call it."""
    assert condition.check({"k": 5}, "positional", now_ts=1.0) is condition.check({"k": 5})


@pytest.mark.parametrize("op", ["eq", "ne", "gt", "ge", "lt", "le"])
def test_an_operator_may_be_given_as_a_symbol_a_name_or_the_function(op: str) -> None:
    """KeyValueComparison takes ``"<"``, ``"lt"`` and ``operator.lt`` alike; they are one condition."""
    import operator

    symbol = {"eq": "==", "ne": "!=", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}[op]
    forms = [KeyValueComparison("k", 5, form) for form in (symbol, op, getattr(operator, op))]
    assert len({form.identity() for form in forms}) == 1
    assert [forms[0].check({"k": k}) for k in (4, 5, 6)] == [getattr(operator, op)(k, 5) for k in (4, 5, 6)]
