"""Which trackers a group has, compiled: declared ones and its own, behind one index.

Plans belong to a set of definitions and are shared by all groups that have it. A group
with very many trackers of its own gets a private plan, which is changed in place when one
is added or dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

from milepost._patterns import pattern_to_regex
from milepost.records import Record
from milepost.trackers.blueprint import Blueprint
from milepost.trackers.snapshot import TrackerSnapshot
from milepost.tracking.index import Index

__all__ = ["Plan", "PlanBook"]

_SHARED_UP_TO: Final = 512


class Plan:
    """The trackers of a group, compiled.

    Args:
        book: where it came from.
        blueprints: the trackers, in order.
    """

    __slots__ = ("__weakref__", "_next_rank", "_ranks", "book", "index", "private")

    def __init__(self, book: PlanBook, blueprints: Iterable[Blueprint], *, private: bool = False) -> None:
        self.book = book
        self.private = private
        self.index = Index()
        self._ranks: dict[str, tuple[int, Blueprint]] = {}
        self._next_rank = 0
        for blueprint in blueprints:
            self.add(blueprint)

    @property
    def blueprints(self) -> list[Blueprint]:
        """The trackers, in order."""
        return [blueprint for _, blueprint in self._ranks.values()]

    def blueprint_names(self) -> list[str]:
        """The trackers' names, in order."""
        return list(self._ranks)

    def blueprint(self, name: str) -> Blueprint | None:
        """Return the tracker of this name."""
        found = self._ranks.get(name)
        return None if found is None else found[1]

    def add(self, blueprint: Blueprint) -> None:
        """Append a tracker, or replace the one of its name where it stands."""
        known = self._ranks.get(blueprint.name)
        if known is None:
            rank = self._next_rank
            self._next_rank += 1
        else:
            rank = known[0]
            self.index.discard(rank, known[1])
        self._ranks[blueprint.name] = (rank, blueprint)
        self.index.add(rank, blueprint)

    def discard(self, name: str) -> None:
        """Take a tracker out."""
        known = self._ranks.pop(name, None)
        if known is not None:
            self.index.discard(*known)


class PlanBook:
    """Makes plans, and knows what was declared for all groups of a pattern."""

    def __init__(self) -> None:
        self._declared: list[tuple[Blueprint, ...]] = []
        self._matches: list[tuple[int, Callable[[str], object]]] = []
        """For each declaration its number, and what says whether a group's id matches."""
        self._sets: dict[tuple[int, ...], tuple[Plan, dict[str, Blueprint]]] = {}
        self._plans: WeakValueDictionary[tuple[str, ...], Plan] = WeakValueDictionary()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was declared."""
        return not self._declared

    def declare(self, pattern: str, blueprints: tuple[Blueprint, ...]) -> None:
        """Give these trackers to every group whose id matches; a later declaration of a name wins."""
        self._matches.append((len(self._declared), pattern_to_regex(pattern).fullmatch))
        self._declared.append(blueprints)
        self._sets.clear()

    def declared_for(self, key: str) -> dict[str, Blueprint]:
        """Return the trackers declared for a group, by name, in order. Not to be changed."""
        return self._set_for(key)[1] if self._declared else {}

    def _set_for(self, key: str) -> tuple[Plan, dict[str, Blueprint]]:
        matching = tuple([i for i, matches in self._matches if matches(key)])
        known = self._sets.get(matching)
        if known is None:
            named: dict[str, Blueprint] = {}
            for i in matching:
                for blueprint in self._declared[i]:
                    named[blueprint.name] = blueprint
            known = self._sets[matching] = (Plan(self, named.values()), named)
        return known

    def plan_for(self, key: str, rows: Mapping[str, TrackerSnapshot]) -> Plan:
        """Return the plan of a group: what is declared for it, then its own trackers in the order of adding.

        Args:
            key: the group.
            rows: its rows; a row keeps the definition it has, whatever is declared under its name.
        """
        plan, declared = self._set_for(key)
        if not rows or all(declared.get(name) is row.blueprint for name, row in rows.items()):
            return plan
        own = sorted((row for name, row in rows.items() if name not in declared), key=_order)
        blueprints = [rows[name].blueprint if name in rows else blueprint for name, blueprint in declared.items()]
        blueprints += [row.blueprint for row in own]
        if len(blueprints) > _SHARED_UP_TO:
            return Plan(self, blueprints, private=True)
        identity = tuple(blueprint.hash for blueprint in blueprints)
        known = self._plans.get(identity)
        if known is None:
            known = self._plans[identity] = Plan(self, blueprints)
        return known

    def plan_of(self, record: Record) -> Plan:
        """Return the plan of a record, made when it is first asked for and kept with it."""
        plan: Plan | None = record.plan
        if plan is None or plan.book is not self:
            plan = record.plan = self.plan_for(record.key, record.rows)
        return plan

    def reshaped(self, record: Record, plan: Any, rows: Mapping[str, TrackerSnapshot], drops: Iterable[str]) -> None:
        """Carry a private plan over a change of which trackers its record holds."""
        if plan is None or not plan.private or plan.book is not self:
            return
        declared = self.declared_for(record.key)
        for name in drops:
            plan.discard(name)
            if name in declared:
                return
        for name, row in rows.items():
            if plan.blueprint(name) is not None:
                return  # replaced or updated: its place may have changed, so the plan is made anew
            plan.add(row.blueprint)
        record.plan = plan


def _order(row: TrackerSnapshot) -> int:
    return row.life.serial
