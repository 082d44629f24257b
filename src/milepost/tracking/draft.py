"""The next state of a record while it is being worked out: several commands, one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from milepost.events.building import build_event
from milepost.events.types import TrackerEvent
from milepost.records import Commit, Record
from milepost.trackers.snapshot import TrackerSnapshot
from milepost.tracking.plan import Plan, PlanBook
from milepost.tracking.result import FullTrackResult, TrackResult
from milepost.tracking.step import count_one, track

__all__ = ["RecordDraft"]


class RecordDraft:
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
        self.record = record
        self.book = book
        self.now = now
        self.window = window
        self.incarnation = incarnation
        self.serial = record.serial
        self.puts: dict[str, TrackerSnapshot] = {}
        self.drops: dict[str, None] = {}
        self.events: list[TrackerEvent] = []
        self.seen: dict[bytes, None] = {}
        self.changes = 0
        """How often something was changed, to tell whether a command that raises had begun to."""
        self.reshapes = False
        """Whether other trackers are there than before, or other definitions of them."""
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
        self.puts.pop(name, None)
        if name in self.record.rows or (self.record.broken and name in self.record.broken):
            self.drops[name] = None
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

    def knows(self, event_id: bytes) -> bool:
        """Whether an event id is remembered."""
        seen = self.record.seen
        return event_id in self.seen or (seen is not None and event_id in seen)

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

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.puts or self.drops or self.events or self.seen)

    def finish(self, epoch: int, id: bytes) -> Commit:
        """Return the commit that makes it so.

        Args:
            epoch: the epoch of the replica.
            id: the commit's id; empty where no reply can be lost.
        """
        record, puts, drops, events, seen = self.record, self.puts, self.drops, self.events, self.seen
        if not (puts or drops or events or seen):
            return Commit(record.key, epoch, record.revision, record.incarnation, serial=record.serial)
        rows = record.rows
        leaves_nothing = (
            not puts and not seen and not record.seen and len(drops) == len(rows) + len(record.broken or ())
        )
        return Commit(  # by position: this is made for every commit, and names take time
            record.key,
            epoch,
            record.revision,
            self.incarnation,
            puts,
            tuple(drops) if drops else (),
            events,
            tuple(seen) if seen else (),
            self._new_definitions(rows),
            self.serial,
            self._deadline() if self._moves_deadline else record.deadline,
            leaves_nothing and record.counter > 0,
            self.reshapes,
            id,
        )

    def _new_definitions(self, rows: Mapping[str, TrackerSnapshot]) -> tuple[str, ...]:
        hashes: dict[str, None] | None = None
        for name, row in self.puts.items():
            before = rows.get(name)
            if before is None or before.blueprint is not row.blueprint:
                if hashes is None:
                    hashes = {}
                hashes[row.blueprint.hash] = None
        return () if hashes is None else tuple(hashes)

    def _deadline(self) -> float | None:
        """Return the earliest moment at which a row expires."""
        record = self.record
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
