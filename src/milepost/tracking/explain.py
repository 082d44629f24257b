"""Why a datum would or would not move a tracker. Pure; changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from milepost.trackers.blueprint import Blueprint
from milepost.trackers.snapshot import TrackerSnapshot
from milepost.tracking.plan import Plan
from milepost.tracking.result import FullTrackResult
from milepost.tracking.step import Numbering, Rows, track

__all__ = ["Explanation", "TrackerExplanation", "WouldBe", "explain"]


class WouldBe(StrEnum):
    """What would happen to a tracker."""

    MOVED = "moved"
    UNMATCHED = "unmatched"
    LIMITED = "limited"
    REJECTED = "rejected"
    ALREADY_COMPLETED = "already completed"


class TrackerExplanation(BaseModel):
    """What would happen to one tracker, and who says so."""

    model_config = ConfigDict(frozen=True)

    name: str
    outcome: WouldBe
    conditions: tuple[tuple[str, bool], ...] = ()
    """Every condition, as it is written, and whether it holds."""
    limiters: tuple[tuple[str, bool], ...] = ()
    """Every limiter, as it is written, and whether it allows the datum."""
    reason: str | None = None
    """Which condition or limiter says no, or why the datum cannot be added; None where it moves."""
    before: Any = None
    """The progress as it is."""
    after: Any = None
    """The progress as it would be."""
    events: tuple[str, ...] = ()
    """The codes of the events that would follow, in order."""


class Explanation(BaseModel):
    """What a datum would do to a group. True when at least one tracker would move."""

    model_config = ConfigDict(frozen=True)

    group_id: str
    trackers: tuple[TrackerExplanation, ...] = ()

    def __bool__(self) -> bool:
        return any(tracker.outcome is WouldBe.MOVED for tracker in self.trackers)

    def __getitem__(self, name: str) -> TrackerExplanation:
        for tracker in self.trackers:
            if tracker.name == name:
                return tracker
        raise KeyError(name)


def explain(
    key: str,
    plan: Plan,
    rows: Rows,
    numbering: Numbering,
    data: Mapping[str, Any],
    now: float,
    context: Mapping[str, Any],
) -> Explanation:
    """Return what a datum would do, tracker by tracker."""
    result = track(plan, rows, numbering, data, now, context)
    moved = {row.name: row for row in result.dirtied}
    drafts = result.drafts if isinstance(result, FullTrackResult) else []
    rejected = {item.name: item.reason for item in result.rejected}
    explained: list[TrackerExplanation] = []
    for blueprint in plan.blueprints:
        row = rows.get(blueprint.name)
        if row is None:
            row = blueprint.start(numbering.incarnation, numbering.serial + 1, now)
        if row.life.removed:
            continue
        codes = tuple(draft.type for draft in drafts if draft.tracker.name == blueprint.name)
        explained.append(
            _explain(blueprint, row, moved.get(blueprint.name), rejected.get(blueprint.name), codes, data, now, context)
        )
    return Explanation(group_id=key, trackers=tuple(explained))


def _explain(
    blueprint: Blueprint,
    row: TrackerSnapshot,
    moved: TrackerSnapshot | None,
    rejected: str | None,
    codes: tuple[str, ...],
    data: Mapping[str, Any],
    now: float,
    context: Mapping[str, Any],
) -> TrackerExplanation:
    answers = tuple(
        (repr(condition), _holds(test, data, context))
        for condition, (_, test) in zip(blueprint.conjuncts, blueprint.tests, strict=True)
    )
    conditions = answers[blueprint.implied :]
    limiters = tuple(
        (repr(runner.object_with(state)), _allows(runner, state, data, row, {**context, "now_ts": now}))
        for runner, state in zip(blueprint.limiters, row.limits, strict=True)
    )
    outcome, reason = WouldBe.UNMATCHED, None
    if row.completed:
        outcome, reason = WouldBe.ALREADY_COMPLETED, "the last target was reached; reset the tracker to go on"
    elif rejected is not None:
        outcome, reason = WouldBe.REJECTED, rejected
    elif not all(holds for _, holds in conditions):
        reason = next(f"{shown} does not hold" for shown, holds in conditions if not holds)
    elif not all(holds for _, holds in answers):
        reason = "the datum brings nothing to add"
    elif not all(allows for _, allows in limiters):
        outcome = WouldBe.LIMITED
        reason = next(f"{shown} refuses" for shown, allows in limiters if not allows)
    elif moved is not None:
        outcome = WouldBe.MOVED
    else:
        reason = "the datum brings nothing to add"
    moves = outcome is WouldBe.MOVED and moved is not None
    return TrackerExplanation(
        name=blueprint.name,
        outcome=outcome,
        conditions=conditions,
        limiters=limiters,
        reason=reason,
        before=row.progress,
        after=moved.progress if moves and moved is not None else row.progress,
        events=codes,
    )


def _holds(test: Any, data: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
    try:
        return bool(test(data, context))
    except Exception:  # it is reported as rejected
        return False


def _allows(runner: Any, state: Any, data: Mapping[str, Any], row: TrackerSnapshot, context: Mapping[str, Any]) -> bool:
    try:
        return bool(runner.pre(state, data, row, context).allowed)
    except Exception:  # it is reported as rejected
        return False
