"""Snapshots that cost a write next to nothing: a copy now and then, and the changes since.

A snapshot is a place in a chain of changes that begins at a copy of the contents. Reading it replays
the chain. When there are more changes than the contents have values, a new copy begins a new chain, so the
copies cost each write a constant share.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from milepost.changes.edits import edit, reach
from milepost.changes.values import freeze, frozen

__all__ = ["Delta", "Node", "Snapshots", "snapshot_at"]

_SHORTEST: Final = 64

Delta = tuple[tuple[Any, ...], Any, Any, Any]
"""Prefix, location, old and new of one change."""


class Node(NamedTuple):
    """A moment of a container: a moment before it, and the changes in between; or its contents."""

    before: Node | None
    deltas: tuple[Delta, ...]
    contents: Any


class Snapshots:
    """The snapshots of one container.

    Args:
        contents: what it holds now, as a plain copy that nobody else has.
    """

    __slots__ = ("_node", "_room")

    def __init__(self, contents: Any) -> None:
        self._begin(contents)

    def _begin(self, contents: Any) -> None:
        self._node = Node(None, (), contents)
        self._room = max(_SHORTEST, _size(contents))

    def advance(self, deltas: Iterable[Delta]) -> Node:
        """Note changes; return the moment after them."""
        if self._room <= 0:
            self._begin(snapshot_at(self._node))
        made = tuple(deltas)
        self._room -= max(1, len(made))
        self._node = Node(self._node, made, None)
        return self._node


def snapshot_at(node: Node, *, before: bool = False) -> Any:
    """Return the contents at a moment, or at the one before it."""
    if before and node.before is not None:
        node = node.before
    chain: list[Node] = []
    while node.before is not None:
        chain.append(node)
        node = node.before
    contents = freeze(node.contents)
    for later in reversed(chain):
        for prefix, location, old, new in later.deltas:
            edit(reach(contents, prefix), location, frozen(old), freeze(frozen(new)))
    return contents


def _size(contents: Any) -> int:
    """Return roughly how many values there are, without a look into more than is needed."""
    pending, size = [contents], 0
    seen: set[int] = set()
    while pending:
        holder = pending.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        size += len(holder)
        inner = holder.values() if isinstance(holder, dict) else holder if isinstance(holder, list) else ()
        pending.extend(item for item in inner if item.__class__ in (dict, list, set))
    return size
