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
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from itertools import count
from typing import Any, Final, NamedTuple

from milepost._clock import Clock
from milepost._naming import spoken
from milepost._tasks import Tasks
from milepost.adoption import Adopter
from milepost.bus.dispatcher import Delivery, Dispatcher, delivered
from milepost.data_caches.base import LeadingCache, MendingCache
from milepost.errors import (
    BackendUnavailable,
    CommitConflict,
    CommitUncertain,
    ManagerClosed,
    MilepostError,
    RecordTooLarge,
)
from milepost.loading import Loader
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
    PostingAuthority,
    Record,
    StaleEpoch,
    TooLarge,
    Undecided,
)
from milepost.replicas import Replicas
from milepost.tracking.plan import PlanBook
from milepost.waiting import Batch, Lines, Waiting, fail_all
from milepost.work import Draft, Work

__all__ = ["Committer"]

_log = logging.getLogger("milepost")

_RESENDS: Final = 3
_BACKOFF_AFTER: Final = 3


class _Round(NamedTuple):
    """What is worked out for a batch, to be decided together."""

    batch: Batch
    drafts: Sequence[Draft]
    commits: Sequence[Commit]


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
        self._loader = Loader(authority, table, self._adopter, lambda: self._epoch_now)
        self._tasks = tasks
        self._timeout = timeout
        self._lines = Lines()
        table.busy = self._lines.away
        self._delayed = 0
        self._closed = False
        self._rounds = 0
        self._called = False
        self._alone = False
        """Whether the last round had one command: a caller who goes on alone is not held up for others."""
        self._idle: asyncio.Future[None] | None = None
        self._commit_ids = _commit_ids()
        self._leader = authority if isinstance(authority, LeadingCache) and self._immediate is None else None
        self._posting = authority if isinstance(authority, PostingAuthority) else None
        self.conflicts = 0
        self.on_replicas_forgotten: Callable[[Sequence[Record], int], Awaitable[None]] = _nobody_wants_them

    async def start(self) -> None:
        """Learn the present epoch."""
        self._epoch = await self._authority.epoch()

    @property
    def waiting(self) -> int:
        """How many commands have not come to an end."""
        return len(self._lines) + self._delayed

    def run_now(self, key: str, command: Work) -> tuple[Any, Delivery] | None:
        return None if key in self._lines else super().run_now(key, command)

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
            waiting = self.submit(key, command, at_once=self._alone)
            delivery = await waiting.future
            if waiting.error is not None:
                raise waiting.error
            value = waiting.value
        if delivery is not None:
            await delivered(delivery)
        return value

    def submit(self, key: str, command: Work, *, at_once: bool = False) -> Waiting:
        """Put a command in line.

        Args:
            key: the record's key.
            command: the command.
            at_once: wait for nobody else when nothing is on its way.
        """
        waiting = Waiting(command, asyncio.get_running_loop().create_future())
        self._lines.add(key, [waiting])
        if at_once and not self._rounds and not self._called:
            self._begin_rounds()
        else:
            self._kick()
        return waiting

    def _enqueue(self, key: str, line: list[Waiting]) -> None:
        """Put commands in line again, before all others of their group."""
        self._lines.add(key, line, first=True)
        self._kick()

    # --- rounds ---------------------------------------------------------------------------

    def _kick(self) -> None:
        """Begin rounds in the loop's next turn: what is asked for until then goes with them."""
        if not self._called and self._rounds < self._authority.rounds and self._lines.has_some:
            self._called = True
            _ = asyncio.get_running_loop().call_soon(self._begin_rounds)

    def _begin_rounds(self) -> None:
        self._called = False
        most = self._authority.rounds
        while self._rounds < most and (batch := self._lines.take(most)):
            self._rounds += 1
            self._alone = len(batch) == 1 and all(len(line) == 1 for line in batch.values())
            if not self._post(batch):
                _ = self._tasks.spawn(self._see_through(batch, partial(self._round, batch)), "commits")

    def _end_round(self, batch: Batch) -> None:
        self._rounds -= 1
        self._lines.back(batch)
        self._table.shrink()
        self._kick()
        self._note_idle()

    def _post(self, batch: Batch) -> bool:
        """Send a round without a task of its own; return False where it has to wait for something first."""
        posting, held = self._posting, self._table.get
        if posting is None or any(held(key) is None for key in batch):
            return False
        try:
            round = self._work_out(batch)
            # the reply comes in the context of whoever opened the connection: listeners would take that for the cause
            context = copy_context()
            return posting.post(round.commits, lambda decide: context.run(self._posted, round, decide))
        except Exception:  # a round in a task meets it again, and tells those who wait
            return False

    def _posted(self, round: _Round, decide: Callable[[], Awaitable[list[Outcome]]] | None) -> None:
        """Take what became of a round that was sent without a task: all is committed, or here is what says more."""
        batch = round.batch
        if self._closed:
            return  # those who wait were told, and nobody listens any more
        if decide is None:
            for line, draft, commit in zip(batch.values(), round.drafts, round.commits, strict=True):
                self._acknowledge_or_tell(draft, commit, line)
            self._end_round(batch)
        else:
            _ = self._tasks.spawn(self._see_through(batch, partial(self._decide, round, decide)), "commits")

    async def _see_through(self, batch: Batch, work: Callable[[], Awaitable[None]]) -> None:
        """Do what is left to do for a round; whatever happens, those who wait are told: when cancelled, by close()."""
        try:
            await work()
        except Exception as error:
            fail_all(batch.values(), error)
            if not isinstance(error, MilepostError):
                _log.exception("a round of commits failed")
        self._end_round(batch)

    async def _round(self, batch: Batch) -> None:
        """Load what is not here; then work out, send and take what comes back."""
        unknown = [key for key in batch if self._table.get(key) is None]
        if unknown and self._leader is not None:
            self._fetch_elsewhere(batch, await self._loader.load_held(self._leader, unknown))
        else:
            await self._loader.load(unknown)
        if self._immediate is not None:
            for key, line in batch.items():
                self._run_line(self._immediate, self._record(key), line)
        elif batch:
            round = self._work_out(batch)
            await self._decide(round, partial(self._commit, round.commits))

    def _work_out(self, batch: Batch) -> _Round:
        """Return what a batch makes of the replicas."""
        now = self._now()
        drafts = [self._draft_of(self._record(key), line, now) for key, line in batch.items()]
        ids = self._commit_ids
        return _Round(
            batch, drafts, [draft.finish(self._epoch, b"" if draft.is_empty else next(ids)) for draft in drafts]
        )

    async def _commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        return await (self._authority.commit if self._leader is None else self._leader.commit_held)(commits)

    async def _decide(self, round: _Round, decide: Callable[[], Awaitable[list[Outcome]]]) -> None:
        """Have a round decided, and tell those who wait."""
        try:
            outcomes = await self._with_definitions(round, await self._until_certain(round.commits, decide))
        except BackendUnavailable:
            for commit in round.commits:
                self._drop(commit.key)
            raise
        decided = list(zip(round.batch.values(), round.drafts, round.commits, outcomes, strict=True))
        for line, draft, commit, outcome in decided:
            if isinstance(outcome, Committed):
                self._acknowledge_or_tell(draft, commit, line)
        for line, draft, commit, outcome in decided:  # for these more has to be asked: the others do not wait for it
            if not isinstance(outcome, Committed):
                try:
                    await self._refused(draft, outcome, line)
                except Exception as error:
                    self._broken(commit.key, line, error)

    async def _until_certain(
        self, commits: Sequence[Commit], decide: Callable[[], Awaitable[list[Outcome]]]
    ) -> list[Outcome]:
        """Return the outcomes; commits are sent again, with their ids, while the reply stays away."""
        for _ in range(_RESENDS - 1):
            try:
                return await decide()
            except CommitUncertain:
                decide = partial(self._commit, commits)
        return await decide()

    def _broken(self, key: str, line: list[Waiting], error: Exception) -> None:
        """Tell those who wait for a group that its commit failed, and forget what was held of it."""
        self._table.drop(key)
        if isinstance(error, RecordTooLarge) and len(line) > 1:
            for waiting in line:
                waiting.alone = True  # one of them is too much; the others must not suffer for it
            self._enqueue(key, line)
            return
        fail_all([line], error)
        if not isinstance(error, MilepostError):
            _log.error("a commit of %s failed", spoken(key), exc_info=error)

    def _drop(self, key: str) -> None:
        """Have learned anew what there is of a record; unless what is held may be needed to bring it back."""
        if not isinstance(self._authority, MendingCache):
            self._table.drop(key)

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

    def _draft_of(self, record: Record, line: list[Waiting], now: float) -> Draft:
        """Apply every command whose caller still waits."""
        draft = self._draft(record, line[0].command, now)
        broken: set[Waiting] = set()
        while not self._apply_all(draft, line, broken):
            # without the one that raised half way: it did nothing, however far it got
            draft = self._draft(record, line[0].command, now)
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

    async def _with_definitions(self, round: _Round, outcomes: list[Outcome]) -> list[Outcome]:
        """Put the definitions that commits of a round lack, all at once, and send those commits again as they are."""
        lacking = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, NeedDefinitions)]
        if not lacking:
            return outcomes
        texts: dict[str, str] = {}
        for n in lacking:
            outcome = outcomes[n]
            assert isinstance(outcome, NeedDefinitions)
            texts.update(texts_of(round.drafts[n], outcome.hashes))
        commits = [round.commits[n] for n in lacking]
        again: Sequence[Outcome]
        try:
            await self._authority.put_definitions(texts)
            again = await self._until_certain(commits, partial(self._commit, commits))
        except BackendUnavailable as error:
            again = [Undecided(error)] * len(lacking)  # the others of the round are decided
        except RecordTooLarge:
            return outcomes  # each brings its own then, and whoever needs what is too large is alone with that
        for n, outcome in zip(lacking, again, strict=True):
            outcomes[n] = outcome
        return outcomes

    def _acknowledge_or_tell(self, draft: Draft, commit: Commit, line: list[Waiting]) -> None:
        """Take over what is committed; where that fails, tell who waits that it did."""
        try:
            self._acknowledge(draft, commit, line)
        except Exception as error:
            self._broken(commit.key, line, error)

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

    async def _refused(self, draft: Draft, outcome: Outcome, line: list[Waiting]) -> None:
        """Do what it takes to try again, with what is there now."""
        key = draft.record.key
        if isinstance(outcome, NeedDefinitions):
            await self._authority.put_definitions(texts_of(draft, outcome.hashes))
            self._enqueue(key, line)
            return
        if isinstance(outcome, StaleEpoch):
            self._enqueue(key, line)
            await self.begin_epoch(outcome.epoch)
            return
        if isinstance(outcome, TooLarge):
            raise RecordTooLarge(f"{spoken(key)}: {outcome.reason}; nothing was changed")
        if isinstance(outcome, NotHeld):
            self._table.drop(key)  # it is fetched when its turn comes
            self._lost_race(key, line)
            return
        if isinstance(outcome, Undecided):
            self._drop(key)
            fail_all([line], outcome.error)
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
        now = asyncio.get_running_loop().time()
        again: list[Waiting] = []
        for waiting in line:
            waiting.attempts += 1
            waiting.deadline = waiting.deadline or now + self._timeout
            if now > waiting.deadline:
                waiting.fail(CommitConflict(key, waiting.attempts))
            elif not waiting.future.done():
                again.append(waiting)
        if not again:
            return
        attempts = again[0].attempts
        if attempts <= _BACKOFF_AFTER:
            self._enqueue(key, again)
            return
        self._delayed += 1
        pause = random.uniform(0, 0.001 * 2 ** min(attempts - _BACKOFF_AFTER, 6))

        def back_in_line() -> None:
            self._delayed -= 1
            if self._closed:
                fail_all([again], ManagerClosed())
            else:
                self._enqueue(key, again)

        asyncio.get_running_loop().call_later(pause, back_in_line)

    # --- replicas ----------------------------------------------------------------------

    def _fetch_elsewhere(self, batch: Batch, keys: Sequence[str]) -> None:
        """Take from a batch what only the store may have: nobody else waits for it."""
        if keys:
            lines = {key: batch.pop(key) for key in keys}
            _ = self._tasks.spawn(self._fetch(lines), "fetching")

    async def _fetch(self, lines: Batch) -> None:
        """Have records read from the store, and put their commands in line again."""
        try:
            await self._loader.load(list(lines))
        except Exception as error:
            fail_all(lines.values(), error)
            if not isinstance(error, MilepostError):
                _log.exception("records could not be read from the store")
        except asyncio.CancelledError:
            fail_all(lines.values(), ManagerClosed())
            raise
        finally:
            self._lines.back(lines)
            for key, line in lines.items():
                waiting = [item for item in line if not item.future.done()]
                if waiting and not self._closed:
                    self._enqueue(key, waiting)
            self._kick()
            self._note_idle()

    @property
    def _epoch_now(self) -> int:
        return self._epoch if self._immediate is None else self._immediate.epoch_now

    def close(self) -> None:
        """Take no more; who still waits is told that the manager was closed."""
        self._closed = True
        self._epoch = 0
        self._lines.close()
        self._records = OrderedDict()
        self._find = self._records.get
        self._wake_idle()

    # --- quiet --------------------------------------------------------------------------

    async def settle(self) -> None:
        """Return when no command is on its way.

        Raises:
            ManagerClosed: when the committer was closed before that.
        """
        while self._lines or self._rounds or self._delayed:
            if self._closed:
                raise ManagerClosed
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def _note_idle(self) -> None:
        if not self._rounds and not self._lines:
            self._wake_idle()

    def _wake_idle(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and not idle.done():
            idle.set_result(None)


async def _nobody_wants_them(records: Sequence[Record], epoch: int) -> None:
    """Do nothing: the authority loses no data."""


def _commit_ids() -> Iterator[bytes]:
    """Yield ids of 16 bytes: random for the process, counted within it."""
    process = os.urandom(10)
    return (process + n.to_bytes(6, "big") for n in count())
