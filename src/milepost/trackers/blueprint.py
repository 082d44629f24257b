"""A definition made ready to run, made once and shared by every group that has it.

A tracker object is turned into a blueprint when it is handed over: validated again (plain
classes are validated only here), hashed, its conditions compiled, its limiters wrapped. A
stored definition becomes one the same way, and keeps the hash that it was stored under.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final
from weakref import WeakValueDictionary

from milepost._calls import accepted
from milepost._keypaths import MISSING, getter
from milepost._kinds import load_definition
from milepost._numbers import Number, add, as_decimal, as_number
from milepost._working import NO_STATE, Prototype
from milepost.codec import canonical, content_hash, dumps, loads, to_jsonable
from milepost.conditions.base import Test
from milepost.conditions.keys import KeyExists
from milepost.errors import InvalidDefinition
from milepost.limiters.base import LimiterRunner, LimiterState
from milepost.trackers.base import BaseTracker
from milepost.trackers.definition import TrackerDefinition
from milepost.trackers.numerics.accumulation import AccumulationTracker
from milepost.trackers.numerics.count import CountTracker
from milepost.trackers.policies import ResetPolicy
from milepost.trackers.snapshot import Life, TrackerSnapshot

__all__ = [
    "Blueprint",
    "blueprint_from_text",
    "blueprint_of",
    "known_blueprint",
    "state_before_adding",
    "tracker_from_text",
]

_COMMON: Final = frozenset(
    {
        "name",
        "target",
        "conditions",
        "limiters",
        "group_id",
        "reset_policy",
        "loop_forever",
        "init_progress",
        "on_completed",
    }
)

Measure = Callable[[Mapping[str, Any], TrackerSnapshot, Mapping[str, Any]], tuple[Number | None, Mapping[str, Any]]]
"""What a datum adds, and the tracker's own state after it."""


class Blueprint:
    """A tracker's definition, compiled.

    Args:
        tracker: a complete tracker object; not kept.
        text: its definition as JSON text.
        hash: the content hash that the definition is known by.
    """

    def __init__(self, tracker: BaseTracker, text: str, hash: str) -> None:
        values = tracker.own_values()
        self.kind = type(tracker).kind
        self.hash = hash
        self.text = text
        self.prototype = Prototype(tracker)
        self.name: str = values["name"]
        self.policy = ResetPolicy(values.get("reset_policy", ResetPolicy.DEFAULT))
        self.loops: bool = values.get("loop_forever", False)
        self.removes: bool = values.get("on_completed", "keep") == "remove"
        self.exact: bool = isinstance(tracker, AccumulationTracker) and tracker.exact
        self.targets: tuple[Number, ...] = tuple(values["target"])
        initial = values.get("init_progress", 0)
        self.initial: Number = as_decimal(initial) if self.exact else initial
        self.limiters = tuple(LimiterRunner(limiter) for limiter in values.get("limiters", ()))
        self.conjuncts = tuple(part for given in values.get("conditions", ()) for part in given.conjuncts())
        if type(tracker) is AccumulationTracker:  # a datum without an amount does not concern it
            self.conjuncts = (KeyExists(tracker.key), *self.conjuncts)
        self.implied = len(self.conjuncts) - sum(len(given.conjuncts()) for given in values.get("conditions", ()))
        """How many conditions stand before those that were given."""
        self.tests: tuple[tuple[bytes, Test], ...] = tuple(
            (condition.identity(), condition.compiled()) for condition in self.conjuncts
        )
        self.counts = type(tracker) is CountTracker
        self.measure: Measure
        if self.counts:
            self.measure = _one
        elif type(tracker) is AccumulationTracker:
            self.measure = _amount_at(tracker.key)
        else:
            self.measure = self._measured

    @cached_property
    def definition(self) -> TrackerDefinition:
        """The definition as a frozen value."""
        values = self.prototype.working_copy(NO_STATE).own_values()
        common = {name: values[name] for name in _COMMON - {"target", "group_id"} if name in values}
        others = {name: value for name, value in values.items() if name not in _COMMON}
        made = TrackerDefinition(kind=self.kind, targets=self.targets, hash=self.hash, fields=others, **common)
        made._text = self.text
        return made

    def start(self, incarnation: int, serial: int, now: float, expires_at: float | None = None) -> TrackerSnapshot:
        """Return the state of a tracker that is added now."""
        limits: tuple[LimiterState, ...] = ()
        if self.limiters:
            limits = tuple(runner.start(now) for runner in self.limiters)
        return TrackerSnapshot(self, self.initial, 0, None, 0, limits, Life(incarnation, serial, now, expires_at))

    def sum(self, progress: Number, amount: Number) -> Number:
        """Return the progress with the amount added.

        Raises:
            Refused: when the sum lies beyond what can be kept.
        """
        return add(progress, amount, exact=self.exact)

    def _measured(
        self, data: Mapping[str, Any], row: TrackerSnapshot, context: Mapping[str, Any]
    ) -> tuple[Number | None, Mapping[str, Any]]:
        working = self.prototype.working_copy(row.state)
        working.__dict__["_milepost_row"] = row
        amount = working.measure(data, **accepted(type(working).measure, 2, context))
        return None if amount is None else as_number(amount), self.prototype.state_of(working)

    def attribute(self, name: str) -> Any:
        """Return an attribute of the definition.

        Raises:
            AttributeError: when it has none of that name.
        """
        values = self.prototype.values
        return values[name] if name in values else getattr(self.prototype.working_copy(NO_STATE), name)

    def describe(self, row: TrackerSnapshot) -> dict[str, Any]:
        """Return a state as JSON values, as events carry it."""
        shown: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "definition": self.hash,
            "progress": row.progress,
            "target": row.target,
            "targets": list(self.targets),
            "current_stage": row.current_stage,
            "cycle": row.cycle,
            "completed": row.completed,
            "limited": row.limited,
            "removed": row.removed,
            "added_at": row.life.added_at,
            "updated_at": row.updated_at,
            "completed_at": row.life.completed_at,
            "expires_at": row.life.expires_at,
        }
        encoded: dict[str, Any] = to_jsonable(shown, "tracker")
        return encoded


def _one(
    data: Mapping[str, Any], row: TrackerSnapshot, context: Mapping[str, Any]
) -> tuple[Number | None, Mapping[str, Any]]:
    return 1, NO_STATE


def _amount_at(key: str) -> Measure:
    get = getter(key)

    def measure(
        data: Mapping[str, Any], row: TrackerSnapshot, context: Mapping[str, Any]
    ) -> tuple[Number | None, Mapping[str, Any]]:
        value = get(data)
        return None if value is MISSING else as_number(value), NO_STATE

    return measure


_known: Final[WeakValueDictionary[str, Blueprint]] = WeakValueDictionary()


def blueprint_of(tracker: BaseTracker) -> Blueprint:
    """Return the blueprint of a tracker object; equal definitions share one.

    Raises:
        InvalidDefinition: when the object is not a complete definition.
    """
    made: Blueprint | None = tracker.__dict__.get("_milepost_blueprint")
    if made is not None:
        return made
    definition = tracker.to_definition()
    definition.pop("group_id", None)
    hash = content_hash(canonical(definition))
    made = _known.get(hash)
    if made is None:
        complete = _load(definition)
        made = _known[hash] = Blueprint(complete, dumps(definition), hash)
    if tracker.__dict__.get("_milepost_live") is not None:
        vars(tracker)["_milepost_blueprint"] = made
    return made


def known_blueprint(hash: str) -> Blueprint | None:
    """Return the blueprint under a hash, if this process has it."""
    return _known.get(hash)


def blueprint_from_text(hash: str, text: str) -> Blueprint:
    """Return the blueprint of a stored definition, under the hash that it was stored with.

    Raises:
        UnknownKindError: when a kind in it is not registered in this process.
        ValueError: when the text is no definition.
    """
    made = _known.get(hash)
    if made is None:
        made = _known[hash] = Blueprint(_load(loads(text)), text, hash)
    return made


def _load(definition: Mapping[str, Any]) -> BaseTracker:
    tracker = load_definition("tracker", definition)
    if not isinstance(tracker, BaseTracker):
        raise InvalidDefinition(f"the kind {definition.get('kind')!r} is no tracker")
    if type(tracker).measure is BaseTracker.measure:
        raise InvalidDefinition(f"{type(tracker).__name__} must define measure(self, data, **kwargs)")
    return tracker


def tracker_from_text(text: str) -> BaseTracker:
    """Return a new tracker object of a definition."""
    return _load(loads(text))


def state_before_adding(tracker: BaseTracker) -> TrackerSnapshot:
    """Return what a tracker's state would be if it were added at the epoch, for reading only."""
    return blueprint_of(tracker).start(0, 0, 0.0)
