"""Adding numbers that come from outside, with bounds that are the same on every backend.

Integers and decimals are exact, floats are floats. What cannot be added is refused with a
:class:`Refused` that says why: NaN, infinity, booleans, text that is no number, and results
beyond 64-bit integers, 34 digits (IEEE 754 decimal128) or finite floats.
"""

from __future__ import annotations

import math
import re
from decimal import (
    ROUND_HALF_EVEN,
    Clamped,
    Context,
    Decimal,
    DecimalException,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from typing import Any, Final

__all__ = ["INT64_MAX", "Number", "Refused", "add", "as_decimal", "as_number", "whole_cycles"]

Number = int | float | Decimal

INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)

_DECIMAL128: Final = Context(
    prec=34,
    rounding=ROUND_HALF_EVEN,
    Emin=-6143,
    Emax=6144,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[Inexact, Overflow, InvalidOperation, DivisionByZero, Clamped],
)
_NUMERAL: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_LONGEST_NUMERAL: Final = 64


class Refused(Exception):
    """A value that must not move a tracker; the message says why."""


def as_number(value: Any) -> Number:
    """Return the number that a value from outside is.

    Raises:
        Refused: when it is none, or not a finite one.
    """
    kind = type(value)
    if kind is int:
        return value  # type: ignore[no-any-return]
    if kind is float:
        if math.isfinite(value):
            return value  # type: ignore[no-any-return]
        raise Refused(f"{value!r} is not a finite number")
    if isinstance(value, bool):
        raise Refused(f"{value!r} is a boolean, not a number")
    if isinstance(value, Decimal):
        if value.is_finite():
            return Decimal(value)
        raise Refused(f"{value} is not a finite number")
    if isinstance(value, str):
        return _numeral(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return as_number(float(value))
    raise Refused(f"a {kind.__name__} is not a number")


def _numeral(text: str) -> Number:
    if len(text) > _LONGEST_NUMERAL or _NUMERAL.fullmatch(text) is None:
        raise Refused(f"the text {text[:40]!r} is not a number")
    return int(text) if text.lstrip("+-").isdecimal() else Decimal(text)


def as_decimal(number: Number) -> Decimal:
    """Return the decimal that a number reads as: 0.1 is 0.1, not the nearest binary fraction."""
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def add(progress: Number, amount: Number, *, exact: bool = False) -> Number:
    """Return the sum.

    Args:
        progress: what there is.
        amount: what is added, as :func:`as_number` returned it.
        exact: add as decimals, whatever arrives.

    Raises:
        Refused: when the sum lies beyond what can be kept.
    """
    if type(progress) is int and type(amount) is int and not exact:
        total = progress + amount
        if INT64_MIN <= total <= INT64_MAX:
            return total
        raise Refused("the sum does not fit into 64 bits")
    if exact or (not isinstance(progress, float) and not isinstance(amount, float)):
        return _add_decimals(as_decimal(progress), as_decimal(amount))
    try:
        result = float(progress) + float(amount)
    except OverflowError:
        raise Refused("the sum is beyond what a float can hold") from None
    if not math.isfinite(result):
        raise Refused("the sum is beyond what a float can hold")
    return result


def whole_cycles(progress: Number, last: Number) -> tuple[int, Number]:
    """Return how many times a progress holds the last target, and what is left over.

    Raises:
        Refused: when the number of times lies beyond 64 bits.
    """
    times, left = _divided(progress, last)
    if times >= 2**63:
        raise Refused("the number of cycles lies beyond 64 bits")
    return times, left


def _divided(progress: Number, last: Number) -> tuple[int, Number]:
    if isinstance(progress, float) or (isinstance(last, float) and not isinstance(progress, Decimal)):
        times, left = divmod(float(progress), float(last))
        return int(times), left
    if isinstance(progress, int) and isinstance(last, int):
        return divmod(progress, last)
    dividend, divisor = as_decimal(progress), as_decimal(last)
    try:
        return int(_DECIMAL128.divide_int(dividend, divisor)), _DECIMAL128.remainder(dividend, divisor)
    except DecimalException:
        raise Refused("the number of cycles lies beyond 64 bits") from None


def _add_decimals(progress: Decimal, amount: Decimal) -> Decimal:
    try:
        return _DECIMAL128.add(progress, amount)
    except DecimalException:
        raise Refused("the sum needs more than 34 digits") from None
