"""Commits: sent, sent again where that is safe, and what their replies mean."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from milepost.backends.redis.calls import Notes, RecordCalls
from milepost.backends.redis.encoding import ABSENT, outbox_full, outcome_of
from milepost.backends.redis.places import Places
from milepost.backends.redis.reading import Reader
from milepost.errors import BacklogFull, CacheUnavailable, CommitUncertain
from milepost.records import Commit, Conflict, NeedDefinitions, NotHeld, Outcome, StaleEpoch, Undecided

__all__ = ["Decider"]

_TRIES: Final = 10


class Decider:
    """Has Redis decide commits.

    Args:
        name: which Redis, for messages.
        places: where the partitions stand.
        calls: calls the scripts that work on records.
        reader: reads what is too large for one step.
        notes: what is remembered from one call to the next.
        backlog_full: makes the error for when too many records are unsaved.
    """

    def __init__(
        self,
        name: str,
        places: Places,
        calls: RecordCalls,
        reader: Reader,
        notes: Notes,
        backlog_full: Callable[[int], BacklogFull],
    ) -> None:
        self._name = name
        self._places = places
        self._calls = calls
        self._reader = reader
        self._notes = notes
        self._backlog_full = backlog_full

    def post(
        self, commits: Sequence[Commit], done: Callable[[Callable[[], Awaitable[list[Outcome]]] | None], None]
    ) -> bool:
        """Send commits on the shortest way, if that can be gone now.

        Args:
            commits: the commits.
            done: called with None when all are committed, otherwise with what returns their outcomes.

        Returns:
            Whether they were sent.
        """
        epoch = self._places.epoch
        if any(commit.epoch != epoch for commit in commits):
            return False

        def replied(replies: list[Any] | None, error: Exception | None) -> None:
            if replies is None:
                self._notes.doubt(commits)
                done(partial(self._conclude, commits, None))
                return
            outcomes = replies[0] if len(replies) == 1 else _joined(replies)
            if isinstance(outcomes, list) and not any(outcome != 1 for outcome in outcomes):
                done(None)
            else:
                done(partial(self._conclude, commits, outcomes if isinstance(outcomes, list) else None))

        return self._calls.post(self._places.keys, commits, self._notes, replied)

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Return the outcomes of commits, in order.

        Raises:
            CacheUnavailable: when Redis does not answer for any of them.
            CommitUncertain: likewise, when some may have been applied.
        """
        return await self._conclude(commits, None)

    async def _conclude(self, commits: Sequence[Commit], replies: Sequence[Any] | None) -> list[Outcome]:
        """Return the outcomes of commits that were sent once where there are replies, sending them again as needed."""
        outcomes: list[Outcome | None] = [None] * len(commits)
        waiting: Sequence[int] = range(len(commits))
        if replies is not None:
            waiting = await self._understand(commits, waiting, replies, outcomes)
        trouble = CacheUnavailable(f"Redis at {self._name} is being flushed again and again")
        for attempt in range(_TRIES):
            if not waiting:
                break
            try:
                if attempt or replies is not None:
                    await self._places.refresh()
                waiting = await self._try(commits, waiting, outcomes)
            except CacheUnavailable as error:  # of what is decided already its callers are told
                trouble = error
                break
        decided = [
            Undecided(self._judged(commits[n], trouble)) if outcome is None else outcome
            for n, outcome in enumerate(outcomes)
        ]
        errors = [outcome.error for outcome in decided if isinstance(outcome, Undecided)]
        if errors and len(errors) == len(commits):
            raise next((error for error in errors if isinstance(error, CommitUncertain)), errors[0])
        return decided

    async def _try(
        self, commits: Sequence[Commit], waiting: Sequence[int], outcomes: list[Outcome | None]
    ) -> list[int]:
        """Send commits; return which have to be sent again after a look at where the partitions stand."""
        asked: list[int] = []
        for n in waiting:
            # one whose reply was lost may have been applied before what ended its epoch: Redis is asked
            if commits[n].epoch == self._places.epoch or commits[n].id in self._notes.in_doubt:
                asked.append(n)
            else:
                outcomes[n] = StaleEpoch(self._places.epoch)
        if not asked:
            return []
        sent = commits if len(asked) == len(commits) else [commits[n] for n in asked]
        replies = await self._calls.commit(self._places.keys, sent, self._notes)
        return await self._understand(commits, asked, replies, outcomes)

    async def _understand(
        self, commits: Sequence[Commit], asked: Sequence[int], replies: Sequence[Any], outcomes: list[Outcome | None]
    ) -> list[int]:
        """Note what replies mean; return which commits have to be sent again."""
        again: list[int] = []
        pause = 0
        for n, reply in zip(asked, replies, strict=True):
            outcome: Outcome | None
            if isinstance(reply, CacheUnavailable):
                outcome = Undecided(self._judged(commits[n], reply))
            elif _says_wait(reply):
                outcome, pause = None, max(pause, reply[1])
            else:
                outcome = outcome_of(reply)
                if outcome is None:
                    try:
                        outcome = await self._look_closer(commits[n], reply)
                    except CacheUnavailable as error:
                        outcome = Undecided(self._judged(commits[n], error))
            if outcome is None:
                again.append(n)
            else:
                if isinstance(outcome, NeedDefinitions):
                    self._notes.note_needed(self._places.keys.partition(commits[n].key), outcome.hashes)
                outcomes[n] = outcome
                self._notes.note_doubt(commits[n], outcome)
        if pause:
            await asyncio.sleep(pause / 1000)
        return again

    def _judged(self, commit: Commit, error: CacheUnavailable) -> CacheUnavailable:
        """Return what an absent reply means: nothing was changed, unless the commit may have been applied."""
        if not commit.id:  # it would have changed nothing
            return error.__cause__ if isinstance(error.__cause__, CacheUnavailable) else error
        if commit.id not in self._notes.in_doubt or isinstance(error, CommitUncertain):
            return error
        uncertain = CommitUncertain(f"{error}; whether the commit was applied is not known")
        uncertain.__cause__ = error
        return uncertain

    async def _look_closer(self, commit: Commit, reply: Sequence[Any]) -> Outcome | None:
        """Return the outcome where the reply alone does not say it; None where the commit must be sent again."""
        kind = reply[0]
        if kind == b"?":
            return NotHeld()
        if kind == b"f":
            return Undecided(outbox_full(reply))
        if kind == b"c":
            large = await self._reader.large_record(commit.key)
            return Conflict(ABSENT if large is None else large)
        if kind == b"u":
            return Undecided(CommitUncertain(f"too much has happened to {commit.key!r} since the reply was lost"))
        if kind == b"!":
            reason = reply[1].decode()
            if "READONLY" in reason and not reply[2]:  # it was the master: whoever that is now is asked
                await self._places.client.look_again()
                return None
            message = f"Redis at {self._name} refused a commit to {commit.key!r}: {reason}"
            return Undecided(CommitUncertain(message) if reply[2] else self._judged(commit, CacheUnavailable(message)))
        if kind == b"b":
            return Undecided(self._backlog_full(reply[1]))
        if kind == b"e":
            if int(reply[1]) > self._places.epoch:
                await self._places.refresh()
            if commit.epoch != self._places.epoch:
                return StaleEpoch(self._places.epoch)
        return None


def _joined(replies: Sequence[Any]) -> list[Any] | None:
    """Return the replies to several calls as one; None where the server refused one of them."""
    if not all(isinstance(reply, list) for reply in replies):
        return None
    return [outcome for reply in replies for outcome in reply]


def _says_wait(reply: Any) -> bool:
    return isinstance(reply, list) and reply[0] == b"w"
