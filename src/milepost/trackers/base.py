"""The base of trackers: what counts, when it may move, which targets it heads for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, dataclass_transform

from pydantic import Field, PlainValidator

from milepost._kinds import AsList, Definable, items_of
from milepost._numbers import INT64_MAX, Number
from milepost.conditions.base import BaseCondition
from milepost.errors import InvalidDefinition
from milepost.limiters.base import BaseLimiter
from milepost.trackers.policies import ResetPolicy

if TYPE_CHECKING:
    from milepost.trackers.definition import TrackerDefinition

__all__ = ["STATE_NAMES", "BaseTracker"]

STATE_NAMES: Final = frozenset(
    {
        "added_at",
        "completed",
        "completed_at",
        "current_stage",
        "cycle",
        "dirtied",
        "expires_at",
        "limited",
        "multi_target",
        "progress",
        "removed",
        "target",
        "updated_at",
    }
)
"""What a tracker object reads from its state and not from its definition."""


def _one_number(value: Any, words: str) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"must be {words}, got {value!r}")
    finite = value.is_finite() if isinstance(value, Decimal) else isinstance(value, int) or math.isfinite(value)
    if not finite or not -INT64_MAX <= value <= INT64_MAX:
        raise ValueError(f"must be finite and fit into 64 bits, got {value!r}")
    return value


def _targets(value: Any) -> tuple[Number, ...]:
    if isinstance(value, set | frozenset):
        raise ValueError(f"must be a list, which has an order, got {value!r}")
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        targets = tuple(_one_number(item, "a number or a list of numbers") for item in value)
    else:
        targets = (_one_number(value, "a number or a list of numbers"),)
    if not targets:
        raise ValueError("must hold at least one number, got an empty list")
    for target in targets:
        if target <= 0:
            raise ValueError(f"must be greater than 0, got {target!r}")
    return targets


def _init_progress(value: Any) -> Number:
    return _one_number(value, "a number")


def _policy(value: Any) -> ResetPolicy:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= ResetPolicy.ALL:
        raise ValueError(f"must be a ResetPolicy (NONE, PROGRESS, LIMITER, ALL), got {value!r}")
    return ResetPolicy(value)


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, got {value!r}")
    if not value:
        raise ValueError("must not be empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"must be valid Unicode text, got {value!r}") from None
    return value


_NUMBER_SCHEMA: Any = int | float | Decimal

Name = Annotated[str, PlainValidator(_name, json_schema_input_type=Annotated[str, Field(min_length=1)])]
_Target = Annotated[
    Number | Sequence[Number],
    PlainValidator(_targets, json_schema_input_type=int | float | Decimal | list[_NUMBER_SCHEMA]),
    AsList(),
]
_Conditions = Annotated[Sequence[BaseCondition], PlainValidator(items_of(BaseCondition)), AsList()]
_Limiters = Annotated[Sequence[BaseLimiter], PlainValidator(items_of(BaseLimiter)), AsList()]


@dataclass_transform(kw_only_default=True, field_specifiers=(Field,))
class _Fields(Definable, family="tracker"):
    """Tells type checkers that subclasses get an ``__init__`` from their fields; it has none itself."""


class BaseTracker(_Fields, family="tracker"):
    """What to track. Subclass it and define :meth:`measure`; most are a ``CountTracker``.

    A tracker handed to a manager stays live in that process for the first group it was
    added to: its ``progress`` and the rest are as current as this process's view.

    Args:
        name: unique in its group.
        target: a number, or increasing numbers that are reached one after the other; all above 0.
        conditions: all must hold for a datum to count.
        limiters: all must allow it.
        group_id: the group it is meant for; ``add_tracker`` refuses another.
        reset_policy: what is reset between stages, and by ``reset_tracker`` unless told otherwise.
        loop_forever: start again after the last target, with what exceeds it.
        init_progress: where it starts.
        on_completed: ``"keep"`` it readable, or ``"remove"`` it.

    Raises:
        InvalidDefinition: when a value is wrong; the message names the field and what is allowed.
    """

    name: Name
    target: _Target
    conditions: _Conditions = ()
    limiters: _Limiters = ()
    group_id: str | None = None
    reset_policy: Annotated[
        ResetPolicy, PlainValidator(_policy, json_schema_input_type=Annotated[int, Field(ge=0, le=3)])
    ] = ResetPolicy.DEFAULT
    loop_forever: bool = False
    init_progress: Annotated[Number, PlainValidator(_init_progress, json_schema_input_type=int | float | Decimal)] = 0
    on_completed: Literal["keep", "remove"] = "keep"

    if TYPE_CHECKING:

        @property
        def progress(self) -> Number:
            """How far it got."""
            ...

        @property
        def multi_target(self) -> tuple[Number, ...]:
            """The targets still ahead, after the current one."""
            ...

        @property
        def current_stage(self) -> int:
            """Which target it heads for, counted from 1."""
            ...

        @property
        def cycle(self) -> int:
            """How many whole rounds are done (``loop_forever``)."""
            ...

        @property
        def completed(self) -> bool:
            """Whether the last target was reached."""
            ...

        @property
        def limited(self) -> bool:
            """Whether a limiter refuses."""
            ...

        @property
        def removed(self) -> bool:
            """Whether it was removed."""
            ...

        @property
        def dirtied(self) -> bool:
            """Whether anything has changed since it was added."""
            ...

        @property
        def completed_at(self) -> datetime | None:
            """When the last target was reached, UTC."""
            ...

    def measure(self, data: Mapping[str, Any], /, *args: Any, **kwargs: Any) -> Number | None:
        """Return how much a datum adds to the progress; None for nothing at all.

        ``self.progress`` and the other state can be read, and attributes set here are kept
        as the tracker's own state. It may run more than once for one datum.

        Args:
            data: the datum, which satisfies the conditions.
            *args: unused.
            **kwargs: ``now_ts`` and the context handed to ``track``, as far as the signature takes them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define measure(self, data, **kwargs)")

    @property
    def targets(self) -> tuple[Number, ...]:
        """All targets."""
        return tuple(self.own_values()["target"])

    @property
    def definition(self) -> TrackerDefinition:
        """The definition as a frozen value.

        Raises:
            InvalidDefinition: when a plain class's attributes do not make one.
        """
        from milepost.trackers.blueprint import blueprint_of

        return blueprint_of(self).definition

    def add_targets(self, *targets: Number | Sequence[Number]) -> None:
        """Extend the targets. For a tracker that was added, pass it to ``update_tracker`` then.

        Args:
            *targets: numbers, or lists of numbers.

        Raises:
            InvalidDefinition: when they are no numbers, or do not increase.
        """
        extended = list(self.targets)
        try:
            for target in targets:
                extended.extend(_targets(target))
        except ValueError as error:
            raise InvalidDefinition(f"{type(self).__name__}.target {error}") from None
        check_targets(type(self).__name__, tuple(extended), self.own_values())
        self._replace("target", tuple(extended))

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "target" and "_milepost_target" in vars(self):
            raise AttributeError(
                f"{type(self).__name__}.target cannot be set; use add_targets(), or make another tracker"
            )
        if name in STATE_NAMES and name != "target":
            raise AttributeError(
                f"{type(self).__name__}.{name} is state and cannot be set; see init_progress and measure"
            )
        super().__setattr__(name, value)

    def _replace(self, name: str, value: Any) -> None:
        live = self.__dict__.get("_milepost_live")
        if live is None:
            vars(self)[_stored_as(name)] = value
        else:
            live.values[name] = value
        vars(self).pop("_milepost_blueprint", None)

    def _validated(self) -> None:
        values = self.own_values()
        check_targets(type(self).__name__, values["target"], values)
        vars(self)["_milepost_target"] = vars(self).pop("target")

    def own_values(self) -> dict[str, Any]:
        values = super().own_values()
        if "_milepost_target" in self.__dict__:
            values["target"] = self.__dict__["_milepost_target"]
        return values

    def _absent(self, name: str) -> Any:
        if name in STATE_NAMES:
            from milepost.trackers.blueprint import state_before_adding

            return getattr(self.__dict__.get("_milepost_row") or state_before_adding(self), name)
        return super()._absent(name)


def _stored_as(name: str) -> str:
    return "_milepost_target" if name == "target" else name


def check_targets(label: str, targets: tuple[Number, ...], values: Mapping[str, Any]) -> None:
    """Check what targets and other fields demand of each other.

    Raises:
        InvalidDefinition: when they do not increase although progress is kept, or a loop would never end.
    """
    policy = values.get("reset_policy", ResetPolicy.DEFAULT)
    if not policy & ResetPolicy.PROGRESS:
        for earlier, later in pairwise(targets):
            if later <= earlier:
                raise InvalidDefinition(
                    f"{label}.target must increase from stage to stage, got {later!r} after {earlier!r} "
                    f"(any order is allowed with ResetPolicy.PROGRESS, where each stage starts anew)"
                )
    if values.get("loop_forever") and values.get("init_progress", 0) >= targets[0]:
        raise InvalidDefinition(
            f"{label}.init_progress must lie below the first target of a tracker with loop_forever, "
            f"got {values['init_progress']!r} and {targets[0]!r}"
        )
