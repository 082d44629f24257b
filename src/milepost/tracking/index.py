"""The predicate index: finds the trackers that a datum can concern by looking up its values.

Trackers are filed in a trie over the segments of key paths. At its end a path holds those
that wait for certain values, and those for which any value will do. What a datum costs
depends on its size and on what it matches, not on how many trackers there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from milepost._keypaths import MISSING, step_into
from milepost.conditions.base import Lookup, Test
from milepost.conditions.keys import KeyExists
from milepost.trackers.blueprint import Blueprint

__all__ = ["SAFE", "Entry", "Index"]

SAFE: Final = frozenset({str, int, float, bool, type(None)})
"""Types whose equality and hash can be trusted; other values are compared one by one."""


class Entry:
    """A tracker under one condition: its place, itself, and the conditions still to be checked."""

    __slots__ = ("blueprint", "name", "rank", "tests")

    def __init__(self, rank: int, blueprint: Blueprint, tests: tuple[tuple[bytes, Test], ...], name: str) -> None:
        self.rank = rank
        self.blueprint = blueprint
        self.tests = tests
        self.name = name

    def __lt__(self, other: Entry) -> bool:
        return self.rank < other.rank


class _Node:
    __slots__ = ("any", "by_value", "children", "slow")

    def __init__(self) -> None:
        self.by_value: dict[Any, list[Entry]] | None = None
        self.any: list[Entry] = []
        self.slow: dict[int, Entry] = {}
        """All that is filed by value, each with every condition to check, for values that cannot be looked up."""
        self.children: dict[str, _Node] | None = None


class Index:
    """Trackers filed by what they wait for."""

    def __init__(self) -> None:
        self.always: list[Entry] = []
        self._root: dict[str, _Node] = {}
        self.single: tuple[str, dict[Any, list[Entry]]] | None = None
        """Where all trackers wait for values of one key: the key, and who waits for which."""

    def add(self, rank: int, blueprint: Blueprint) -> None:
        """File a tracker; ``rank`` is unique and says its place among the others."""
        self._file(rank, blueprint)
        self._note_single()

    def _note_single(self) -> None:
        self.single = None
        if len(self._root) == 1 and not self.always:
            ((key, node),) = self._root.items()
            if node.children is None and not node.any and node.by_value is not None:
                self.single = key, node.by_value

    def _file(self, rank: int, blueprint: Blueprint) -> None:
        lookup, tests = _best_lookup(blueprint)
        if lookup is None:
            self.always.append(Entry(rank, blueprint, blueprint.tests, blueprint.name))
            return
        node = self._node(lookup.path)
        entry = Entry(rank, blueprint, tests, blueprint.name)
        if lookup.values is None:
            node.any.append(entry)
            return
        if node.by_value is None:
            node.by_value = {}
        for value in dict.fromkeys(lookup.values):
            node.by_value.setdefault(value, []).append(entry)
        node.slow[rank] = Entry(rank, blueprint, blueprint.tests, blueprint.name)

    def discard(self, rank: int, blueprint: Blueprint) -> None:
        """Take a tracker out that was filed under this rank."""
        lookup, _ = _best_lookup(blueprint)
        if lookup is None:
            self.always = [entry for entry in self.always if entry.rank != rank]
            self._note_single()
            return
        node = self._node(lookup.path)
        if lookup.values is None:
            node.any = [entry for entry in node.any if entry.rank != rank]
            self._note_single()
            return
        by_value = node.by_value or {}
        for value in dict.fromkeys(lookup.values):
            by_value[value] = [entry for entry in by_value.get(value, ()) if entry.rank != rank]
            if not by_value[value]:
                del by_value[value]
        node.slow.pop(rank, None)

    def _node(self, path: tuple[str, ...]) -> _Node:
        children = self._root
        for segment in path[:-1]:
            parent = children.setdefault(segment, _Node())
            if parent.children is None:
                parent.children = {}
            children = parent.children
        return children.setdefault(path[-1], _Node())

    def candidates(self, data: Mapping[str, Any]) -> Sequence[Entry]:
        """Return the trackers that the datum may concern, in the order of their ranks. Not to be changed."""
        root = self._root
        found: list[Entry] | None = None
        if len(root) <= len(data):
            for key, node in root.items():
                value = data.get(key, MISSING)
                if value is not MISSING:
                    if node.children is None and not node.any and value.__class__ in SAFE:
                        hit = node.by_value.get(value) if node.by_value is not None else None
                    else:
                        hit = _collect(node, value)
                    if hit:
                        found = hit if found is None else found + hit
        else:
            for key in _shared_keys(data, root):
                hit = _collect(root[key], data[key])
                if hit:
                    found = hit if found is None else found + hit
        always = self.always
        if found is None:
            return always
        if always:
            found = found + always
        if len(found) > 1:
            found = sorted(found)
        return found


def _shared_keys(data: Mapping[Any, Any], nodes: Mapping[str, _Node]) -> Iterable[str]:
    """Return the keys of a datum under which something is filed."""
    keys: list[str] = []
    for key in data:
        if key.__class__ is not str:  # it may still equal one, but its own methods are not to be trusted
            return [known for known in nodes if data.get(known, MISSING) is not MISSING]
        if key in nodes:
            keys.append(key)
    return keys


def _collect(node: _Node, value: Any) -> list[Entry]:
    """Gather what waits for this value, here and further down the path."""
    try:
        return _look_into(node, value)
    except Exception:  # a value whose own methods raise: its trackers shall see for themselves
        return list(_everything_in(node))


def _everything_in(node: _Node) -> Iterable[Entry]:
    """Yield all that is filed here and below, each with every condition to check."""
    for entry in node.any:
        yield Entry(entry.rank, entry.blueprint, entry.blueprint.tests, entry.name)
    yield from node.slow.values()
    for child in (node.children or {}).values():
        yield from _everything_in(child)


def _look_into(node: _Node, value: Any) -> list[Entry]:
    hit = node.any
    if node.by_value is not None:
        if value.__class__ in SAFE:
            bucket = node.by_value.get(value)
            if bucket:
                hit = hit + bucket if hit else bucket
        else:
            hit = [*hit, *node.slow.values()]
    children = node.children
    if children is not None and isinstance(value, Mapping | list | tuple):
        segments: Iterable[str] = children
        if isinstance(value, Mapping) and len(value) < len(children):
            segments = _shared_keys(value, children)
        for segment in segments:
            inner = step_into(value, segment)
            if inner is not MISSING:
                hit = hit + _collect(children[segment], inner)
    return hit


def _best_lookup(blueprint: Blueprint) -> tuple[Lookup | None, tuple[tuple[bytes, Test], ...]]:
    """Choose the condition to file a tracker under: equality, else a list, else existence."""
    best: Lookup | None = None
    position = -1
    for place, condition in enumerate(blueprint.conjuncts):
        for lookup in condition.lookups():
            if best is None or _selectivity(lookup) < _selectivity(best):
                best, position = lookup, place
    if best is None:
        return None, blueprint.tests
    if best.values is None and not _is_settled_by_existence(blueprint, position):
        return best, blueprint.tests
    return best, blueprint.tests[:position] + blueprint.tests[position + 1 :]


def _selectivity(lookup: Lookup) -> int:
    return 1_000_000 if lookup.values is None else len(lookup.values)


def _is_settled_by_existence(blueprint: Blueprint, position: int) -> bool:
    """Whether finding the key is all that the condition asks (``KeyExists``, not ``KeyValueGT``)."""
    return type(blueprint.conjuncts[position]) is KeyExists
