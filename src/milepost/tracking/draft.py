"""The next state of a record while it is being worked out: several commands, one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from milepost.drafting import BaseDraft
from milepost.events.building import build_event
from milepost.events.types import TrackerEvent
from milepost.records import Record
from milepost.trackers.snapshot import TrackerSnapshot
from milepost.tracking.plan import Plan, PlanBook
from milepost.tracking.result import FullTrackResult, TrackResult
from milepost.tracking.step import count_one, track

__all__ = ["RecordDraft"]


class RecordDraft(BaseDraft[TrackerSnapshot, TrackerEvent]):
    """What a record will be once the commit is accepted. The record itself stays as it is.

    Args:
        record: the replica to begin from.
        book: makes plans.
        now: when, epoch seconds; what events and rows are dated with.
        incarnation: the record's own, or the one to take where it is begun anew.
        window: how many event ids a record remembers.
    """

    tracks = True

    def __init__(self, record: Record, book: PlanBook, now: float, incarnation: int, window: int) -> None:
        super().__init__(record, now, incarnation)
        self.book = book
        self.window = window
        self._moves_deadline = False
        self._plan: Plan | None = None

    def get(self, name: str, /) -> TrackerSnapshot | None:
        """Return the row of this name as it will be."""
        row = self.puts.get(name)
        if row is None and name not in self.drops:
            return self.record.rows.get(name)
        return row

    def rows(self) -> Mapping[str, TrackerSnapshot]:
        """Return all rows as they will be."""
        if not self.puts and not self.drops:
            return self.record.rows
        merged = {name: row for name, row in self.record.rows.items() if name not in self.drops}
        merged.update(self.puts)
        return merged

    def plan(self) -> Plan:
        """Return the plan for the rows as they will be."""
        plan = self._plan
        if plan is None:
            book, record = self.book, self.record
            plan = self._plan = book.plan_for(record.key, self.rows()) if self.reshapes else book.plan_of(record)
        return plan

    def begin(self, row: TrackerSnapshot) -> None:
        """Write a row that begins: the last one in order from now on."""
        self.put(row)
        self.reshapes = True
        self._plan = None

    def put(self, row: TrackerSnapshot) -> None:
        """Write a row."""
        self.changes += 1
        name = row.name
        # once the plan is to be made anew, it is made when it is asked for, not for every row that is put
        if (self._plan is not None or not self.reshapes) and self.plan().blueprint(name) is not row.blueprint:
            self.reshapes = True
            self._plan = None
        self.puts[name] = row
        self.drops.pop(name, None)
        self.serial = max(self.serial, row.life.serial)
        self._moves_deadline = True

    def drop(self, name: str) -> None:
        """Drop a row. A declared tracker leaves a mark instead, or it would begin anew."""
        self.changes += 1
        row = self.get(name)
        declared = self.book.declared_for(self.record.key)
        if name in declared and row is not None:
            self.put(
                TrackerSnapshot(
                    row.blueprint,
                    row.progress,
                    row.stage,
                    self.now,
                    row.mask,
                    row.limits,
                    row.life._replace(removed=True, expires_at=None),
                    row.state,
                )
            )
            return
        self.take_out(name)
        self.reshapes = True
        self._plan = None
        self._moves_deadline = True

    def next_serial(self) -> int:
        """Return a number for a row that begins."""
        self.serial += 1
        return self.serial

    def emit(
        self, code: str, row: TrackerSnapshot, now: float | None = None, limiter: int | None = None, times: int = 1
    ) -> TrackerEvent:
        """Append an event."""
        self.changes += 1
        event = build_event(self.record.key, code, row, self.now if now is None else now, limiter, times)
        self.events.append(event)
        return event

    def track(self, data: Mapping[str, Any], now: float, context: Mapping[str, Any], progressed: bool) -> TrackResult:
        """Apply a datum."""
        plan = self.plan()
        counted = None if progressed else count_one(plan, self, data, now)
        if counted is not None:
            self.puts[counted.blueprint.name] = counted
            return TrackResult((True, [counted], [], []))
        result = track(plan, self, self, data, now, context, progressed=progressed)
        self.absorb(result, now)
        return result

    def absorb(self, result: TrackResult, now: float) -> None:
        """Take over what a step worked out."""
        self.changes += 1
        for row in result.dirtied:  # their trackers are in the plan, and no step changes when one expires
            self.puts[row.blueprint.name] = row
            if row.life.serial > self.serial:
                self.serial = row.life.serial
        if isinstance(result, FullTrackResult) and result.drafts:
            result.events = tuple(
                self.emit(draft.type, draft.tracker, now, draft.limiter, draft.times) for draft in result.drafts
            )
            result.drafts = []
            for row in result.dirtied:
                if row.life.removed:
                    self.drop(row.name)

    def new_definitions(self) -> tuple[str, ...]:
        rows = self.record.rows
        hashes: dict[str, None] | None = None
        for name, row in self.puts.items():
            before = rows.get(name)
            if before is None or before.blueprint is not row.blueprint:
                if hashes is None:
                    hashes = {}
                hashes[row.blueprint.hash] = None
        return () if hashes is None else tuple(hashes)

    def next_deadline(self) -> float | None:
        record = self.record
        if not self._moves_deadline:
            return record.deadline
        touched = [*self.puts, *self.drops]
        if record.deadline is not None and any(
            name in record.rows and record.rows[name].life.expires_at == record.deadline for name in touched
        ):
            return _earliest(self.rows().values())
        return _earliest(self.puts.values(), record.deadline)


def _earliest(rows: Iterable[TrackerSnapshot], known: float | None = None) -> float | None:
    for row in rows:
        moment = row.life.expires_at
        if moment is not None and (known is None or moment < known):
            known = moment
    return known
