"""The scripts that work on single records, called for many at once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.encoding import encode_commit
from milepost.backends.redis.keys import Keys
from milepost.backends.redis.lanes import Done
from milepost.backends.redis.scripts import Call, Script, script
from milepost.errors import CommitUncertain
from milepost.records import Commit, Outcome, Undecided

__all__ = ["COMMIT", "Notes", "RecordCalls"]

COMMIT: Final = script("commit.lua", after=("layout.lua", "put_rows.lua", "record.lua", "stream.lua"))
_LOAD: Final = script("load.lua")

_AT_ONCE: Final = 100
"""Records in one call: others are served in between."""

_NOTED: Final = 100_000
_OF_A_PARTITION: Final = "doiutk"
_OF_A_RECORD: Final = "scl"


class Notes:
    """What a cache remembers from one call to the next.

    Args:
        window: how many event ids a record remembers.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.tickets: OrderedDict[str, str] = OrderedDict()
        """What was learned when records were found not to be there."""
        self.in_doubt: OrderedDict[bytes, None] = OrderedDict()
        """Ids of commits whose reply was lost."""
        self.needed: dict[str, set[int]] = {}
        """Hashes of definitions that commits lacked, and the partitions where they did."""

    def note_needed(self, partition: int, hashes: Iterable[str]) -> None:
        """Note that a partition lacks definitions, which are put there next."""
        if len(self.needed) > _NOTED:
            self.needed.clear()
        for hash in hashes:
            self.needed.setdefault(hash, set()).add(partition)

    def note_ticket(self, key: str, ticket: str) -> None:
        """Note that neither Redis nor the store had a record, and what says whether that can still be so."""
        self.tickets[key] = ticket
        self.tickets.move_to_end(key)
        if len(self.tickets) > _NOTED:
            self.tickets.popitem(last=False)

    def doubt(self, commits: Sequence[Commit]) -> None:
        """Remember that the reply to commits was lost, for when they are sent again; those that only ask have no id."""
        self.in_doubt.update((commit.id, None) for commit in commits if commit.id)
        while len(self.in_doubt) > _NOTED:
            self.in_doubt.popitem(last=False)

    def note_doubt(self, commit: Commit, outcome: Outcome) -> None:
        """Take note of an outcome: unless it says that nobody knows, a commit is not in doubt any more."""
        if isinstance(outcome, Undecided) and isinstance(outcome.error, CommitUncertain):
            self.doubt([commit])
        elif self.in_doubt:
            self.in_doubt.pop(commit.id, None)


class RecordCalls:
    """Makes the calls of ``commit.lua`` and ``load.lua``.

    Args:
        client: carries them.
        outbox_size: how many events the outbox of a partition keeps.
        removal_ms: for how many milliseconds a removal is remembered where no store follows.
        ids_ms: for how many milliseconds ids of earlier commits are remembered.
        most_unsaved: how many records of a partition may be unsaved; 0 for any number.
    """

    def __init__(
        self, client: RedisClient, *, outbox_size: int, removal_ms: int, ids_ms: int, most_unsaved: int
    ) -> None:
        self._client = client
        self._spread = client.topology.spread
        self._moment = 0
        self._settings = (outbox_size, removal_ms, ids_ms, most_unsaved)

    async def commit(self, keys: Keys, commits: Sequence[Commit], notes: Notes) -> list[Any]:
        """Send commits; return a reply for each, or what is raised where there is none."""
        groups = self.groups(keys, [commit.key for commit in commits])
        moments = [self._next_moment(commit) for commit in commits] if self._spread else ["-"] * len(commits)
        calls = [self._commit_call(keys, [(commits[n], moments[n]) for n in group], notes) for group in groups]
        return self.apart(groups, len(commits), await self._client.run(calls))

    def post(self, keys: Keys, commits: Sequence[Commit], notes: Notes, done: Done) -> bool:
        """Send commits on the shortest way; ``done`` is told the replies to their calls.

        Returns:
            Whether they were sent. They have to take the longer way to a cluster, and while there is no connection.
        """
        if self._spread or (notes.in_doubt and any(commit.id in notes.in_doubt for commit in commits)):
            return False
        lane = self._client.topology.server_of(0).open_lane
        if lane is None:
            return False
        if len(commits) <= _AT_ONCE:
            lane.post((self._command(keys, commits, notes),), done)
        else:
            starts = range(0, len(commits), _AT_ONCE)
            lane.post([self._command(keys, commits[n : n + _AT_ONCE], notes) for n in starts], done)
        return True

    def _command(self, keys: Keys, commits: Sequence[Commit], notes: Notes) -> tuple[Any, ...]:
        """Return the call for commits that were not sent before, to a server that is alone."""
        number = len(commits)
        command: list[Any] = [b"EVALSHA", COMMIT.sha, number]
        command += [keys.record(commit.key) for commit in commits]
        command += (keys.generation, notes.window, *self._settings, number)
        tickets = notes.tickets
        for commit in commits:
            encode_commit(command, commit, tickets.get(commit.key, "-") if tickets else "-", "-", in_doubt=False)
        return tuple(command)

    def _commit_call(self, keys: Keys, commits: Sequence[tuple[Commit, str]], notes: Notes) -> Call:
        first = (keys.generation, notes.window, *self._settings, len(commits))

        def arguments() -> Sequence[Any]:
            tickets, doubts = notes.tickets, notes.in_doubt
            encoded: list[Any] = [*first]
            for commit, moment in commits:
                ticket = tickets.get(commit.key, "-") if tickets else "-"
                encode_commit(encoded, commit, ticket, moment, in_doubt=bool(doubts) and commit.id in doubts)
            return encoded

        def once_more() -> Sequence[Any]:
            notes.doubt([commit for commit, _ in commits])
            return arguments()

        return Call(
            COMMIT,
            keys.partition(commits[0][0].key) if self._spread else 0,
            self._names(keys, [commit.key for commit, _ in commits]),
            arguments(),
            in_doubt=once_more,
        )

    def _next_moment(self, commit: Commit) -> str:
        """Return the clock's microseconds, with room for its events; one server alone has a better clock."""
        moment = max(self._moment, time.time_ns() // 1000)
        self._moment = moment + max(1, len(commit.events))
        return str(moment)

    async def load(self, keys: Keys, wanted: Sequence[str], most_rows: int) -> list[Any]:
        """Read records; return a reply for each.

        Args:
            keys: the names of keys.
            wanted: the records.
            most_rows: one with more rows is not read in one step.

        Raises:
            CacheUnavailable: when a server does not answer.
        """
        groups = self.groups(keys, wanted)
        calls = [self.each(_LOAD, keys, [wanted[n] for n in group], (most_rows,)) for group in groups]
        return self.apart(groups, len(wanted), await self._client.ask_all(calls))

    def each(self, what: Script, keys: Keys, records: Sequence[str], arguments: Sequence[Any] = ()) -> Call:
        """Return a call of a script that takes the generation, the number of records and other arguments."""
        return Call(
            what,
            keys.partition(records[0]) if self._spread else 0,
            self._names(keys, records),
            (keys.generation, len(records), *arguments),
        )

    def groups(self, keys: Keys, records: Sequence[str]) -> list[Sequence[int]]:
        """Return which records share a call, by their position: any on one server, those of a slot on a cluster."""
        if not self._spread:
            return [range(start, min(start + _AT_ONCE, len(records))) for start in range(0, len(records), _AT_ONCE)]
        by_partition: dict[int, list[int]] = {}
        for n, key in enumerate(records):
            by_partition.setdefault(keys.partition(key), []).append(n)
        return [
            group[start : start + _AT_ONCE]
            for group in by_partition.values()
            for start in range(0, len(group), _AT_ONCE)
        ]

    def _names(self, keys: Keys, records: Sequence[str]) -> list[bytes]:
        names = [keys.record(key) for key in records]
        if self._spread:
            partition = keys.partition(records[0])
            names += (keys.state(partition), keys.keeper(partition), keys.consumers(partition))
            names += [keys.of(partition, kind) for kind in _OF_A_PARTITION]
            names += [keys.beside(key, kind) for key in records for kind in _OF_A_RECORD]
        return names

    @staticmethod
    def apart(groups: Sequence[Sequence[int]], number: int, replies: Sequence[Any]) -> list[Any]:
        """Return the replies to groups as replies to their records."""
        if len(groups) == 1 and not isinstance(replies[0], Exception):
            return list(replies[0])
        apart: list[Any] = [None] * number
        for group, reply in zip(groups, replies, strict=True):
            for position, n in enumerate(group):
                apart[n] = reply if isinstance(reply, Exception) else reply[position]
        return apart
