"""Which handlers an event's type concerns, at a cost that does not grow with those it does not.

A pattern is filed under the text before its first wildcard, or after its last one; only patterns
with neither are tried every time. What was found for a type is remembered for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from milepost._patterns import has_wildcard, pattern_to_regex

__all__ = ["PatternIndex"]

T = TypeVar("T")

_REMEMBERED: Final = 4096


class _Found(dict[str, tuple[T, ...]]):
    """What was found for types: a dict that looks for what it does not know, and forgets where it has grown."""

    def __init__(self, look: Callable[[str], tuple[T, ...]]) -> None:
        self._look = look

    def __missing__(self, type: str) -> tuple[T, ...]:
        if len(self) >= _REMEMBERED:
            self.clear()
        found = self[type] = self._look(type)
        return found


class PatternIndex(Generic[T]):
    """Things filed under patterns: ``*`` is anything, dots included, ``?`` one character."""

    def __init__(self) -> None:
        self.found = _Found(self._look)
        """By type what is filed under patterns that match it, in the order of adding, each once."""
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._exact: dict[str, list[int]] = {}
        self._prefixes: dict[str, list[tuple[str, int]]] = {}
        self._suffixes: dict[str, list[tuple[str, int]]] = {}
        self._others: list[tuple[str, int]] = []
        self._prefix_lengths: tuple[int, ...] = ()
        self._suffix_lengths: tuple[int, ...] = ()
        self._items: dict[int, T] = {}
        self._numbers = 0
        self.found.clear()

    def add(self, patterns: tuple[str, ...], item: T) -> None:
        """File a thing under patterns."""
        number = self._numbers
        self._numbers += 1
        self._items[number] = item
        for pattern in patterns:
            self._file(pattern, number)
        self._prefix_lengths = tuple(sorted({len(prefix) for prefix in self._prefixes}))
        self._suffix_lengths = tuple(sorted({len(suffix) for suffix in self._suffixes}))
        self.found.clear()

    def _file(self, pattern: str, number: int) -> None:
        if not has_wildcard(pattern):
            self._exact.setdefault(pattern, []).append(number)
            return
        wild = [n for n, character in enumerate(pattern) if character in "*?"]
        prefix, suffix = pattern[: wild[0]], pattern[wild[-1] + 1 :]
        if prefix and len(prefix) >= len(suffix):
            self._prefixes.setdefault(prefix, []).append((pattern, number))
        elif suffix:
            self._suffixes.setdefault(suffix, []).append((pattern, number))
        else:
            self._others.append((pattern, number))

    def _look(self, type: str) -> tuple[T, ...]:
        numbers = set(self._exact.get(type, ()))
        candidates = list(self._others)
        for length in self._prefix_lengths:
            candidates += self._prefixes.get(type[:length], ())
        for length in self._suffix_lengths:
            if length <= len(type):
                candidates += self._suffixes.get(type[len(type) - length :], ())
        numbers.update(number for pattern, number in candidates if pattern_to_regex(pattern).fullmatch(type))
        return tuple(self._items[number] for number in sorted(numbers))
