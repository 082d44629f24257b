"""A snapshot as the text that stores keep, and back: a short JSON list.

``[hash, progress, stage, updated_at, incarnation, serial, added_at, expires_at, cycle,
resets, completed_at, removed, mask, limits, state]``, shortened where the last ones are at
their defaults. A decimal progress is text, so that a reader can tell it from a float.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from milepost._working import NO_STATE
from milepost.codec import dumps, from_jsonable, loads, to_jsonable
from milepost.errors import UndecodableError, UnknownKindError
from milepost.trackers.blueprint import Blueprint
from milepost.trackers.snapshot import Life, TrackerSnapshot

__all__ = ["decode_row", "encode_row", "hash_in"]

_DEFAULTS: Final[tuple[Any, ...]] = (None, 0, 0, None, False, 0, [], {})
_YOUNG: Final = (None, 0, 0, None, False)
"""The end of a :class:`Life` in which nothing out of the ordinary has happened."""


def encode_row(row: TrackerSnapshot) -> str:
    """Return a snapshot as text."""
    life = row.life
    progress = row.progress
    if life[3:] == _YOUNG and not row.limits and not row.state and progress.__class__ is not Decimal:
        moment = "null" if row.updated_at is None else repr(row.updated_at)
        return (
            f'["{row.blueprint.hash}",{progress!r},{row.stage},{moment},'
            f"{life.incarnation},{life.serial},{life.added_at!r}]"
        )
    limits = [to_jsonable(dict(state), "limiter") if state else 0 for state in row.limits]
    tail: list[Any] = [
        life.expires_at,
        life.cycle,
        life.resets,
        life.completed_at,
        life.removed,
        row.mask,
        limits if any(limits) else [],
        to_jsonable(dict(row.state), "tracker") if row.state else {},
    ]
    while tail and tail[-1] == _DEFAULTS[len(tail) - 1]:
        tail.pop()
    return dumps(
        [
            row.blueprint.hash,
            str(progress) if isinstance(progress, Decimal) else progress,
            row.stage,
            row.updated_at,
            life.incarnation,
            life.serial,
            life.added_at,
            *tail,
        ]
    )


def hash_in(text: str) -> str | None:
    """Return the hash of the definition that a stored row points at; None where it is unreadable."""
    end = text.find('"', 2)
    return text[2:end] if text.startswith('["') and end > 0 else None


def decode_row(key: str, name: str, text: str, blueprint: Callable[[str], Blueprint | None]) -> TrackerSnapshot:
    """Return the snapshot that a text holds.

    Args:
        key: the group, for the error.
        name: the tracker, for the error.
        text: what :func:`encode_row` made.
        blueprint: finds the blueprint for a definition's hash.

    Raises:
        UndecodableError: when the text is not a row, or its definition is missing.
        UnknownKindError: when a kind is not registered in this process.
    """
    try:
        fields = loads(text)
        definition, progress, stage, updated_at, incarnation, serial, added_at, *tail = fields
        tail += _DEFAULTS[len(tail) :]
        expires_at, cycle, resets, completed_at, removed, mask, limits, state = tail
        known = blueprint(definition)
        if known is None:
            raise UndecodableError(key, name, f"its definition {definition!r} is not stored")
        return TrackerSnapshot(
            known,
            Decimal(progress) if isinstance(progress, str) else _number(progress),
            _whole(stage),
            updated_at,
            _whole(mask),
            tuple(_state(item) for item in limits) if limits else (NO_STATE,) * len(known.limiters),
            Life(incarnation, serial, added_at, expires_at, cycle, resets, completed_at, bool(removed)),
            _state(state),
        )
    except UnknownKindError as error:
        raise UnknownKindError(error.kind, key, name) from None
    except (ValueError, TypeError, InvalidOperation, AttributeError) as error:
        raise UndecodableError(key, name, f"{error} in {text[:80]!r}") from error


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no whole number")
    return value


def _state(value: Any) -> Mapping[str, Any]:
    if not value:
        return NO_STATE
    decoded = from_jsonable(value)
    if not isinstance(decoded, dict):
        raise ValueError(f"{value!r} is no state")
    return decoded
