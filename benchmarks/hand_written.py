"""The floor: what ``track`` does for one tracker, written by hand for this one case.

It does what the engine does for such a datum and leaves nothing out that a caller sees: it
checks that the datum is a mapping, reads the clock, finds the group, looks at one condition,
adds one, compares with one target, replaces the group's state by a new snapshot (seven
fields, as milepost's has) and returns the same four fields of a result. It has no index, no
definitions, no events, no limits, and no second tracker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import time
from typing import Any, NamedTuple

__all__ = ["HandResult", "HandSnapshot", "hand_written_counter"]


class HandSnapshot:
    """A count at one moment."""

    __slots__ = ("added_at", "limits", "name", "progress", "stage", "target", "updated_at")

    def __init__(
        self,
        name: str,
        target: int,
        progress: int,
        stage: int,
        added_at: float,
        updated_at: float | None,
        limits: tuple[Any, ...],
    ) -> None:
        self.name = name
        self.target = target
        self.progress = progress
        self.stage = stage
        self.added_at = added_at
        self.updated_at = updated_at
        self.limits = limits


class HandResult(NamedTuple):
    """What one call did."""

    ok: bool
    dirtied: list[HandSnapshot]
    completed: list[HandSnapshot]
    limited: list[HandSnapshot]


def hand_written_counter(
    states: dict[str, HandSnapshot], key: str, value: object
) -> Callable[[str, Mapping[str, Any]], Awaitable[HandResult]]:
    """Return a ``track`` that counts what has ``value`` at ``key``.

    Args:
        states: the state of each group; replaced as it moves.
        key: the condition's key.
        value: the condition's value.
    """

    async def track(group_id: str, data: Mapping[str, Any]) -> HandResult:
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a mapping, got {type(data).__name__}")
        now = time()
        before = states.get(group_id)
        if before is None or before.stage or data.get(key) != value:
            return HandResult(True, [], [], [])
        progress = before.progress + 1
        stage = 1 if progress >= before.target else 0
        after = HandSnapshot(before.name, before.target, progress, stage, before.added_at, now, before.limits)
        states[group_id] = after
        return HandResult(True, [after], [after] if stage else [], [])

    return track
