"""Conditions on the value at a key. A missing key is False for all but ``KeyNotExists``.

Keys are dotted paths (``user.tags.0``, ``a\\.b``). A present None exists. Equality is
Python's, so ``1``, ``1.0`` and ``True`` are equal; values that do not compare are False.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import PlainValidator

from milepost._keypaths import MISSING, getter, parse
from milepost._kinds import Text, Value, Values
from milepost.conditions.base import BaseCondition, Lookup, Test

__all__ = [
    "KeyExists",
    "KeyNotExists",
    "KeyValueComparison",
    "KeyValueContained",
    "KeyValueEQ",
    "KeyValueGE",
    "KeyValueGT",
    "KeyValueInList",
    "KeyValueLE",
    "KeyValueLT",
    "KeyValueListHasItem",
    "KeyValueListIntersectList",
    "KeyValueListNotHasItem",
    "KeyValueListNotIntersectList",
    "KeyValueNE",
    "KeyValueNotContained",
    "KeyValueNotInList",
]

_SAFE_TO_LOOK_UP: Final = (str, int, float, bool, type(None))


class _KeyCondition(BaseCondition, abstract=True):
    """What all conditions on one key share: the path, and a question about the value there."""

    key: Text

    def question(self) -> Callable[[Any], bool]:
        """Return the question that is put to a value that is there."""
        raise NotImplementedError

    def compiled(self) -> Test:
        get, ask = getter(self.key), self.question()

        def test(data: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
            value = get(data)
            return value is not MISSING and ask(value)

        return test

    def check(self, data: Mapping[str, Any], /, *args: Any, **kwargs: Any) -> bool:
        return self.compiled()(data, kwargs)

    def lookups(self) -> tuple[Lookup, ...]:
        return (Lookup(parse(self.key), None),)


class KeyExists(_KeyCondition):
    """The key is there, whatever its value, None included.

    Args:
        key: a dotted path.
    """

    def question(self) -> Callable[[Any], bool]:
        return lambda value: True


class KeyNotExists(_KeyCondition):
    """The key is not there.

    Args:
        key: a dotted path.
    """

    def compiled(self) -> Test:
        get = getter(self.key)
        return lambda data, context: get(data) is MISSING

    def lookups(self) -> tuple[Lookup, ...]:
        return ()


class _Comparison(_KeyCondition, abstract=True):
    value: Value

    operator: ClassVar[Callable[[Any, Any], Any]]

    def question(self) -> Callable[[Any], bool]:
        return _comparing(type(self).operator, self.value)


def _comparing(compare: Callable[[Any, Any], Any], wanted: Any) -> Callable[[Any], bool]:
    def ask(value: Any) -> bool:
        try:
            return bool(compare(value, wanted))
        except (TypeError, ArithmeticError):  # types that do not compare; a Decimal NaN
            return False

    return ask


def _equality_lookup(key: str, values: tuple[Any, ...]) -> Lookup:
    safe = all(type(value) in _SAFE_TO_LOOK_UP for value in values)
    return Lookup(parse(key), values if safe else None)


class KeyValueEQ(_Comparison):
    """The value equals ``value``.

    Args:
        key: a dotted path.
        value: any storable value; copied.
    """

    operator = operator.eq

    def lookups(self) -> tuple[Lookup, ...]:
        return (_equality_lookup(self.key, (self.value,)),)


class KeyValueNE(_Comparison):
    """The value is there and does not equal ``value``.

    Args:
        key: a dotted path.
        value: any storable value; copied.
    """

    operator = operator.ne


class KeyValueGT(_Comparison):
    """The value is greater than ``value``.

    Args:
        key: a dotted path.
        value: any storable value; copied.
    """

    operator = operator.gt


class KeyValueGE(_Comparison):
    """The value is greater than or equal to ``value``.

    Args:
        key: a dotted path.
        value: any storable value; copied.
    """

    operator = operator.ge


class KeyValueLT(_Comparison):
    """The value is less than ``value``.

    Args:
        key: a dotted path.
        value: any storable value; copied.
    """

    operator = operator.lt


class KeyValueLE(_Comparison):
    """The value is less than or equal to ``value``.

    Args:
        key: a dotted path.
        value: any storable value; copied.
    """

    operator = operator.le


_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_SYMBOLS: Final = {function: symbol for symbol, function in _OPERATORS.items()}


def _symbol(op: Any) -> str:
    if isinstance(op, str) and op in _OPERATORS:
        return op
    if isinstance(op, str) and hasattr(operator, op) and getattr(operator, op) in _SYMBOLS:
        return _SYMBOLS[getattr(operator, op)]
    for function, symbol in _SYMBOLS.items():
        if op is function:
            return symbol
    raise ValueError(f"must be one of {', '.join(_OPERATORS)} or the function of `operator` for it, got {op!r}")


class KeyValueComparison(_KeyCondition):
    """The value compares with ``value`` by an operator given as data.

    Args:
        key: a dotted path.
        value: any storable value; copied.
        op: ``"=="``, ``"!="``, ``">"``, ``">="``, ``"<"``, ``"<="`` or the function of the
            ``operator`` module that does the same.
    """

    value: Value
    op: Annotated[Any, PlainValidator(_symbol)] = "=="

    def question(self) -> Callable[[Any], bool]:
        return _comparing(_OPERATORS[self.op], self.value)

    def lookups(self) -> tuple[Lookup, ...]:
        if self.op == "==":
            return (_equality_lookup(self.key, (self.value,)),)
        return super().lookups()


class KeyValueContained(_KeyCondition):
    """The text at the key contains ``value``.

    Args:
        key: a dotted path.
        value: the text to look for.
        case_sensitive: whether case matters; by default it does not.
    """

    value: Text
    case_sensitive: bool = False

    def question(self) -> Callable[[Any], bool]:
        wanted = self.value
        if self.case_sensitive:
            return lambda value: isinstance(value, str) and wanted in value
        folded = wanted.casefold()
        return lambda value: isinstance(value, str) and folded in value.casefold()


class KeyValueNotContained(KeyValueContained):
    """The text at the key does not contain ``value``; False for what is no text.

    Args:
        key: a dotted path.
        value: the text to look for.
        case_sensitive: whether case matters; by default it does not.
    """

    def question(self) -> Callable[[Any], bool]:
        contains = super().question()
        return lambda value: isinstance(value, str) and not contains(value)


class KeyValueInList(_KeyCondition):
    """The value at the key is one of ``value``.

    Args:
        key: a dotted path.
        value: a list of storable values; copied.
    """

    value: Values

    def question(self) -> Callable[[Any], bool]:
        wanted = tuple(self.value)
        return lambda value: _is_among(value, wanted)

    def lookups(self) -> tuple[Lookup, ...]:
        return (_equality_lookup(self.key, tuple(self.value)),)


class KeyValueNotInList(_KeyCondition):
    """The value at the key is there and none of ``value``.

    Args:
        key: a dotted path.
        value: a list of storable values; copied.
    """

    value: Values

    def question(self) -> Callable[[Any], bool]:
        wanted = tuple(self.value)
        return lambda value: not _is_among(value, wanted)


def _is_among(value: Any, values: Iterable[Any]) -> bool:
    """Whether a value equals one of others; what does not compare does not."""
    for other in values:
        try:
            if value == other:
                return True
        except (TypeError, ArithmeticError):
            continue
    return False


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset)


class KeyValueListHasItem(_KeyCondition):
    """The list at the key has the item ``value``; False for what is no list.

    Args:
        key: a dotted path.
        value: any storable value; copied.
    """

    value: Value

    def question(self) -> Callable[[Any], bool]:
        wanted = self.value
        return lambda value: _is_list(value) and _is_among(wanted, value)


class KeyValueListNotHasItem(_KeyCondition):
    """The list at the key does not have the item ``value``; False for what is no list.

    Args:
        key: a dotted path.
        value: any storable value; copied.
    """

    value: Value

    def question(self) -> Callable[[Any], bool]:
        wanted = self.value
        return lambda value: _is_list(value) and not _is_among(wanted, value)


class KeyValueListIntersectList(_KeyCondition):
    """The list at the key shares an item with ``value``; False for what is no list.

    Args:
        key: a dotted path.
        value: a list of storable values; copied.
    """

    value: Values

    def question(self) -> Callable[[Any], bool]:
        wanted = tuple(self.value)
        return lambda value: _is_list(value) and any(_is_among(item, wanted) for item in value)


class KeyValueListNotIntersectList(_KeyCondition):
    """The list at the key shares no item with ``value``; False for what is no list.

    Args:
        key: a dotted path.
        value: a list of storable values; copied.
    """

    value: Values

    def question(self) -> Callable[[Any], bool]:
        wanted = tuple(self.value)
        return lambda value: _is_list(value) and not any(_is_among(item, wanted) for item in value)
