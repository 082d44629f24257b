"""Payloads: plain dicts of JSON values, copied wherever they change hands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["checked_payload", "copied"]

_PLAIN: Final = frozenset({int, bool, type(None)})
_SCALARS: Final = frozenset({str, int, bool, float, type(None)})
_MAX_DEPTH: Final = 64


def checked_payload(payload: Mapping[str, Any] | None, what: str = "payload") -> dict[str, Any]:
    """Return a copy of a payload that shares nothing with it.

    Args:
        payload: a mapping of JSON values; None stands for an empty one.
        what: how an error names it.

    Raises:
        TypeError: for what JSON cannot say; the message names the place.
        ValueError: for NaN, infinity, text that is not valid Unicode, and more than 64 levels.
    """
    if payload is None:
        return {}
    if payload.__class__ is dict:
        taken = {**payload}
        for key, item in taken.items():
            if key.__class__ is not str or not key.isascii():
                break
            kind = item.__class__
            if kind not in _PLAIN and (kind is not str or not item.isascii()):
                break
        else:  # the commonest: names with numbers and words
            return taken
    elif not isinstance(payload, Mapping):
        raise TypeError(f"{what} must be a dict of JSON values, got {type(payload).__name__}")
    return _mapping(payload, what, 0)


def _mapping(value: Mapping[Any, Any], where: str, depth: int) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(f"{where} must have text keys, got the key {key!r}")
        if not key.isascii():
            _check_text(key, where)
        kind = item.__class__
        if kind in _PLAIN or (kind is str and item.isascii()):
            taken[key] = item
        else:
            taken[key] = _value(item, f"{where}[{key!r}]", depth + 1)
    return taken


def _value(value: Any, where: str, depth: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value, where)
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} must be a finite number, got {value!r}")
        return value
    if depth > _MAX_DEPTH:
        raise ValueError(f"{where} is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, list | tuple):
        return [_value(item, f"{where}[{n}]", depth + 1) for n, item in enumerate(value)]
    if isinstance(value, Mapping):
        return _mapping(value, where, depth)
    raise TypeError(f"{where} must be a JSON value (text, number, boolean, None, list or dict), got {value!r}")


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} must be valid Unicode text, got {text!r}") from None


def copied(value: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a payload that was checked before."""
    return {key: item if item.__class__ in _SCALARS else _copied(item) for key, item in value.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return copied(value)
    if isinstance(value, list):
        return [item if item.__class__ in _SCALARS else _copied(item) for item in value]
    return value
