"""A tracker's state at one moment: what is stored, and what users get.

A snapshot is immutable by convention: a new state is a new snapshot. It knows its
definition through its blueprint and keeps nothing but a few numbers itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from milepost._clock import utc
from milepost._numbers import Number
from milepost._working import NO_STATE
from milepost.limiters.base import LimiterState

if TYPE_CHECKING:
    from milepost.conditions.base import BaseCondition
    from milepost.limiters.base import BaseLimiter
    from milepost.trackers.blueprint import Blueprint
    from milepost.trackers.definition import TrackerDefinition

__all__ = ["NOWHERE", "Life", "TrackerSnapshot"]


NOWHERE: Final = float("-inf")


_bare: Final = object.__new__


class Life(NamedTuple):
    """What changes seldom in a tracker's state, kept apart so that a move need not copy it."""

    incarnation: int
    """The incarnation of the group's record when the tracker was added."""
    serial: int
    """Its number among the trackers ever added to that record; gives their order."""
    added_at: float
    expires_at: float | None = None
    cycle: int = 0
    resets: int = 0
    limitings: int = 0
    """How often a limiter began to refuse."""
    completed_at: float | None = None
    removed: bool = False


class Gates(NamedTuple):
    """What a tracker's limiters, and a tracker of a user's own, remember."""

    mask: int
    """Which limiters refuse, as bits."""
    limits: tuple[LimiterState, ...]
    """The limiters' states."""
    state: Mapping[str, Any]
    """The tracker's own state beyond its progress."""


OPEN: Final = Gates(0, (), NO_STATE)


class TrackerSnapshot:
    """A tracker as it was at one moment.

    ``cycle`` is how many whole rounds a ``loop_forever`` tracker has completed. Attributes of
    the definition (``conditions``, ``key``, a custom tracker's fields and state) can be read too.
    """

    __slots__ = ("blueprint", "ceiling", "gates", "life", "progress", "stage", "updated_at")

    if not TYPE_CHECKING:

        def __new__(cls, blueprint=None, *state, **more):
            """Return a plain snapshot of a plain count, an open one of everything that has more to read."""
            return object.__new__(cls if blueprint is None or blueprint.counts else OpenSnapshot)

    def __init__(
        self,
        blueprint: Blueprint,
        progress: Number,
        stage: int,
        updated_at: float | None,
        mask: int,
        limits: tuple[LimiterState, ...],
        life: Life,
        state: Mapping[str, Any] = NO_STATE,
        ceiling: Number | None = None,
    ) -> None:
        self.blueprint = blueprint
        self.progress = progress
        self.stage = stage
        self.updated_at = updated_at
        self.gates = Gates(mask, limits, state) if mask or limits or state else OPEN
        self.life = life
        self.ceiling = ceiling
        """What :meth:`find_ceiling` found, once it was asked for."""

    def find_ceiling(self) -> Number:
        """Return below which progress a plain count moves without anything else happening."""
        blueprint = self.blueprint
        plain = blueprint.counts and not blueprint.limiters and not self.mask and not self.life.removed
        plain = plain and not isinstance(self.progress, Decimal)  # whose sum depends on the thread's context
        self.ceiling = blueprint.targets[self.stage] if plain and self.stage < len(blueprint.targets) else NOWHERE
        return self.ceiling

    def counted(self, progress: Number, now: float) -> TrackerSnapshot:
        """Return this state with another progress, below the ceiling."""
        made = _bare(TrackerSnapshot)  # takes half the time of calling __init__
        made.blueprint = self.blueprint
        made.progress = progress
        made.stage = self.stage
        made.updated_at = now
        made.gates = self.gates
        made.life = self.life
        made.ceiling = self.ceiling
        return made

    @property
    def mask(self) -> int:
        """Which limiters refuse, as bits."""
        return self.gates.mask

    @property
    def limits(self) -> tuple[LimiterState, ...]:
        """The limiters' states."""
        return self.gates.limits

    @property
    def state(self) -> Mapping[str, Any]:
        """The tracker's own state beyond its progress."""
        return self.gates.state

    @property
    def name(self) -> str:
        """The tracker's name."""
        return self.blueprint.name

    @property
    def kind(self) -> str:
        """The kind that the tracker's class is registered under."""
        return self.blueprint.kind

    @property
    def definition(self) -> TrackerDefinition:
        """The tracker's definition."""
        return self.blueprint.definition

    @property
    def targets(self) -> tuple[Number, ...]:
        """All targets."""
        return self.blueprint.targets

    @property
    def target(self) -> Number:
        """The target that the tracker heads for; the last one when it is completed."""
        targets = self.blueprint.targets
        return targets[min(self.stage, len(targets) - 1)]

    @property
    def multi_target(self) -> tuple[Number, ...]:
        """The targets still ahead, after the current one."""
        return self.blueprint.targets[self.stage + 1 :]

    @property
    def current_stage(self) -> int:
        """Which target the tracker heads for, counted from 1."""
        return min(self.stage + 1, len(self.blueprint.targets))

    @property
    def cycle(self) -> int:
        """How many whole rounds through the targets are done (``loop_forever``)."""
        return self.life.cycle

    @property
    def completed(self) -> bool:
        """Whether the last target was reached."""
        return self.stage >= len(self.blueprint.targets)

    @property
    def limited(self) -> bool:
        """Whether a limiter refuses."""
        return self.mask != 0

    @property
    def removed(self) -> bool:
        """Whether the tracker was removed."""
        return self.life.removed

    @property
    def dirtied(self) -> bool:
        """Whether anything has changed since the tracker was added."""
        return self.updated_at is not None

    @property
    def added_at(self) -> datetime:
        """When the tracker was added, UTC."""
        return utc(self.life.added_at)

    @property
    def completed_at(self) -> datetime | None:
        """When the last target was reached, UTC; None before."""
        moment = self.life.completed_at
        return None if moment is None else utc(moment)

    @property
    def expires_at(self) -> datetime | None:
        """When the tracker expires, UTC; None where it does not."""
        moment = self.life.expires_at
        return None if moment is None else utc(moment)

    @property
    def limiters(self) -> tuple[BaseLimiter, ...]:
        """The limiters as they are at this moment."""
        runners = self.blueprint.limiters
        return tuple(runner.object_with(state) for runner, state in zip(runners, self.limits, strict=True))

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        """The conditions."""
        return self.blueprint.definition.conditions

    @property
    def reset_policy(self) -> Any:
        """What is reset between stages."""
        return self.blueprint.attribute("reset_policy")

    @property
    def loop_forever(self) -> Any:
        """Whether it begins anew after the last target."""
        return self.blueprint.attribute("loop_forever")

    @property
    def init_progress(self) -> Any:
        """The progress that it begins with."""
        return self.blueprint.attribute("init_progress")

    @property
    def on_completed(self) -> Any:
        """What becomes of it after the last target."""
        return self.blueprint.attribute("on_completed")

    @property
    def group_id(self) -> Any:
        """The group that it was meant for."""
        return self.blueprint.attribute("group_id")

    @property
    def definition_hash(self) -> str:
        """The hash of the tracker's definition."""
        return self.blueprint.hash

    def encoded(self) -> str:
        """Return the snapshot as the text that stores keep."""
        return _encoder()(self)

    def with_life(self, **changes: Any) -> TrackerSnapshot:
        """Return a copy in which some of :class:`Life` is changed."""
        return TrackerSnapshot(
            self.blueprint,
            self.progress,
            self.stage,
            self.updated_at,
            self.mask,
            self.limits,
            self.life._replace(**changes),
            self.state,
        )

    def is_the_tracker_of(self, other: TrackerSnapshot | None) -> bool:
        """Whether another snapshot is of the same tracker, and not of one added under its name since."""
        return other is not None and self.life[:2] == other.life[:2]

    def describe(self) -> dict[str, Any]:
        """Return the state as JSON values, as events carry it."""
        return self.blueprint.describe(self)

    def __repr__(self) -> str:
        marks = "".join(f" {mark}" for mark in ("completed", "limited", "removed") if getattr(self, mark))
        stages = len(self.blueprint.targets)
        stage = f" stage={self.current_stage}/{stages}" if stages > 1 else ""
        return f"<{self.kind} {self.name!r} progress={self.progress}/{self.target}{stage}{marks}>"

    def _facts(self) -> tuple[Any, ...]:
        return (
            self.blueprint.hash,
            self.progress,
            self.stage,
            self.updated_at,
            self.mask,
            tuple(dict(state) for state in self.limits),
            self.life,
            dict(self.state),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TrackerSnapshot):
            return NotImplemented
        return self is other or self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash((self.blueprint.hash, self.progress, self.stage, self.life))


@cache  # an import statement in a function takes as long as half the encoding
def _encoder() -> Callable[[TrackerSnapshot], str]:
    from milepost.trackers.rows import encode_row

    return encode_row


class OpenSnapshot(TrackerSnapshot):
    """A snapshot that also answers for attributes of its definition and state: ``key``, a custom tracker's fields.

    A class of its own, because with ``__getattr__`` in a class every attribute that is there is slower to read too,
    by 20 to 30 ns (CPython 3.11), and a plain count has no other attributes.
    """

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if name in self.state:
                return self.state[name]
            return self.blueprint.attribute(name)
