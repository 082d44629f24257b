"""What decides whether a datum counts. The door: modules inside import from the leaves."""

from milepost.conditions.base import BaseCondition
from milepost.conditions.combinators import AllOf, AnyOf, Not
from milepost.conditions.keys import (
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
from milepost.conditions.where import where

__all__ = [
    "AllOf",
    "AnyOf",
    "BaseCondition",
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
    "Not",
    "where",
]
