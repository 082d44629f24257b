"""Group commit: gathers what waits for the same group, commits it, publishes what it caused.

What cannot be done on the spot waits here: commands gather while a commit for their
group is in flight and go into the next one together; commits of many groups share a round
trip. A lost race is worked out again from what changed, for a bounded time.

Rounds run in tasks of the manager's own: a cancelled caller strands nobody.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final

from milepost._clock import Clock
from milepost._tasks import Tasks
from milepost.adoption import Adopter
from milepost.bus.dispatcher import Delivery, Dispatcher, delivered
from milepost.data_caches.base import LeadingCache
from milepost.errors import (
    BackendUnavailable,
    CommitConflict,
    CommitUncertain,
    ManagerClosed,
    MilepostError,
    RecordTooLarge,
)
from milepost.on_the_spot import OnTheSpot, texts_of
from milepost.records import (
    Authority,
    Commit,
    Committed,
    Conflict,
    Duplicate,
    ImmediateAuthority,
    LoadedRecord,
    NeedDefinitions,
    NotHeld,
    Outcome,
    Record,
    StaleEpoch,
    TooLarge,
    Undecided,
)
from milepost.replicas import Replicas
from milepost.tracking.plan import PlanBook
from milepost.work import Draft, Work

__all__ = ["Committer", "Waiting"]

_log = logging.getLogger("milepost")

_ROUND_SIZE: Final = 1000
_RESENDS: Final = 3
_BACKOFF_AFTER: Final = 3


class Waiting:
    """A command, and who waits for what comes of it."""

    __slots__ = ("alone", "attempts", "caused", "command", "deadline", "error", "future", "value")

    def __init__(self, command: Work, future: asyncio.Future[Delivery], deadline: float) -> None:
        self.command = command
        self.future = future
        self.deadline = deadline
        self.attempts = 0
        self.alone = False
        """Whether it shares its commit with no other command of the group."""
        self.caused = False
        """Whether events came of it, for whose delivery the caller waits."""
        self.value: Any = None
        self.error: Exception | None = None

    def settle(self, delivery: Delivery) -> None:
        if not self.future.done():
            self.future.set_result(delivery)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.error = error
            self.future.set_result(None)


class Committer(OnTheSpot):
    """Takes commands to the authority, for one manager.

    Args:
        authority: decides commits.
        table: the replicas; the authority's own table where it is in memory.
        book: makes plans.
        dispatcher: hears of events once they are committed.
        tasks: where rounds run.
        clock: says what time it is.
        window: how many event ids a record remembers.
        timeout: for how many seconds a command may go on losing races.
    """

    def __init__(
        self,
        authority: Authority,
        table: Replicas,
        book: PlanBook,
        dispatcher: Dispatcher,
        tasks: Tasks,
        clock: Clock,
        *,
        window: int,
        timeout: float,
    ) -> None:
        super().__init__(authority, table, book, dispatcher, clock, window)
        self._authority = authority
        self._adopter = Adopter(authority)
        self._tasks = tasks
        self._timeout = timeout
        self._pending: dict[str, list[Waiting]] = {}
        self._in_flight: set[str] = set()
        self._fetching: set[str] = set()
        self._delayed = 0
        self._closed = False
        self._rounds = 0
        self._idle: asyncio.Future[None] | None = None
        self._commit_ids = _commit_ids()
        self._leader = authority if isinstance(authority, LeadingCache) and self._immediate is None else None
        self.conflicts = 0
        self.on_replicas_forgotten: Callable[[Sequence[Record], int], Awaitable[None]] = _nobody_wants_them

    async def start(self) -> None:
        """Learn the present epoch."""
        self._epoch = await self._authority.epoch()

    @property
    def waiting(self) -> int:
        """How many commands have not come to an end."""
        return sum(map(len, self._pending.values())) + len(self._in_flight) + len(self._fetching) + self._delayed

    def run_now(self, key: str, command: Work) -> tuple[Any, Delivery] | None:
        return None if key in self._pending else super().run_now(key, command)

    async def run(self, key: str, command: Work) -> Any:
        """Carry a command out and wait until its events are delivered.

        Raises:
            CommitConflict: when others were faster for too long.
            BackendUnavailable: when the authority or the store does not answer.
            MilepostError: what the command itself has to say.
        """
        done = self.run_now(key, command)
        if done is not None:
            value, delivery = done
        else:
            waiting = self.submit(key, command)
            delivery = await waiting.future
            if waiting.error is not None:
                raise waiting.error
            value = waiting.value
        if delivery is not None:
            await delivered(delivery)
        return value

    def submit(self, key: str, command: Work) -> Waiting:
        """Put a command in line."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(command, loop.create_future(), loop.time() + self._timeout)
        self._enqueue(key, [waiting])
        return waiting

    def _enqueue(self, key: str, waiting: list[Waiting], *, first: bool = False) -> None:
        line = self._pending.get(key)
        if line is None:
            self._pending[key] = waiting
        elif first:
            line[:0] = waiting
        else:
            line += waiting
        self._kick()

    def _kick(self) -> None:
        if self._rounds < self._authority.rounds and self._pending:
            self._rounds += 1
            _ = self._tasks.spawn(self._work(), "commits")

    async def _work(self) -> None:
        try:
            while batch := self._take():
                keys = list(batch)
                self._in_flight.update(keys)
                self._table.busy.update(keys)
                try:
                    await self._round(batch)
                except Exception as error:
                    _fail_all(batch.values(), error)
                    if not isinstance(error, MilepostError):
                        _log.exception("a round of commits failed")
                except asyncio.CancelledError:
                    _fail_all(batch.values(), CommitUncertain("the manager was closed while the commit was in flight"))
                    raise
                finally:
                    self._in_flight.difference_update(keys)
                    self._table.busy.difference_update(keys)
                    self._table.shrink()
                await asyncio.sleep(0)  # those who were answered may come again: let them join the next round
        finally:
            self._rounds -= 1
            self._note_idle()

    def _take(self) -> dict[str, list[Waiting]]:
        """Take what can go now: groups of which nothing is in flight, up to a number of commands."""
        batch: dict[str, list[Waiting]] = {}
        taken = 0
        for key in list(self._pending):
            if key in self._in_flight or key in self._fetching:
                continue
            line = self._pending[key]
            room = 1 if line[0].alone else _ROUND_SIZE - taken
            if len(line) > room:
                batch[key], self._pending[key] = line[:room], line[room:]
            else:
                batch[key] = self._pending.pop(key)
            taken += len(batch[key])
            if taken >= _ROUND_SIZE:
                break
        return batch

    async def _round(self, batch: dict[str, list[Waiting]]) -> None:
        unknown = [key for key in batch if self._table.get(key) is None]
        if unknown and self._leader is not None:
            await self._load_held(self._leader, unknown, batch)
        else:
            await self._load(unknown)
        if self._immediate is not None:
            for key, line in batch.items():
                self._run_line(self._immediate, self._record(key), line)
            return
        if not batch:
            return
        now = self._now()
        drafts = {key: self._work_out(self._record(key), line, now) for key, line in batch.items()}
        commits = [
            draft.finish(self._epoch, b"" if draft.is_empty else next(self._commit_ids)) for draft in drafts.values()
        ]
        try:
            outcomes = await self._with_definitions(commits, drafts, await self._send(commits))
        except BackendUnavailable:
            for key in batch:
                self._table.drop(key)  # what is there now must be learned anew
            raise
        for (key, draft), commit, outcome in zip(drafts.items(), commits, outcomes, strict=True):
            try:
                if isinstance(outcome, Committed):
                    self._acknowledge(draft, commit, batch[key])
                else:
                    await self._refused(key, draft, outcome, batch[key])
            except Exception as error:
                self._table.drop(key)
                if isinstance(error, RecordTooLarge) and len(batch[key]) > 1:
                    for waiting in batch[key]:
                        waiting.alone = True  # one of them is too much; the others must not suffer for it
                    self._enqueue(key, batch[key], first=True)
                    continue
                _fail_all([batch[key]], error)
                if not isinstance(error, MilepostError):
                    _log.exception("a commit of group %r failed", key)

    def _record(self, key: str) -> Record:
        record = self._table.records.get(key)
        if record is None:
            record = Record(key, 0)
            self._table.hold(record)
        return record

    def _run_line(self, immediate: ImmediateAuthority, record: Record, line: list[Waiting]) -> None:
        for waiting in line:
            if waiting.future.done():
                continue
            try:
                waiting.value, delivery = self._run_on(immediate, record, waiting.command)
            except Exception as error:
                waiting.fail(error)
            else:
                waiting.settle(delivery)

    def _work_out(self, record: Record, line: list[Waiting], now: float) -> Draft:
        """Apply every command whose caller still waits."""
        draft = self._draft(record, line[0].command, now)
        broken: set[Waiting] = set()
        while not self._apply_all(draft, line, broken):
            draft = self._draft(
                record, line[0].command, now
            )  # without the one that raised half way: it did nothing, however far it got
        return draft

    @staticmethod
    def _apply_all(draft: Draft, line: list[Waiting], broken: set[Waiting]) -> bool:
        """Apply the commands of a line but for broken ones; whether none has left the draft half changed."""
        for waiting in line:
            if waiting.future.done() or waiting in broken:  # cancelled before it began, or raised half way
                continue
            waiting.error = None
            events_before, changes_before = len(draft.events), draft.changes
            try:
                waiting.value = waiting.command.apply(draft)
            except Exception as error:
                waiting.error = error
                if draft.changes != changes_before:
                    broken.add(waiting)
                    return False
            waiting.caused = len(draft.events) > events_before
        return True

    async def _send(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Send commits; send them again, with their ids, while the reply stays away."""
        for attempt in range(_RESENDS):
            try:
                if self._leader is not None:
                    return await self._leader.commit_held(commits)
                return await self._authority.commit(commits)
            except CommitUncertain:
                if attempt == _RESENDS - 1:
                    raise
        raise AssertionError("unreachable")

    async def _with_definitions(
        self, commits: Sequence[Commit], drafts: Mapping[str, Draft], outcomes: list[Outcome]
    ) -> list[Outcome]:
        """Put the definitions that commits of a round lack, all at once, and send those commits again as they are."""
        lacking = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, NeedDefinitions)]
        if not lacking:
            return outcomes
        texts: dict[str, str] = {}
        for n in lacking:
            outcome = outcomes[n]
            assert isinstance(outcome, NeedDefinitions)
            texts.update(texts_of(drafts[commits[n].key], outcome.hashes))
        again: Sequence[Outcome]
        try:
            await self._authority.put_definitions(texts)
            again = await self._send([commits[n] for n in lacking])
        except BackendUnavailable as error:
            again = [Undecided(error)] * len(lacking)  # the others of the round are decided
        for n, outcome in zip(lacking, again, strict=True):
            outcomes[n] = outcome
        return outcomes

    def _acknowledge(self, draft: Draft, commit: Commit, line: list[Waiting]) -> None:
        """Take over what is committed, and tell who waits."""
        record = draft.record
        gone = self._gone(draft, commit)
        plan = record.plan
        if not draft.is_empty:
            record.apply(commit, self._window)
        delivery = self._committed(record, commit, plan, gone, draft)
        for waiting in line:
            if waiting.error is not None:
                waiting.fail(waiting.error)
            else:
                waiting.settle(delivery if waiting.caused else None)

    async def _refused(self, key: str, draft: Draft, outcome: Outcome, line: list[Waiting]) -> None:
        """Do what it takes to try again, with what is there now."""
        if isinstance(outcome, NeedDefinitions):
            await self._authority.put_definitions(texts_of(draft, outcome.hashes))
            self._enqueue(key, line, first=True)
            return
        if isinstance(outcome, StaleEpoch):
            self._enqueue(key, line, first=True)
            await self.begin_epoch(outcome.epoch)
            return
        if isinstance(outcome, TooLarge):
            raise RecordTooLarge(f"group {key!r}: {outcome.reason}; nothing was changed")
        if isinstance(outcome, NotHeld):
            self._table.drop(key)  # it is fetched when its turn comes
            self._lost_race(key, line)
            return
        if isinstance(outcome, Undecided):
            self._table.drop(key)
            _fail_all([line], outcome.error)
            return
        if isinstance(outcome, Conflict):
            await self._adopt(draft, outcome.now)
        elif isinstance(outcome, Duplicate):
            self._table.drop(key)
        self._lost_race(key, line)

    async def _adopt(self, draft: Draft, now: LoadedRecord) -> None:
        """Bring a replica to what the authority says; trackers that others removed or replaced are gone."""
        record = draft.record
        if not draft.tracks:
            await self._adopter.adopt(record, now)
            return
        changed = record.rows if now.whole else (*now.rows, *now.drops)
        known = {name: record.rows[name] for name in changed if name in record.rows}
        await self._adopter.adopt(record, now)
        gone = [row for name, row in known.items() if not row.is_the_tracker_of(record.rows.get(name))]
        if gone:
            self.on_gone(record.key, gone)

    async def begin_epoch(self, epoch: int) -> None:
        """Forget all replicas: everything was flushed, or data were lost; what was held is offered then."""
        if epoch == self._epoch or self._closed:
            return
        before, self._epoch = self._epoch, epoch
        records = list(self._table.records.values())
        self._table.clear()
        if before:
            await self.on_replicas_forgotten(records, before)

    def _lost_race(self, key: str, line: list[Waiting]) -> None:
        """Put commands back in line, after a moment where they lost often; give up where it took too long."""
        self.conflicts += 1
        loop = asyncio.get_running_loop()
        again: list[Waiting] = []
        for waiting in line:
            waiting.attempts += 1
            if loop.time() > waiting.deadline:
                waiting.fail(CommitConflict(key, waiting.attempts))
            elif not waiting.future.done():
                again.append(waiting)
        if not again:
            return
        attempts = again[0].attempts
        if attempts <= _BACKOFF_AFTER:
            self._enqueue(key, again, first=True)
            return
        self._delayed += 1
        pause = random.uniform(0, 0.001 * 2 ** min(attempts - _BACKOFF_AFTER, 6))

        def back_in_line() -> None:
            self._delayed -= 1
            if self._closed:
                _fail_all([again], ManagerClosed())
            else:
                self._enqueue(key, again, first=True)

        loop.call_later(pause, back_in_line)

    # --- replicas ----------------------------------------------------------------------

    async def _load_with(
        self, load: Callable[[list[str]], Awaitable[Mapping[str, LoadedRecord]]], keys: list[str]
    ) -> list[Record]:
        while True:
            epoch = self._epoch_now
            loaded = await load(keys)
            records = [Record(key, 0 if self._immediate is None else self._immediate.new_incarnation()) for key in keys]
            for record in records:
                if record.key in loaded:
                    await self._adopter.adopt(record, loaded[record.key])
            if self._epoch_now == epoch:
                return records  # otherwise everything was flushed meanwhile

    async def _load(self, keys: list[str]) -> None:
        if not keys:
            return
        for record in await self._load_with(self._authority.load, keys):
            self._table.hold(record)
            if self._immediate is not None:
                self._immediate.note_deadline(record, record.deadline)

    async def _load_held(self, leader: LeadingCache, keys: list[str], batch: dict[str, list[Waiting]]) -> None:
        """Load what the cache holds; what only the store may have leaves the batch, and nobody else waits for it."""
        elsewhere: list[str] = []

        async def load(wanted: list[str]) -> Mapping[str, LoadedRecord]:
            nonlocal elsewhere
            found, elsewhere = await leader.load_held(wanted)
            return found

        records = await self._load_with(load, keys)
        away = {key: batch.pop(key) for key in elsewhere}
        for record in records:
            if record.key not in away:
                self._table.hold(record)
        if away:
            self._fetching.update(away)
            _ = self._tasks.spawn(self._fetch(away), "fetching")

    async def _fetch(self, lines: dict[str, list[Waiting]]) -> None:
        """Have records read from the store, and put their commands in line again."""
        try:
            await self._load(list(lines))
        except Exception as error:
            _fail_all(lines.values(), error)
            if not isinstance(error, MilepostError):
                _log.exception("records could not be read from the store")
        except asyncio.CancelledError:
            _fail_all(lines.values(), ManagerClosed())
            raise
        finally:
            self._fetching.difference_update(lines)
            for key, line in lines.items():
                waiting = [item for item in line if not item.future.done()]
                if waiting and not self._closed:
                    self._enqueue(key, waiting, first=True)
            self._kick()
            self._note_idle()

    @property
    def _epoch_now(self) -> int:
        return self._epoch if self._immediate is None else self._immediate.epoch_now

    def close(self) -> None:
        """Take no more; who still waits is told that the manager was closed."""
        self._closed = True
        self._epoch = 0
        _fail_all(self._pending.values(), ManagerClosed())
        self._pending.clear()
        self._records = OrderedDict()
        self._find = self._records.get

    # --- quiet --------------------------------------------------------------------------

    async def settle(self) -> None:
        """Return when no command is on its way."""
        while self._pending or self._rounds or self._delayed or self._fetching:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def _note_idle(self) -> None:
        if self._idle is not None and not self._rounds and not self._pending and not self._fetching:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None


def _fail_all(lines: Iterable[Iterable[Waiting]], error: Exception) -> None:
    for line in lines:
        for waiting in line:
            waiting.fail(error)


async def _nobody_wants_them(records: Sequence[Record], epoch: int) -> None:
    """Do nothing: the authority loses no data."""


def _commit_ids() -> Iterator[bytes]:
    """Yield ids of 16 bytes: random for the process, counted within it."""
    process = os.urandom(10)
    return (process + n.to_bytes(6, "big") for n in count())
