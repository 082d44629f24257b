"""Undo and redo: which changes can be taken back, and what their values are then."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from milepost.changes.values import ATOMIC, WHOLE, Kept, Plain, freeze, same

if TYPE_CHECKING:
    from milepost.changes.entries import Row

__all__ = ["Undoing", "restored"]


class Undoing:
    """The changes that can be undone and those that can be done again, the latest last.

    Args:
        rows: the log so far.
        history: how many changes to keep.
    """

    __slots__ = ("done", "undone")

    def __init__(self, rows: Iterable[Row], history: int) -> None:
        self.done: deque[Row] = deque(maxlen=history)
        self.undone: list[Row] = []
        for row in rows:
            self.note(row)

    def note(self, row: Row) -> None:
        """Take note of a row of the log.

        A row that undoes what was done last moves it over, and back when it is done again. Whatever
        else happens is a change that can be undone itself, and nothing can be done again after it.
        """
        if row.action == "undo" and self.done and self.done[-1].number == row.about:
            self.undone.append(self.done.pop())
        elif row.action == "redo" and self.undone and self.undone[-1].number == row.about:
            self.done.append(self.undone.pop())
        else:
            self.done.append(row)
            self.undone.clear()


def restored(location: Any, value: Any) -> Any:
    """Return a logged value as it is put back: the same objects where they are as they were, else like ones."""
    if value.__class__ is not Kept:
        return value
    if location is WHOLE or isinstance(location, range):
        return _each(value.value, value.was)
    return _one(value.value, value.was)


def _each(values: Any, were: Any) -> Any:
    if isinstance(values, dict):
        return {key: _one(value, were[key]) for key, value in values.items()}
    if isinstance(values, list):
        return [_one(value, was) for value, was in zip(values, were, strict=True)]
    return values


def _one(value: Any, was: Any) -> Any:
    if value.__class__ in ATOMIC or value is was:
        return value
    if isinstance(value, Plain):
        return value if same(freeze(value), was) else value._tracking_like(was)
    return value if same(value, was) else freeze(was)
