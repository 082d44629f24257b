"""Settings that adapters and transports share, checked."""

from __future__ import annotations

import math
from typing import Any

from milepost.errors import InvalidDefinition

__all__ = ["check_prefix", "check_seconds", "check_whole"]


def check_prefix(key_prefix: Any) -> None:
    """Check what all keys in Redis begin with: a brace in it would move them to other slots.

    Raises:
        InvalidDefinition: when it is no text, is empty or has braces.
    """
    if not isinstance(key_prefix, str) or not key_prefix or set("{}") & set(key_prefix):
        raise InvalidDefinition(f"key_prefix must be a text without braces, got {key_prefix!r}")


def check_whole(name: str, value: Any, least: int, most: int) -> None:
    """Check a whole number between two bounds, both allowed.

    Raises:
        InvalidDefinition: when it is none, or beyond them.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidDefinition(f"{name} must be a whole number from {least} to {most}, got {value!r}")


def check_seconds(name: str, value: Any) -> None:
    """Check a finite number of seconds.

    Raises:
        InvalidDefinition: when it is none, or not above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidDefinition(f"{name} must be a number of seconds greater than 0, got {value!r}")
