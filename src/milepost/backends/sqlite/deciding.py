"""Deciding commits: compares what they were computed from with what is there. It writes nothing, and blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from milepost.backends.sqlite.reading import Standing, read_epoch, read_record, read_standings, select_among
from milepost.records import Commit, Committed, Conflict, Duplicate, NeedDefinitions, Outcome, StaleEpoch

__all__ = ["Decider", "Decision"]

_COMMITTED: Final = Committed()


class Decision(NamedTuple):
    """What is answered to commits, which of them are to be written, and onto what."""

    outcomes: list[Outcome]
    accepted: list[Commit]
    standings: Mapping[str, Standing]


class Decider:
    """Decides commits, each in the transaction that it is given."""

    def __init__(self) -> None:
        self._stored: set[str] = set()
        """Definitions that were found stored; they stay for as long as the epoch lasts."""
        self._stored_in_epoch = 0

    def decide(self, connection: sqlite3.Connection, commits: Sequence[Commit]) -> Decision:
        """Return what becomes of commits for different keys."""
        epoch = read_epoch(connection)
        standings = read_standings(connection, [commit.key for commit in commits])
        late = {c.key for c in commits if not _stands(c, standings.get(c.key))}
        applied = _applied(connection, [c for c in commits if c.key in late or c.base is None], standings)
        missing = self._missing(connection, epoch, commits)
        outcomes: list[Outcome] = []
        accepted: list[Commit] = []
        for commit in commits:
            outcome: Outcome = _COMMITTED
            if commit.epoch != epoch:
                outcome = StaleEpoch(epoch)
            elif commit.id in applied:
                pass  # it was sent before, and the reply was lost
            elif commit.key in late:
                outcome = _conflict(connection, commit, standings.get(commit.key))
            elif commit.seen and (known := _known(connection, commit)):
                outcome = Duplicate(known)
            elif missing and (needed := missing.intersection(commit.definitions)):
                outcome = NeedDefinitions(needed)
            elif not commit.changes_nothing:
                accepted.append(commit)
            outcomes.append(outcome)
        return Decision(outcomes, accepted, standings)

    def _missing(self, connection: sqlite3.Connection, epoch: int, commits: Sequence[Commit]) -> frozenset[str]:
        """Return which definitions are not stored."""
        named = {hash for commit in commits for hash in commit.definitions}
        if not named:
            return frozenset()
        if epoch != self._stored_in_epoch:
            self._stored.clear()
            self._stored_in_epoch = epoch
        unknown = list(named - self._stored)
        found = select_among(connection, "SELECT hash FROM definitions WHERE hash", unknown)
        self._stored.update(hash for (hash,) in found)
        return frozenset(named - self._stored)


def _stands(commit: Commit, standing: Standing | None) -> bool:
    return commit.base == (None if standing is None else standing.revision)


def _applied(
    connection: sqlite3.Connection, commits: Sequence[Commit], standings: Mapping[str, Standing]
) -> frozenset[bytes]:
    """Return the ids of commits that were applied before, to records that are there or were removed since."""
    ids = [commit.id for commit in commits if commit.id]
    of_removed = select_among(connection, "SELECT id FROM removals WHERE id", ids)
    of_standing = [id for commit in commits if commit.key in standings for id in standings[commit.key].commit_ids()]
    return frozenset(id for (id,) in of_removed).union(of_standing)


def _known(connection: sqlite3.Connection, commit: Commit) -> frozenset[bytes]:
    """Return which of a commit's event ids its record remembers."""
    rows = connection.execute("SELECT id FROM seen WHERE key = ?", (commit.key,))
    return frozenset(id for (id,) in rows).intersection(commit.seen)


def _conflict(connection: sqlite3.Connection, commit: Commit, standing: Standing | None) -> Conflict:
    """Return what changed since; everything, where the record began anew or rows were dropped."""
    base, since = commit.base, -1
    if standing is not None and base is not None and base.incarnation == standing.revision.incarnation:
        since = base.counter if standing.shrunk <= base.counter <= standing.revision.counter else -1
    return Conflict(read_record(connection, commit.key, standing, since))
