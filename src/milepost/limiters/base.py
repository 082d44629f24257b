"""The base of limiters, and the pure way to run one: state in, verdict and state out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, dataclass_transform

from pydantic import Field

from milepost._calls import accepted
from milepost._keypaths import MISSING
from milepost._kinds import Definable
from milepost._working import NO_STATE, Prototype

__all__ = ["BaseLimiter", "LimiterRunner", "LimiterState"]

LimiterState = Mapping[str, Any]
"""A limiter's state: the attributes that differ from its definition."""


@dataclass_transform(field_specifiers=(Field,))
class BaseLimiter(Definable, family="limiter"):
    """Says when a tracker may not move. Subclass it with annotated fields or as a plain class.

    State is kept in ordinary attributes, changed by the methods below. They run on a
    working copy and may run more than once for one datum (a lost race), so they must not
    act on the world.
    """

    latched: ClassVar[bool] = True
    """Whether a limiter that said "limited" stays so until it is reset."""

    if TYPE_CHECKING:

        @property
        def limited(self) -> bool:
            """Whether the limiter refuses at present."""
            ...

        @limited.setter
        def limited(self, value: bool) -> None: ...

    def pre_track(self, data: Mapping[str, Any], tracker: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Return False to refuse this datum.

        Args:
            data: the datum.
            tracker: a snapshot of the tracker as it is.
            *args: unused, for subclasses written for older systems.
            **kwargs: ``now_ts`` and the context handed to ``track``, as far as the signature takes them.
        """
        return True

    def post_track(self, data: Mapping[str, Any], tracker: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Return False to limit the tracker from now on; this datum has counted.

        Args:
            data: the datum.
            tracker: a snapshot of the tracker with this datum counted.
            *args: unused, for subclasses written for older systems.
            **kwargs: ``now_ts`` and the context handed to ``track``, as far as the signature takes them.
        """
        return True

    def reset(self, *args: Any, **kwargs: Any) -> bool:
        """Open the limiter again; return False when it is still limited.

        Args:
            *args: unused, for subclasses written for older systems.
            **kwargs: ``now_ts`` and what was handed to ``reset_tracker``, as far as the signature takes it.
        """
        self.limited = False
        return True

    def on_added(self, now_ts: float) -> None:
        """Note when the tracker was added, for limiters to which that matters.

        Args:
            now_ts: epoch seconds.
        """

    def _absent(self, name: str) -> Any:
        value = super()._absent(name)
        return False if value is MISSING and name == "limited" else value


class Verdict(NamedTuple):
    """What a limiter said, and its state after it."""

    allowed: bool
    state: LimiterState


def _says_yes(answer: object) -> bool:
    """Whether a method allows; one that returns nothing does."""
    return answer is None or bool(answer)


class LimiterRunner:
    """Runs one limiter as a pure function of its state.

    Args:
        limiter: the definition.
    """

    __slots__ = ("_has_post", "_has_pre", "_prototype", "cls", "latched")

    def __init__(self, limiter: BaseLimiter) -> None:
        self.cls = type(limiter)
        self.latched = self.cls.latched
        self._prototype = Prototype(limiter)
        self._has_pre = self.cls.pre_track is not BaseLimiter.pre_track
        self._has_post = self.cls.post_track is not BaseLimiter.post_track

    def is_of_the_kind_of(self, other: LimiterRunner) -> bool:
        """Whether another limiter's state can be this one's."""
        return self.cls is other.cls

    def is_same_as(self, other: LimiterRunner) -> bool:
        """Whether another limiter has the same definition."""
        return self.cls is other.cls and self._definition() == other._definition()

    def _definition(self) -> dict[str, Any]:
        definition: dict[str, Any] = self._prototype.working_copy(NO_STATE).to_definition()
        return definition

    def start(self, now: float) -> LimiterState:
        """Return the state of a limiter whose tracker is added now."""
        if self.cls.on_added is BaseLimiter.on_added:
            return NO_STATE
        working = self._prototype.working_copy(NO_STATE)
        working.on_added(now)
        return self._prototype.state_of(working)

    def pre(self, state: LimiterState, data: Mapping[str, Any], tracker: Any, context: Mapping[str, Any]) -> Verdict:
        """Ask before the datum counts."""
        if self.latched and state.get("limited"):
            return Verdict(False, state)
        if not self._has_pre:
            return Verdict(True, state)
        working = self._prototype.working_copy(state)
        allowed = working.pre_track(data, tracker, **accepted(self.cls.pre_track, 3, context))
        return Verdict(_says_yes(allowed), self._prototype.state_of(working))

    def post(self, state: LimiterState, data: Mapping[str, Any], tracker: Any, context: Mapping[str, Any]) -> Verdict:
        """Tell that the datum has counted."""
        if not self._has_post:
            return Verdict(True, state)
        working = self._prototype.working_copy(state)
        allowed = working.post_track(data, tracker, **accepted(self.cls.post_track, 3, context))
        if not _says_yes(allowed):
            working.__dict__["limited"] = True
        return Verdict(not working.limited, self._prototype.state_of(working))

    def reset(self, state: LimiterState, context: Mapping[str, Any]) -> Verdict:
        """Open the limiter again."""
        working = self._prototype.working_copy(state)
        opened = _says_yes(working.reset(**accepted(self.cls.reset, 1, context)))
        working.__dict__["limited"] = not opened
        if opened and "limited" not in self._prototype.values:
            del working.__dict__["limited"]
        return Verdict(opened, self._prototype.state_of(working))

    def object_with(self, state: LimiterState) -> Any:
        """Return a limiter object of this definition in this state, for users to read."""
        return self._prototype.working_copy(state)
