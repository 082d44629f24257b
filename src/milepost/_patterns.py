"""Patterns over names: ``*`` is anything, dots included, ``?`` is one character."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["has_wildcard", "pattern_to_regex"]


@lru_cache(maxsize=1024)
def pattern_to_regex(pattern: str) -> re.Pattern[str]:
    """Compile a pattern; every character but ``*`` and ``?`` stands for itself."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(character, re.escape(character)) for character in pattern), re.DOTALL)


def has_wildcard(pattern: str) -> bool:
    """Whether a pattern can match more than one name."""
    return "*" in pattern or "?" in pattern
