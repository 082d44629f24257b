"""What may happen to a dict, a list, a set and an object, as hypothesis makes it up.

An operation is a function of the container; it is done to a built-in one and to a tracked one.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import strategies as st

from milepost.changes.values import freeze

__all__ = ["Operation", "dict_operations", "list_operations", "object_operations", "outcome", "set_operations"]


class Operation(NamedTuple):
    """Something to do, with a name for hypothesis to show."""

    name: str
    do: Callable[[Any], Any]

    def __repr__(self) -> str:
        return self.name


class Result(NamedTuple):
    """What came of it: a value, or the type of what was raised."""

    value: Any = None
    raised: type[BaseException] | None = None


def outcome(operation: Operation, container: Any) -> Result:
    """Do something; say what came of it."""
    try:
        return Result(operation.do(container))
    except Exception as error:
        return Result(raised=type(error))


KEYS = st.sampled_from(["a", "b", "c", 1, None, (1, 2)])
SCALARS = st.one_of(
    st.integers(-3, 9), st.text("xyz", max_size=2), st.none(), st.booleans(), st.just(Decimal("1.50")), st.just(2.5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3), st.sets(st.integers(0, 5), max_size=3)
    ),
    max_leaves=5,
)
INDICES = st.integers(-6, 6)
SLICES = st.builds(
    slice, st.none() | INDICES, st.none() | INDICES, st.none() | st.sampled_from([1, 2, 3, -1, -2])
)  # fmt: skip
ITEMS = st.sets(st.integers(0, 6), max_size=4)


def _op(name: str, do: Callable[[Any, Any], Any], arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    """Return operations with an argument; each container gets its own copy of it."""
    return arguments.map(lambda given: Operation(f"{name} {given!r}", lambda box: do(box, copy.deepcopy(given))))


def _method(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    return _op(name, lambda box, given: getattr(box, name)(*given), st.tuples(*arguments))


def _in_place(operation: Callable[[Any, Any], Any], given: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    def do(box: Any, other: Any) -> bool:
        return operation(box, other) is box

    return _op(operation.__name__, do, given)


def _shown(item: Any) -> str:
    return repr(freeze(item))  # a subclass of set says its name


def _pop_some(box: Any) -> bool:
    return box.pop() in box


def _delete(box: Any, key: Any) -> None:
    del box[key]


dict_operations = st.one_of(
    _op("set", lambda box, given: box.__setitem__(*given), st.tuples(KEYS, VALUES)),
    _op("set", lambda box, given: box.__setitem__(*given), st.tuples(KEYS, VALUES)),
    _op("del", _delete, KEYS),
    _method("pop", KEYS),
    _method("pop", KEYS, SCALARS),
    _method("popitem"),
    _method("setdefault", KEYS, VALUES),
    _method("setdefault", KEYS),
    _method("update", st.dictionaries(KEYS, VALUES, max_size=3)),
    _method("update", st.lists(st.tuples(KEYS, SCALARS), max_size=3)),
    _method("update", st.integers()),
    _op(
        "update keywords",
        lambda box, given: box.update(**given),
        st.dictionaries(st.sampled_from(["a", "self"]), VALUES),
    ),
    _in_place(operator.ior, st.dictionaries(KEYS, VALUES, max_size=3)),
    _in_place(operator.ior, st.lists(st.tuples(KEYS, SCALARS), max_size=2)),
    _method("clear"),
    _method("get", KEYS),
    _op("unhashable", lambda box, given: box.__setitem__([], given), SCALARS),
    _op("or", operator.or_, st.dictionaries(KEYS, VALUES, max_size=2)),
    _op("contains", operator.contains, KEYS),
    _op("equal", operator.eq, st.dictionaries(KEYS, VALUES, max_size=2)),
    st.just(Operation("reversed", lambda box: list(reversed(box)))),
    st.just(Operation("views", lambda box: (list(box.keys()), list(box.values()), list(box.items()), len(box)))),
    st.just(Operation("copy", lambda box: box.copy())),
)

list_operations = st.one_of(
    _op("set", lambda box, given: box.__setitem__(*given), st.tuples(INDICES, VALUES)),
    _op("set slice", lambda box, given: box.__setitem__(*given), st.tuples(SLICES, st.lists(VALUES, max_size=4))),
    _op("set slice", lambda box, given: box.__setitem__(*given), st.tuples(SLICES, st.just("xy") | st.integers())),
    _op("set slice to itself", lambda box, given: box.__setitem__(given, box), SLICES),
    _op("del", _delete, INDICES),
    _op("del slice", _delete, SLICES),
    _op("get", operator.getitem, INDICES | SLICES),
    _method("append", VALUES),
    _method("append", VALUES),
    _method("insert", INDICES, VALUES),
    _method("extend", st.lists(VALUES, max_size=4)),
    _method("extend", st.text("xyz", max_size=3) | st.integers()),
    _method("pop"),
    _method("pop", INDICES),
    _method("remove", SCALARS),
    _method("index", SCALARS),
    _method("count", SCALARS),
    _method("clear"),
    _method("reverse"),
    st.just(Operation("sort", lambda box: box.sort())),
    st.booleans().map(lambda back: Operation(f"sort by repr {back}", lambda box: box.sort(key=_shown, reverse=back))),
    _in_place(operator.iadd, st.lists(VALUES, max_size=3)),
    _in_place(operator.iadd, st.integers()),
    _in_place(operator.imul, st.integers(-1, 2) | st.text(max_size=1)),
    _op("add", operator.add, st.lists(SCALARS, max_size=2)),
    _op("mul", operator.mul, st.integers(0, 2)),
    _op("less", operator.lt, st.lists(st.integers(), max_size=3)),
    _op("equal", operator.eq, st.lists(SCALARS, max_size=2)),
    _op("contains", operator.contains, SCALARS),
    _op("again", lambda box, given: box.__init__(given), st.lists(SCALARS, max_size=3)),
    st.just(Operation("extend itself", lambda box: box.extend(box) if len(box) < 20 else None)),
    st.just(Operation("reversed", lambda box: list(reversed(box)))),
    st.just(Operation("copy", lambda box: box.copy())),
)

set_operations = st.one_of(
    _method("add", st.integers(0, 6)),
    _method("add", st.integers(0, 6)),
    _method("add", st.lists(st.integers(), max_size=1)),
    _method("discard", st.integers(0, 6)),
    _method("remove", st.integers(0, 6)),
    _method("remove", ITEMS),
    _method("clear"),
    _method("update", ITEMS, st.lists(st.integers(0, 6), max_size=2)),
    _method("update", st.integers()),
    _method("difference_update", ITEMS, ITEMS),
    _method("intersection_update", ITEMS),
    _method("intersection_update"),
    _method("symmetric_difference_update", ITEMS | st.lists(st.integers(0, 6), max_size=4)),
    _in_place(operator.ior, ITEMS),
    _in_place(operator.iand, ITEMS),
    _in_place(operator.isub, ITEMS),
    _in_place(operator.ixor, ITEMS),
    _in_place(operator.ior, st.lists(st.integers(0, 6), max_size=2)),
    _in_place(operator.ixor, st.integers()),
    *(_op(each.__name__, each, ITEMS) for each in (operator.or_, operator.and_, operator.sub, operator.xor)),
    *(_op(each.__name__, each, ITEMS) for each in (operator.lt, operator.le, operator.eq, operator.contains)),
    _method("isdisjoint", ITEMS),
    _method("union", ITEMS),
    st.just(Operation("and itself", lambda box: operator.iand(box, box) is box)),
    st.just(Operation("minus itself", lambda box: operator.isub(box, box) is box)),
    st.just(Operation("xor itself", lambda box: operator.ixor(box, box) is box)),
    _op("again", lambda box, given: box.__init__(given), ITEMS),
    st.just(Operation("pop", _pop_some)),
    st.just(Operation("copy", lambda box: box.copy())),
)

NAMES = st.sampled_from(["a", "b", "_c", "limit"])

object_operations = st.one_of(
    _op("set", lambda box, given: setattr(box, *given), st.tuples(NAMES, VALUES)),
    _op("set", lambda box, given: setattr(box, *given), st.tuples(NAMES, VALUES)),
    _op("del", delattr, NAMES),
    _op("get", getattr, NAMES),
    _op("has", hasattr, NAMES),
    _op("set in vars", lambda box, given: vars(box).__setitem__(*given), st.tuples(NAMES, VALUES)),
    _op("update vars", lambda box, given: vars(box).update(given), st.dictionaries(NAMES, VALUES, max_size=3)),
    _op("pop from vars", lambda box, given: vars(box).pop(given), NAMES),
    _op("property", lambda box, given: setattr(box, "doubled", given), st.integers(0, 3)),
    _op("new vars", lambda box, given: setattr(box, "__dict__", given), st.dictionaries(NAMES, VALUES, max_size=2)),
    st.just(Operation("clear vars", lambda box: vars(box).clear())),
    st.just(Operation("vars", lambda box: list(vars(box)))),
    st.just(Operation("dir", lambda box: [name for name in dir(box) if name in ("a", "b", "_c", "limit", "doubled")])),
)
