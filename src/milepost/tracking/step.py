"""The tracking step: what one datum does to a group's trackers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from milepost._keypaths import MISSING
from milepost._numbers import Number, Refused, whole_cycles
from milepost._working import NO_STATE
from milepost.conditions.base import Test
from milepost.errors import InvalidDefinition
from milepost.events.codes import (
    EVENT_TRACKER_ALL_COMPLETED,
    EVENT_TRACKER_LIMITED,
    EVENT_TRACKER_PROGRESSED,
    EVENT_TRACKER_REMOVED,
    EVENT_TRACKER_STAGE_COMPLETED,
)
from milepost.limiters.base import LimiterState
from milepost.trackers.blueprint import Blueprint
from milepost.trackers.policies import ResetPolicy
from milepost.trackers.snapshot import NOWHERE, Life, TrackerSnapshot
from milepost.tracking.index import SAFE, Entry
from milepost.tracking.plan import Plan
from milepost.tracking.result import FullTrackResult, Rejected, TrackResult

__all__ = ["Draft", "Numbering", "Rows", "bits", "count_one", "reset_limiters", "track"]

_new_tuple = tuple.__new__
_bare = object.__new__
_RESET_LIMITER = int(ResetPolicy.LIMITER)
_RESET_PROGRESS = int(ResetPolicy.PROGRESS)


class Rows(Protocol):
    """The rows that a step works on."""

    def get(self, name: str, /) -> TrackerSnapshot | None:
        """Return the row of this name."""
        ...


class Numbering(Protocol):
    """Where new rows take their numbers from; a record or a draft of its next state."""

    incarnation: int
    serial: int


class Draft(NamedTuple):
    """An event to be: what happened to which state of a tracker."""

    type: str
    tracker: TrackerSnapshot
    limiter: int | None = None
    times: int = 1


def track(
    plan: Plan,
    rows: Rows,
    numbering: Numbering,
    data: Mapping[str, Any],
    now: float,
    context: Mapping[str, Any] = NO_STATE,
    *,
    progressed: bool = False,
) -> TrackResult:
    """Return what a datum does.

    Args:
        plan: the group's trackers.
        rows: their rows; a declared tracker that has not moved has none.
        numbering: the record; gives incarnation and serial numbers of rows that begin.
        data: the datum, a dict.
        now: epoch seconds.
        context: what custom conditions and limiters get.
        progressed: whether somebody listens to PROGRESSED.

    Raises:
        TypeError: when the datum has a key whose ``__eq__`` raises.
    """
    index = plan.index
    single = index.single
    candidates: Sequence[Entry]
    try:
        if single is not None and (value := data.get(single[0], MISSING)).__class__ in SAFE:
            candidates = single[1].get(value, ())
        else:
            candidates = index.candidates(data)
    except Exception as error:  # a key whose own methods raise
        raise TypeError(f"data has a key that cannot be looked up: {_say(error)}") from error
    return _track_each(candidates, rows, numbering, data, now, context, progressed)


def count_one(plan: Plan, rows: Rows, data: Mapping[str, Any], now: float) -> TrackerSnapshot | None:
    """Do what happens most: one tracker is concerned, and it only counts on.

    Args:
        plan: the group's trackers.
        rows: their rows.
        data: the datum, a dict.
        now: epoch seconds.

    Returns:
        The tracker's new state; None where there is more to it, or less: ask :func:`track`.
    """
    single = plan.index.single
    if single is None:
        return None
    try:
        value = data.get(single[0], MISSING)
    except Exception:  # a key whose own methods raise: track says so
        return None
    if value.__class__ not in SAFE:
        return None
    entries = single[1].get(value)
    if entries is None or len(entries) != 1:
        return None
    entry = entries[0]
    row = rows.get(entry.name)
    if row is None or entry.tests:
        return None
    ceiling = row.ceiling
    if ceiling is None:
        ceiling = row.find_ceiling()
    if ceiling is NOWHERE or (progress := row.progress + 1) >= ceiling:
        return None
    moved = _bare(TrackerSnapshot)  # row.counted(progress, now), written out: it is the most made of all
    moved.blueprint = row.blueprint
    moved.progress = progress
    moved.stage = row.stage
    moved.updated_at = now
    moved.gates = row.gates
    moved.life = row.life
    moved.ceiling = ceiling
    return moved


def _track_each(
    candidates: Sequence[Entry],
    rows: Rows,
    numbering: Numbering,
    data: Mapping[str, Any],
    now: float,
    context: Mapping[str, Any],
    progressed: bool,
) -> TrackResult:
    dirtied: list[TrackerSnapshot] = []
    completed: list[TrackerSnapshot] = []
    limited: list[TrackerSnapshot] = []
    full: FullTrackResult | None = None  # made when there is more to say than what moved
    verdicts: dict[bytes, bool | Exception] | None = None
    begun = 0
    for entry in candidates:
        blueprint = entry.blueprint
        tests = entry.tests
        row = rows.get(entry.name)
        is_new = row is None
        if row is None:
            row = blueprint.start(numbering.incarnation, numbering.serial + begun + 1, now)
        if tests:
            if row.stage >= len(blueprint.targets) or row.life.removed:
                continue
            if verdicts is None:
                verdicts = {}
            holds = _holds(tests, data, context, verdicts)
            if holds is not True:
                if holds is not False:
                    full = full or _full_result(dirtied, completed, limited)
                    full.rejected += (Rejected(blueprint.name, f"a condition raised {_say(holds)}"),)
                continue
        ceiling = row.ceiling
        if ceiling is None:
            ceiling = row.find_ceiling()
        if ceiling is not NOWHERE and not progressed and (progress := row.progress + 1) < ceiling:
            dirtied.append(row.counted(progress, now))
            if is_new:
                begun += 1
        elif row.stage < len(blueprint.targets) and not row.life.removed:
            if full is None:
                full = _full_result(dirtied, completed, limited)
            changed = _Move(blueprint, row, data, now, context, full, progressed).run()
            if is_new and changed:
                begun += 1
    if begun:
        full = full or _full_result(dirtied, completed, limited)
        full.begins = True
    return full or _new_tuple(TrackResult, (True, dirtied, completed, limited))


def _full_result(*lists: list[TrackerSnapshot]) -> FullTrackResult:
    result: FullTrackResult = _new_tuple(FullTrackResult, (True, *lists))
    result.drafts = []
    return result


def _holds(
    tests: Sequence[tuple[bytes, Test]],
    data: Mapping[str, Any],
    context: Mapping[str, Any],
    verdicts: dict[bytes, bool | Exception],
) -> bool | Exception:
    """Whether all conditions hold; each distinct one is evaluated at most once per datum.

    Where one raises, it depends on the others: one that does not hold settles the matter, whatever
    order they stand in and however the tracker is filed; otherwise the error is returned.
    """
    raised: Exception | None = None
    for identity, test in tests:
        verdict = verdicts.get(identity)
        if verdict is None:
            try:
                verdict = bool(test(data, context))
            except Exception as error:  # a custom condition, or a value whose __eq__ raises
                verdict = error
            verdicts[identity] = verdict
        if verdict is not True:
            if verdict is False:
                return False
            raised = raised or verdict
    return True if raised is None else raised


def _say(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class _Move:
    """One tracker meets one datum that satisfies its conditions."""

    __slots__ = (
        "blueprint",
        "context",
        "data",
        "drafts",
        "life",
        "limits",
        "mask",
        "now",
        "progress",
        "progressed",
        "result",
        "row",
        "stage",
        "state",
    )

    def __init__(
        self,
        blueprint: Blueprint,
        row: TrackerSnapshot,
        data: Mapping[str, Any],
        now: float,
        context: Mapping[str, Any],
        result: FullTrackResult,
        progressed: bool,
    ) -> None:
        self.blueprint = blueprint
        self.row = row
        self.data = data
        self.now = now
        self.context = {**context, "now_ts": now}
        self.result = result
        self.progressed = progressed
        self.progress: Number = row.progress
        self.stage = row.stage
        self.mask = row.mask
        self.limits: tuple[LimiterState, ...] = row.limits
        self.life: Life = row.life
        self.state = row.state
        self.drafts: list[Draft] = []

    def run(self) -> bool:
        """Move the tracker and note it in the result; whether anything changed."""
        try:
            changed = self._run()
        except (Refused, InvalidDefinition) as refusal:
            self._reject(str(refusal))
            return False
        except Exception as error:  # users' methods, hostile values: nothing of this tracker is kept
            self._reject(_say(error))
            return False
        if changed:
            row = self._snapshot(self.stage)
            self.result.dirtied.append(row)
            if self.mask:
                self.result.limited.append(row)
            self.result.drafts += self.drafts
        elif self.mask:
            self.result.limited.append(self.row)
        return changed

    def _run(self) -> bool:
        if self.blueprint.limiters and not self._allowed():
            changed = self.mask != self.row.mask or self.limits != self.row.limits
            self._announce_limited()
            return changed
        amount, self.state = self.blueprint.measure(self.data, self.row, self.context)
        if amount is None:
            self.limits, self.mask, self.state = self.row.limits, self.row.mask, self.row.state
            return False
        self.progress = self.blueprint.sum(self.progress, amount)
        if self.blueprint.limiters:
            self._count_in_limiters()
        finished = self._advance()
        if self.progressed and self.progress != self.row.progress:
            self.drafts.insert(0, Draft(EVENT_TRACKER_PROGRESSED, self._snapshot(self.stage)))
        self._announce_limited()
        if finished is not None:
            self.result.completed.append(finished)
            if self.blueprint.removes and not self.blueprint.loops:
                self.life = self.life._replace(removed=True)
                self.drafts.append(Draft(EVENT_TRACKER_REMOVED, self._snapshot(self.stage)))
        return True

    def _reject(self, reason: str) -> None:
        self.result.rejected += (Rejected(self.blueprint.name, reason),)

    def _snapshot(self, stage: int) -> TrackerSnapshot:
        return TrackerSnapshot(
            self.blueprint, self.progress, stage, self.now, self.mask, self.limits, self.life, self.state
        )

    def _allowed(self) -> bool:
        """Ask every limiter; a refusal refuses the datum, each limiter's flag says how it answered."""
        states: list[LimiterState] = []
        mask = 0
        for i, runner in enumerate(self.blueprint.limiters):
            verdict = runner.pre(self.limits[i], self.data, self.row, self.context)
            states.append(verdict.state)
            if not verdict.allowed:
                mask |= 1 << i
        if mask or tuple(states) != self.limits:
            self.limits = tuple(states)
        self.mask = mask
        return not mask

    def _count_in_limiters(self) -> None:
        states: list[LimiterState] = []
        snapshot = self._snapshot(self.stage)
        for i, runner in enumerate(self.blueprint.limiters):
            verdict = runner.post(self.limits[i], self.data, snapshot, self.context)
            states.append(verdict.state)
            if not verdict.allowed:
                self.mask |= 1 << i
        self.limits = tuple(states)

    def _announce_limited(self) -> None:
        newly = self.mask & ~self.row.mask
        if not newly:
            return
        self.life = self.life._replace(limitings=self.life.limitings + 1)
        limited = self._snapshot(self.stage)
        self.drafts += [Draft(EVENT_TRACKER_LIMITED, limited, limiter=i) for i in bits(newly)]

    def _advance(self) -> TrackerSnapshot | None:
        """Pass the targets that are reached; return the finished state where the last one was."""
        targets = self.blueprint.targets
        finished: TrackerSnapshot | None = None
        while self.stage < len(targets) and self.progress >= targets[self.stage]:
            if self.stage == len(targets) - 1:
                finished = self._complete()
                if self.stage >= len(targets):
                    break
            else:
                self.drafts.append(Draft(EVENT_TRACKER_STAGE_COMPLETED, self._snapshot(self.stage)))
                self.stage += 1
                if self._reset_between_stages():
                    break
        return finished

    def _complete(self) -> TrackerSnapshot:
        """Finish the last target; a looping tracker begins its next cycle with what exceeds it."""
        last = self.blueprint.targets[-1]
        if not self.blueprint.loops:
            self.stage = len(self.blueprint.targets)
            self.life = self.life._replace(completed_at=self.now)
            finished = self._snapshot(self.stage)
            self.drafts.append(Draft(EVENT_TRACKER_ALL_COMPLETED, finished))
            return finished
        times, excess = whole_cycles(self.progress, last)
        if int(self.blueprint.policy) & _RESET_PROGRESS:
            times = 1  # what exceeds the target is thrown away with the progress, as between stages
        cycle = self.life.cycle + times
        if cycle >= 2**63:
            raise Refused("the number of cycles lies beyond 64 bits")
        self.life = self.life._replace(cycle=cycle - 1, completed_at=self.now)
        finished = self._snapshot(len(self.blueprint.targets))
        self.drafts.append(Draft(EVENT_TRACKER_ALL_COMPLETED, finished, times=times))
        self.life = self.life._replace(cycle=cycle)
        self.stage = 0
        if not self._reset_between_stages():
            self.progress = excess
        return finished

    def _reset_between_stages(self) -> bool:
        """Apply the tracker's own reset policy; whether the progress went back with it."""
        policy = int(self.blueprint.policy)
        if policy & _RESET_LIMITER and self.limits:
            self.limits, self.mask = reset_limiters(self.blueprint, self.limits, {"now_ts": self.now})
        if policy & _RESET_PROGRESS:
            self.progress = self.blueprint.initial
            self.state = NO_STATE
            return True
        return False


def bits(mask: int) -> list[int]:
    """Return the numbers of the limiters in a bit mask."""
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


def reset_limiters(
    blueprint: Blueprint, limits: tuple[LimiterState, ...], context: Mapping[str, Any]
) -> tuple[tuple[LimiterState, ...], int]:
    """Reset all limiters; return their states, and which of them are still limited as a bit mask."""
    states: list[LimiterState] = []
    mask = 0
    for i, runner in enumerate(blueprint.limiters):
        verdict = runner.reset(limits[i], context)
        states.append(verdict.state)
        if not verdict.allowed:
            mask |= 1 << i
    return tuple(states), mask
