"""Dotted paths into data: ``user.name``, ``items.0.price``, ``a\\.b`` for a key with a dot in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

__all__ = ["MISSING", "getter", "parse", "resolve"]


class _Missing:
    """What a path leads to when nothing is there; a present None is something."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@lru_cache(maxsize=4096)
def parse(path: str) -> tuple[str, ...]:
    """Split a dotted path into its segments; a backslash takes the next character literally."""
    segments: list[str] = []
    current: list[str] = []
    characters = iter(path)
    for character in characters:
        if character == "\\":
            current.append(next(characters, "\\"))
        elif character == ".":
            segments.append("".join(current))
            current.clear()
        else:
            current.append(character)
    segments.append("".join(current))
    return tuple(segments)


def step_into(value: Any, segment: str) -> Any:
    """Follow one segment: a key of a mapping, or an index into a list or tuple."""
    if isinstance(value, Mapping):
        return value.get(segment, MISSING)
    if isinstance(value, list | tuple) and segment.isdecimal() and len(segment) < 10:
        index = int(segment)
        return value[index] if index < len(value) else MISSING
    return MISSING


def resolve(data: Any, segments: tuple[str, ...]) -> Any:
    """Return what the path leads to, or :data:`MISSING`."""
    value = data
    for segment in segments:
        value = step_into(value, segment)
        if value is MISSING:
            return MISSING
    return value


def getter(path: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return a function that looks the path up in a datum."""
    segments = parse(path)
    if len(segments) == 1:
        key = segments[0]
        return lambda data: data.get(key, MISSING)
    return lambda data: resolve(data, segments)
