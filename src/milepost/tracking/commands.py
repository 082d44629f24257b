"""Everything that can be done to a group, as commands to the pure step.

A command checks first and changes the draft only when nothing can go wrong any more, so
one that raises has done nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from milepost._working import NO_STATE
from milepost.errors import ConflictingNameError, TrackerNotFound
from milepost.events.codes import (
    EVENT_TRACKER_ADDED,
    EVENT_TRACKER_EXPIRED,
    EVENT_TRACKER_LIMITED,
    EVENT_TRACKER_REMOVED,
    EVENT_TRACKER_RESET,
)
from milepost.limiters.base import LimiterRunner, LimiterState
from milepost.records import Record
from milepost.trackers.blueprint import Blueprint
from milepost.trackers.policies import ResetPolicy
from milepost.trackers.snapshot import TrackerSnapshot
from milepost.tracking.draft import RecordDraft
from milepost.tracking.explain import Explanation, explain
from milepost.tracking.plan import PlanBook
from milepost.tracking.result import TrackResult
from milepost.tracking.step import bits, reset_limiters

__all__ = [
    "AddTrackers",
    "Command",
    "Expire",
    "ExplainDatum",
    "ReadTrackers",
    "RemoveTrackers",
    "ResetTracker",
    "TrackDatum",
    "UpdateTracker",
    "hash_event_id",
]

IfExists = Literal["error", "keep", "replace"]


def hash_event_id(event_id: str) -> bytes:
    """Return the 128 bits that an event id is remembered by."""
    return hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Command:
    """Something to be done to a group."""

    def draft(self, record: Record, book: PlanBook, now: float, incarnation: int, window: int) -> RecordDraft:
        """Return a draft for this and for what else is done to the group; what has expired is dropped in it."""
        draft = RecordDraft(record, book, now, incarnation, window)
        if record.deadline is not None and record.deadline <= now:
            Expire(now).apply(draft)
        return draft

    def apply(self, draft: RecordDraft) -> Any:
        """Change the draft; return what the caller gets."""
        raise NotImplementedError


def broken_row(draft: RecordDraft, names: Sequence[str] | None) -> None:
    """Raise what makes a row unreadable, if one of these is (None: any)."""
    for name, error in (draft.record.broken or {}).items():
        if (names is None or name in names) and name not in draft.drops and name not in draft.puts:
            raise error


@dataclass(slots=True)
class TrackDatum(Command):
    """Apply a datum."""

    data: Mapping[str, Any]
    now: float | None
    context: Mapping[str, Any]
    event_id: bytes | None = None
    progressed: bool = False

    def apply(self, draft: RecordDraft) -> TrackResult:
        if self.event_id is not None and draft.knows(self.event_id):
            return TrackResult.refused(duplicate=True)
        if draft.record.broken:
            broken_row(draft, None)
        now = draft.now if self.now is None else self.now
        result = draft.track(self.data, now, self.context, self.progressed)
        if self.event_id is not None:
            draft.seen[self.event_id] = None
        return result


@dataclass(slots=True)
class AddTrackers(Command):
    """Add trackers, all or none."""

    blueprints: Sequence[Blueprint]
    expires_at: float | None
    if_exists: IfExists

    def apply(self, draft: RecordDraft) -> list[TrackerSnapshot]:
        key = draft.record.key
        declared = draft.book.declared_for(key)
        taken: set[str] = set()
        for blueprint in self.blueprints:
            there = draft.get(blueprint.name)
            is_there = (
                blueprint.name in taken
                or (there is not None and not there.life.removed)
                or (there is None and blueprint.name in declared)
                or (blueprint.name in (draft.record.broken or ()) and blueprint.name not in draft.drops)
            )
            taken.add(blueprint.name)
            if is_there and self.if_exists == "error":
                raise ConflictingNameError(key, blueprint.name)
        return [self._add(draft, blueprint) for blueprint in self.blueprints]

    def _add(self, draft: RecordDraft, blueprint: Blueprint) -> TrackerSnapshot:
        name = blueprint.name
        there = draft.get(name)
        if self.if_exists == "keep":
            if there is not None and not there.life.removed:
                return there
            broken_row(draft, (name,))
            declared = draft.book.declared_for(draft.record.key).get(name)
            if declared is not None and there is None:
                return declared.start(draft.incarnation, draft.serial + 1, draft.now)
        row = blueprint.start(draft.incarnation, draft.next_serial(), draft.now, self.expires_at)
        draft.begin(row)
        draft.emit(EVENT_TRACKER_ADDED, row)
        return row


@dataclass(slots=True)
class UpdateTracker(Command):
    """Give a tracker a changed definition; its state stays."""

    blueprint: Blueprint

    def apply(self, draft: RecordDraft) -> TrackerSnapshot:
        name = self.blueprint.name
        row = present_row(draft, name)
        if row is None:
            raise TrackerNotFound(draft.record.key, name)
        if row.blueprint is self.blueprint:
            return row
        fresh = self.blueprint.start(row.life.incarnation, row.life.serial, draft.now)
        limits, mask = self._carried(row, fresh.limits)
        stage = _stage_in(self.blueprint, row)
        life = row.life
        if stage < len(self.blueprint.targets):
            life = life._replace(completed_at=None if not self.blueprint.loops else life.completed_at)
        changed = TrackerSnapshot(self.blueprint, row.progress, stage, draft.now, mask, limits, life, row.state)
        draft.put(changed)
        return changed

    def _carried(self, row: TrackerSnapshot, fresh: tuple[LimiterState, ...]) -> tuple[tuple[LimiterState, ...], int]:
        """Keep the state of limiters that stay: of the same definition, else of the same kind, wherever they stand."""
        limits, mask = list(fresh), 0
        for now, before in _matched(self.blueprint.limiters, row.blueprint.limiters).items():
            limits[now] = row.limits[before]
            mask |= (row.mask >> before & 1) << now
        return tuple(limits), mask


def _matched(limiters: Sequence[LimiterRunner], before: Sequence[LimiterRunner]) -> dict[int, int]:
    """Return which of a tracker's limiters were which of those that it had before."""
    found: dict[int, int] = {}
    for same in (LimiterRunner.is_same_as, LimiterRunner.is_of_the_kind_of):
        for i, limiter in enumerate(limiters):
            if i in found:
                continue
            left = [j for j, other in enumerate(before) if j not in found.values() and same(limiter, other)]
            if left:
                found[i] = i if i in left else left[0]
    return found


def _stage_in(blueprint: Blueprint, row: TrackerSnapshot) -> int:
    """Return where a state stands among other targets: where it stood, and completed only if it was."""
    count = len(blueprint.targets)
    if row.stage < count:
        return row.stage
    if row.completed:
        return count
    return min(count - 1, sum(target <= row.progress for target in blueprint.targets))


def present_row(draft: RecordDraft, name: str) -> TrackerSnapshot | None:
    """Return a tracker's state, also of a declared one that has not moved; None where it is not there."""
    broken_row(draft, (name,))
    row = draft.get(name)
    if row is None:
        declared = draft.book.declared_for(draft.record.key).get(name)
        return None if declared is None else declared.start(draft.incarnation, draft.serial + 1, draft.now)
    return None if row.life.removed else row


@dataclass(slots=True)
class ResetTracker(Command):
    """Reset a tracker by hand."""

    name: str
    policy: ResetPolicy | None
    context: Mapping[str, Any]
    now: float | None

    def apply(self, draft: RecordDraft) -> bool:
        row = present_row(draft, self.name)
        if row is None:
            return False
        blueprint = row.blueprint
        now = draft.now if self.now is None else self.now
        policy = blueprint.policy if self.policy is None else self.policy
        limits, mask = row.limits, row.mask
        if policy & ResetPolicy.LIMITER and limits:
            limits, mask = reset_limiters(blueprint, limits, {**self.context, "now_ts": now})
        progress, stage, state = row.progress, row.stage, row.state
        life = row.life._replace(resets=row.life.resets + 1)
        if policy & ResetPolicy.PROGRESS:
            progress, stage, state = blueprint.initial, 0, NO_STATE
            life = life._replace(completed_at=None)
        newly = mask & ~row.mask  # such as after reset_count=0: open before, and limited from now on
        if newly:
            life = life._replace(limitings=life.limitings + 1)
        reset = TrackerSnapshot(blueprint, progress, stage, now, mask, limits, life, state)
        draft.put(reset)
        draft.emit(EVENT_TRACKER_RESET, reset, now)
        for i in bits(newly):
            draft.emit(EVENT_TRACKER_LIMITED, reset, now, limiter=i)
        return True


@dataclass(slots=True)
class RemoveTrackers(Command):
    """Remove trackers: named ones, or all."""

    names: Sequence[str] | None

    def apply(self, draft: RecordDraft) -> bool:
        names = self.names
        if names is None:
            names = list(draft.plan().blueprint_names())
            names += [name for name in (draft.record.broken or ()) if name not in draft.drops]
        removed = False
        for name in names:
            if name in (draft.record.broken or ()) and name not in draft.drops:
                draft.drop(name)
                removed = True
                continue
            row = present_row(draft, name)
            if row is None:
                continue
            removed = True
            gone = row.with_life(removed=True)
            if draft.get(name) is None:
                draft.put(gone)  # a declared tracker that has not moved: only the mark is left
            draft.drop(name)
            draft.emit(EVENT_TRACKER_REMOVED, gone)
        return removed


@dataclass(slots=True)
class Expire(Command):
    """Drop the rows whose time is over."""

    moment: float

    def apply(self, draft: RecordDraft) -> None:
        deadline = draft.record.deadline
        if deadline is None or deadline > self.moment:
            return
        due = [
            (expires_at, name, row)
            for name, row in draft.rows().items()
            if (expires_at := row.life.expires_at) is not None and expires_at <= self.moment
        ]
        for expires_at, name, row in sorted(due, key=lambda item: (item[0], item[2].life.serial)):
            draft.drop(name)
            draft.emit(EVENT_TRACKER_EXPIRED, row.with_life(removed=True), expires_at)


@dataclass(slots=True)
class ReadTrackers(Command):
    """Read trackers: named ones, or all, in the order of adding."""

    names: Sequence[str] | None

    def apply(self, draft: RecordDraft) -> list[TrackerSnapshot]:
        broken_row(draft, self.names)
        plan = draft.plan()
        found: list[TrackerSnapshot] = []
        for name in plan.blueprint_names():
            if self.names is None or name in self.names:
                row = present_row(draft, name)
                if row is not None:
                    found.append(row)
        return found


@dataclass(slots=True)
class ExplainDatum(Command):
    """Say what a datum would do. Changes nothing."""

    data: Mapping[str, Any]
    now: float | None
    context: Mapping[str, Any]

    def apply(self, draft: RecordDraft) -> Explanation:
        if draft.record.broken:
            broken_row(draft, None)
        now = draft.now if self.now is None else self.now
        return explain(draft.record.key, draft.plan(), draft, draft, self.data, now, self.context)
