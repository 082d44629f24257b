"""Conditions written as expressions: ``where("age") >= 18``, ``where("tags").has("vip")``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from milepost.conditions.base import BaseCondition
from milepost.conditions.keys import (
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
)

__all__ = ["where"]


class where:
    """The start of a condition on a key.

    ``where("status") == "active"`` is ``KeyValueEQ("status", "active")``; what it builds are
    ordinary conditions, combined with ``&``, ``|`` and ``~``.

    Args:
        key: a dotted path.
    """

    __hash__ = None  # type: ignore[assignment]  # it is no value, only the start of one

    def __init__(self, key: str) -> None:
        self._key = key

    def __eq__(self, value: object) -> BaseCondition:  # type: ignore[override]
        return KeyValueEQ(self._key, value)

    def __ne__(self, value: object) -> BaseCondition:  # type: ignore[override]
        return KeyValueNE(self._key, value)

    def __gt__(self, value: Any) -> BaseCondition:
        return KeyValueGT(self._key, value)

    def __ge__(self, value: Any) -> BaseCondition:
        return KeyValueGE(self._key, value)

    def __lt__(self, value: Any) -> BaseCondition:
        return KeyValueLT(self._key, value)

    def __le__(self, value: Any) -> BaseCondition:
        return KeyValueLE(self._key, value)

    def exists(self) -> BaseCondition:
        """The key is there."""
        return KeyExists(self._key)

    def missing(self) -> BaseCondition:
        """The key is not there."""
        return KeyNotExists(self._key)

    def is_in(self, values: Iterable[Any]) -> BaseCondition:
        """The value is one of these.

        Args:
            values: storable values; copied.
        """
        return KeyValueInList(self._key, tuple(values))

    def not_in(self, values: Iterable[Any]) -> BaseCondition:
        """The value is there and none of these.

        Args:
            values: storable values; copied.
        """
        return KeyValueNotInList(self._key, tuple(values))

    def contains(self, text: str, *, case_sensitive: bool = False) -> BaseCondition:
        """The text at the key contains this text.

        Args:
            text: what to look for.
            case_sensitive: whether ``"A"`` and ``"a"`` differ.
        """
        return KeyValueContained(self._key, text, case_sensitive)

    def has(self, item: Any) -> BaseCondition:
        """The list at the key has this item.

        Args:
            item: a storable value; copied.
        """
        return KeyValueListHasItem(self._key, item)

    def has_any(self, items: Iterable[Any]) -> BaseCondition:
        """The list at the key has one of these items.

        Args:
            items: storable values; copied.
        """
        return KeyValueListIntersectList(self._key, tuple(items))

    def __repr__(self) -> str:
        return f"where({self._key!r})"

    def __bool__(self) -> bool:
        raise TypeError("where(key) is not a condition yet; compare it: where(key) == value")
