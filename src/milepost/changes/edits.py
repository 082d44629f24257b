"""Changes made to plain values: forward, and backward with old and new exchanged. No tracking here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from milepost.changes.values import MISSING, WHOLE

__all__ = ["edit", "edit_list", "reach"]


def reach(target: Any, path: Iterable[Any]) -> Any:
    """Return what lies at a path of keys and indices.

    Raises:
        LookupError: where the path leads nowhere.
        TypeError: where it leads through something that holds nothing.
    """
    for key in path:
        target = target[key]
    return target


def edit(target: Any, location: Any, old: Any, new: Any) -> None:
    """Change a plain dict, list or set from ``old`` to ``new`` at a location.

    Args:
        target: the container.
        location: a key, an index, a range of indices, an item of a set, or ``WHOLE``. Then old and
            new are, for a dict, the keys that were and are there, for a list all its items, for a
            set the items that left and that came.
        old: what is there; ``MISSING`` for nothing.
        new: what will be there; ``MISSING`` for nothing.
    """
    if isinstance(target, dict):
        _edit_dict(target, location, old, new)
    elif isinstance(target, list):
        edit_list(target, location, old, new)
    elif location is WHOLE:
        target.difference_update(old)
        target.update(new)
    elif new is MISSING:
        target.discard(location)
    else:
        target.add(new)


def _edit_dict(target: dict[Any, Any], location: Any, old: Any, new: Any) -> None:
    if location is WHOLE:
        for key in old:
            if key not in new:
                del target[key]
        target.update(new)
    elif new is MISSING:
        del target[location]
    else:
        target[location] = new


class Items(Protocol):
    """What a list is changed by."""

    def __setitem__(self, key: Any, value: Any, /) -> None: ...

    def __delitem__(self, key: Any, /) -> None: ...

    def insert(self, index: Any, item: Any, /) -> None:
        """Add an item before an index."""


def edit_list(target: Items, location: Any, old: Any, new: Any) -> None:
    """Change a list; see :func:`edit`."""
    if location is WHOLE:
        target[slice(None)] = new
    elif isinstance(location, range):
        _edit_range(target, location, old, new)
    elif old is MISSING:
        target.insert(location, new)
    elif new is MISSING:
        del target[location]
    else:
        target[location] = new


def _edit_range(target: Items, location: range, old: list[Any], new: list[Any]) -> None:
    if location.step == 1:
        target[slice(location.start, location.start + len(old))] = new
    elif not new:
        for index in reversed(location):
            del target[index]
    elif not old:
        for index, item in zip(location, new, strict=True):
            target.insert(index, item)
    else:
        for index, item in zip(location, new, strict=True):
            target[index] = item
