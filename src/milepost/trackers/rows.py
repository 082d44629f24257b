"""A snapshot as the text that stores keep, and back: a short JSON list.

``[definition, progress, stage, added_at, updated_at, serial, incarnation, expires_at, cycle, resets, limitings,
completed_at, removed, limited, limits, state]``, shortened where the last ones are at their defaults. A decimal
progress is text, so that a reader can tell it from a float. Times are whole microseconds: ``added_at`` since
the epoch, the others and the incarnation since ``added_at``; a time so far away that a float has no whole microseconds
for it is kept as the float, in seconds since the epoch.

:func:`document_of` names the fields and gives plain times, for stores that people read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from milepost._numbers import Number
from milepost._working import NO_STATE
from milepost.codec import dumps, from_jsonable, loads, to_jsonable
from milepost.errors import UndecodableError, UnknownKindError
from milepost.trackers.blueprint import Blueprint
from milepost.trackers.snapshot import OPEN, Life, TrackerSnapshot

__all__ = ["decode_row", "document_of", "encode_row", "hash_in", "text_of"]

_FIELDS: Final = (
    "definition",
    "progress",
    "stage",
    "added_at",
    "updated_at",
    "serial",
    "incarnation",
    "expires_at",
    "cycle",
    "resets",
    "limitings",
    "completed_at",
    "removed",
    "limited",
    "limits",
    "state",
)
_ALWAYS: Final = 4
_DEFAULTS: Final[tuple[Any, ...]] = (None, 1, 0, None, 0, 0, 0, None, False, 0, [], {})
_YOUNG: Final = (None, 0, 0, 0, None, False)
"""The end of a :class:`Life` in which nothing out of the ordinary has happened."""
_LARGEST: Final = 2**51
"""Microseconds, up to the year 2041; beyond it a float of seconds cannot tell them all apart."""


def encode_row(row: TrackerSnapshot) -> str:
    """Return a snapshot as text."""
    life = row.life
    progress = row.progress
    gates = row.gates
    if gates is OPEN and life[3:] == _YOUNG and progress.__class__ is not Decimal:
        quick = _quick_text(row, progress, life, row.updated_at)
        if quick is not None:
            return quick
    limits = [to_jsonable(dict(state), "limiter") if state else 0 for state in row.limits]
    return _text(
        [
            row.blueprint.hash,
            str(progress) if progress.__class__ is Decimal else progress,
            row.stage,
            life.added_at,
            row.updated_at,
            life.serial,
            life.incarnation,
            life.expires_at,
            life.cycle,
            life.resets,
            life.limitings,
            life.completed_at,
            life.removed,
            row.mask,
            limits if any(limits) else [],
            to_jsonable(dict(row.state), "tracker") if row.state else {},
        ]
    )


def _quick_text(row: TrackerSnapshot, progress: Number, life: Life, moved_at: float | None) -> str | None:
    """Write out what most rows are, in a third of the time; None where there is more to it."""
    added = round(life.added_at * 1_000_000)
    if moved_at is None or not 0 < added < _LARGEST or not moved_at < _LARGEST // 1_000_000:
        return None
    text = f'["{row.blueprint.hash}",{progress!r},{row.stage},{added},{round(moved_at * 1_000_000) - added}'
    if life.incarnation != added:
        return f"{text},{life.serial},{life.incarnation - added}]"
    return f"{text}]" if life.serial == 1 else f"{text},{life.serial}]"


def _text(fields: list[Any]) -> str:
    """Return fields with plain times as text."""
    added = round(fields[3] * 1_000_000)
    if -_LARGEST < added < _LARGEST:
        fields[3] = added
    else:
        added = 0
    fields[4], fields[7], fields[11] = _since(added, fields[4]), _since(added, fields[7]), _since(added, fields[11])
    fields[6] -= added
    while len(fields) > _ALWAYS and fields[-1] == _DEFAULTS[len(fields) - 1 - _ALWAYS]:
        fields.pop()
    return dumps(fields)


def _since(added: int, moment: float | None) -> float | int | None:
    if moment is None:
        return None
    micros = round(moment * 1_000_000)
    return micros - added if -_LARGEST < micros < _LARGEST else moment


def _fields(text: str) -> list[Any]:
    """Return the fields in a text, with plain times.

    Raises:
        ValueError: when it is no row.
    """
    fields = loads(text)
    if not isinstance(fields, list) or not _ALWAYS <= len(fields) <= len(_FIELDS):
        raise ValueError("it is no row")
    fields += _DEFAULTS[len(fields) - _ALWAYS :]
    added = fields[3]
    if isinstance(added, float):
        added = 0
    else:
        fields[3] = added / 1_000_000
    fields[4], fields[7], fields[11] = _moment(added, fields[4]), _moment(added, fields[7]), _moment(added, fields[11])
    fields[6] += added
    return fields


def _moment(added: int, since: float | int | None) -> float | None:
    return (added + since) / 1_000_000 if isinstance(since, int) else since


def document_of(text: str) -> dict[str, Any]:
    """Return the fields in a text by name: JSON values, times as epoch seconds, all of them there.

    Raises:
        ValueError: when it is no row.
    """
    fields = _fields(text)
    fields[-2:] = list(fields[-2]), dict(fields[-1])
    return dict(zip(_FIELDS, fields, strict=True))


def text_of(document: Mapping[str, Any]) -> str:
    """Return the text of which :func:`document_of` made a document.

    Raises:
        KeyError: when a field is missing.
    """
    return _text([document[name] for name in _FIELDS])


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
        (definition, progress, stage, added_at, updated_at, serial, incarnation, expires_at, cycle, resets, limitings,
         completed_at, removed, mask, limits, state) = _fields(text)  # fmt: skip
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
            Life(incarnation, serial, added_at, expires_at, cycle, resets, limitings, completed_at, bool(removed)),
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
