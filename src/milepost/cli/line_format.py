"""What a line of input says: which group, which datum, which event id, when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from milepost._clock import epoch_seconds
from milepost._keypaths import MISSING, getter
from milepost.codec import loads
from milepost.manager import TrackItem

__all__ = ["BadLine", "LineFormat"]

_ENVELOPE: Final = frozenset({"group", "data", "event_id", "time"})


class BadLine(Exception):
    """A line that cannot be applied; the message says why."""


@dataclass(frozen=True, slots=True)
class LineFormat:
    """How to read a line.

    Without ``group_key`` a line is ``{"group": ..., "data": {...}}``, with ``event_id`` and
    ``time`` where it has them. With it the line itself is the datum. Keys are dotted paths.

    Args:
        group_key: where a flat line has its group's id.
        id_key: where a flat line has its event id.
        time_key: where a flat line has its time.
        group_prefix: put before the group's id.
    """

    group_key: str | None = None
    id_key: str | None = None
    time_key: str | None = None
    group_prefix: str = ""

    def item(self, line: bytes) -> TrackItem:
        """Return what a line says.

        Raises:
            BadLine: when it cannot be applied.
        """
        try:
            content = loads(line)
        except ValueError as error:
            raise BadLine(f"not JSON: {error}".replace(" at line 1 column ", " at column ")) from None
        if not isinstance(content, dict):
            raise BadLine(f"not a JSON object: {line[:40].decode(errors='replace')}")
        return self._envelope(content) if self.group_key is None else self._flat(content, self.group_key)

    def _envelope(self, content: dict[str, Any]) -> TrackItem:
        for key in content:
            if key not in _ENVELOPE:
                raise BadLine(
                    f"unknown key {key!r}; a line has group, data, event_id and time, or is flat with --group-key"
                )
        data = content.get("data", MISSING)
        if not isinstance(data, dict):
            raise BadLine("has no data" if data is MISSING else f"data must be an object, got {_short(data)}")
        return TrackItem(
            self._group(content.get("group", MISSING), "group"),
            data,
            _event_id(content["event_id"], "event_id") if content.get("event_id") is not None else None,
            _time(content["time"], "time") if content.get("time") is not None else None,
        )

    def _flat(self, content: dict[str, Any], group_key: str) -> TrackItem:
        return TrackItem(
            self._group(getter(group_key)(content), group_key),
            content,
            None if self.id_key is None else _event_id(getter(self.id_key)(content), self.id_key),
            None if self.time_key is None else _time(getter(self.time_key)(content), self.time_key),
        )

    def _group(self, value: Any, key: str) -> str:
        return self.group_prefix + _name(value, key)


def _name(value: Any, key: str) -> str:
    if value is MISSING:
        raise BadLine(f"has no {key}")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadLine(f"{key} must be text or a whole number, got {_short(value)}")
    name = str(value)
    if not name:
        raise BadLine(f"{key} must not be empty")
    return name


def _event_id(value: Any, key: str) -> str:
    return _name(value, key)


def _time(value: Any, key: str) -> float:
    if value is MISSING:
        raise BadLine(f"has no {key}")
    try:
        return epoch_seconds(datetime.fromisoformat(value) if isinstance(value, str) else value, key)
    except (TypeError, ValueError, OverflowError):
        raise BadLine(
            f"{key} must be epoch seconds, or a date and time with a UTC offset, got {_short(value)}"
        ) from None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:39] + "…"
