"""Commits on the spot: what is done without suspending, because the authority is in this process's memory.

A command is worked out on the authority's own record and committed at once. What happens most, a datum
that only moves rows, has a short way of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from milepost._clock import Clock, to_the_microsecond
from milepost._naming import SUBJECTS
from milepost._working import NO_STATE
from milepost.bus.dispatcher import Delivery, Dispatcher
from milepost.records import Authority, Commit, Committed, ImmediateAuthority, Record, Undecided
from milepost.replicas import Replicas
from milepost.trackers.snapshot import TrackerSnapshot
from milepost.tracking.draft import RecordDraft
from milepost.tracking.plan import PlanBook
from milepost.tracking.result import FullTrackResult, TrackResult
from milepost.tracking.step import count_one, track
from milepost.work import Draft, Work

__all__ = ["OnTheSpot", "texts_of"]


class OnTheSpot:
    """Works commands out, and commits them at once where the authority is in memory.

    Args:
        authority: decides commits.
        table: the replicas; the authority's own table where it is in memory.
        book: makes plans.
        dispatcher: hears of events once they are committed.
        clock: says what time it is.
        window: how many event ids a record remembers.
    """

    def __init__(
        self,
        authority: Authority,
        table: Replicas,
        book: PlanBook,
        dispatcher: Dispatcher,
        clock: Clock,
        window: int,
    ) -> None:
        self._immediate = authority if isinstance(authority, ImmediateAuthority) else None
        self._table = table
        self._records = table.records
        self._find = table.records.get
        self._noting = table.limit is not None or (self._immediate is not None and self._immediate.followed)
        self._book = book
        self._dispatcher = dispatcher
        self._time = clock.time
        self._window = window
        self._epoch = 0
        self._last_incarnation = 0
        self.on_deadline: Callable[[float], None] = lambda deadline: None
        self.on_gone: Callable[[str, Iterable[TrackerSnapshot]], None] = lambda key, rows: None

    def forget_plans(self) -> None:
        """Have all plans made anew, when something was declared or somebody listens who did not."""
        for record in self._records.values():
            record.plan = record.quick = None

    def track_now(self, key: str, data: Mapping[str, Any]) -> TrackResult | None:
        """Apply a datum where it does no more than move rows; None where there is more to it.

        This is the short way through :meth:`run_now` for what happens most.
        """
        find = self._find  # a local of its own: an attribute that is called is looked up the slow way
        try:
            record = find(key)
        except TypeError:  # a key that cannot be looked up is no string: let it be looked at
            return None
        if record is None:
            return self._begin_now(key, data)
        plan = record.quick
        if plan is None or plan.book is not self._book:
            return None
        time = self._time
        now = time()
        rows = record.rows
        counted = count_one(plan, rows, data, now)
        if counted is not None:
            rows[counted.blueprint.name] = counted
            record.counter += 1
            if self._noting:
                self._note(record, (counted,))
            return TrackResult((True, [counted], [], []))
        result = track(plan, rows, record, data, now)
        if result.__class__ is not TrackResult and isinstance(result, FullTrackResult) and result.says_more:
            self._commit_result(record, result, now)
            return result
        moved = result[1]
        if moved:
            for row in moved:
                rows[row.blueprint.name] = row
            record.counter += 1
        if self._noting:
            self._note(record, moved)
        return result

    def track_unless_full(self, key: str, data: Mapping[str, Any]) -> TrackResult | None:
        """Like :meth:`track_now`; None also where the store that follows is too far behind to take whatever comes."""
        return None if self._immediate is None or self._immediate.full else self.track_now(key, data)

    def _note(self, record: Record, moved: Sequence[TrackerSnapshot]) -> None:
        """Note that a record was used, and for a store that follows that it moved."""
        if self._table.limit is not None:
            self._records.move_to_end(record.key)
        if moved and self._immediate is not None and self._immediate.followed:
            self._immediate.moved(record, moved)

    def _commit_result(self, record: Record, result: FullTrackResult, now: float) -> None:
        """Commit what a step worked out that does more than move rows."""
        if self._immediate is None:
            raise AssertionError("only an authority in memory commits on the spot")
        draft = RecordDraft(record, self._book, now, record.incarnation, self._window)
        draft.absorb(result, now)
        result.delivery = self._commit_now(self._immediate, record, draft)
        if record.counter:
            record.quick = self._book.plan_of(record)

    def _begin_now(self, key: str, data: Mapping[str, Any]) -> TrackResult | None:
        """Apply a datum to a group that has nothing yet but what was declared for it."""
        immediate = self._immediate
        if immediate is None or self._book.is_empty or not self._epoch or self._dispatcher.wants_progressed:
            return None
        if key.__class__ is not str or not key or not key.isascii() or key.startswith(SUBJECTS):
            return None  # let it be looked at
        record = immediate.peek(key)
        if record is None or record.counter:
            return None
        plan = self._book.plan_for(key, record.rows)
        result = track(plan, record.rows, record, data, self._time(), NO_STATE)
        moved = result[1]
        if not moved or (isinstance(result, FullTrackResult) and result.drafts):
            return None
        rows = {row.blueprint.name: row for row in moved}
        immediate.begin(record, rows, {row.blueprint.hash: row.blueprint.text for row in moved})
        record.plan = record.quick = plan
        return result

    def run_now(self, key: str, command: Work) -> tuple[Any, Delivery] | None:
        """Carry a command out on the spot; None where a store must be asked first."""
        immediate = self._immediate
        if immediate is None:
            return None
        record = immediate.peek(key)
        return None if record is None else self._run_on(immediate, record, command)

    def _run_on(self, immediate: ImmediateAuthority, record: Record, command: Work) -> tuple[Any, Delivery]:
        now = self._now()
        draft = self._draft(record, command, now)
        before = draft.changes
        try:
            value = command.apply(draft)
        except BaseException:
            if draft.changes != before:
                draft = self._draft(record, command, now)  # it did nothing, however far it got
            raise
        finally:  # what expired before is committed, whatever became of the command
            delivery = None if draft.is_empty else self._commit_now(immediate, record, draft)
            if draft.tracks and record.counter and record.deadline is None and not record.broken:
                record.quick = None if self._dispatcher.wants_progressed else self._book.plan_of(record)
        return value, delivery

    def _now(self) -> float:
        return to_the_microsecond(self._time())

    def _draft(self, record: Record, command: Work, now: float) -> Draft:
        incarnation = record.incarnation if record.counter else self._new_incarnation(record, now)
        return command.draft(record, self._book, now, incarnation, self._window)

    def _new_incarnation(self, record: Record, now: float) -> int:
        """Return an incarnation above all that this record had: microseconds of the clock."""
        self._last_incarnation = max(self._last_incarnation + 1, record.incarnation + 1, int(now * 1_000_000))
        return self._last_incarnation

    def _commit_now(self, immediate: ImmediateAuthority, record: Record, draft: Draft) -> Delivery:
        if immediate.epoch_now != self._epoch:
            self._epoch = immediate.epoch_now
        commit = draft.finish(self._epoch, b"")
        if commit.definitions:
            immediate.keep_definitions(texts_of(draft, commit.definitions))
        gone = self._gone(draft, commit)
        plan = record.plan
        outcome = immediate.commit_now(commit, record)
        if isinstance(outcome, Undecided):
            raise outcome.error
        if not isinstance(outcome, Committed):  # nobody else can have changed it since: nothing was awaited
            raise RuntimeError(f"an immediate commit answered {outcome!r}")
        return self._committed(record, commit, plan, gone, draft)

    def _committed(
        self,
        record: Record,
        commit: Commit,
        plan: Any,
        gone: list[TrackerSnapshot],
        draft: Draft,
    ) -> Delivery:
        """Do what follows a commit: keep the plan, tell live objects, publish."""
        if commit.reshapes:
            self._book.reshaped(record, plan, commit.puts, commit.drops)
        if gone:
            self.on_gone(commit.key, gone)
        if commit.deadline is not None:
            self.on_deadline(commit.deadline)
        return self._dispatcher.publish(commit.key, draft.events) if draft.events else None

    def _gone(self, draft: Draft, commit: Commit) -> list[TrackerSnapshot]:
        if not commit.drops or not draft.tracks:
            return []
        rows = draft.record.rows
        return [rows[name] for name in commit.drops if name in rows]


def texts_of(draft: Draft, hashes: Iterable[str]) -> dict[str, str]:
    """Return the definitions for hashes, from the rows that need them."""
    wanted = set(hashes)
    rows = (*draft.puts.values(), *draft.record.rows.values())
    return {row.blueprint.hash: row.blueprint.text for row in rows if row.blueprint.hash in wanted}
