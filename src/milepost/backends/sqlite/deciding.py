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
        outlived = _outlived(connection, commits, standings)
        missing = self._missing(connection, epoch, commits)
        outcomes: list[Outcome] = []
        accepted: list[Commit] = []
        for commit in commits:
            standing = standings.get(commit.key)
            if commit.epoch != epoch:
                outcomes.append(StaleEpoch(epoch))
            elif commit.id in outlived or (standing is not None and standing.has_applied(commit)):
                outcomes.append(_COMMITTED)  # it was sent before, and the reply was lost
            else:
                outcome = _refusal(connection, commit, standing, missing)
                outcomes.append(_COMMITTED if outcome is None else outcome)
                if outcome is None and not commit.changes_nothing:
                    accepted.append(commit)
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


def _outlived(
    connection: sqlite3.Connection, commits: Sequence[Commit], standings: Mapping[str, Standing]
) -> frozenset[bytes]:
    """Return the ids of commits whose record was removed since: they are kept apart."""
    ids = [c.id for c in commits if c.id and (c.base is None or not _stands(c, standings.get(c.key)))]
    return frozenset(id for (id,) in select_among(connection, "SELECT id FROM removals WHERE id", ids))


def _refusal(
    connection: sqlite3.Connection, commit: Commit, standing: Standing | None, missing: frozenset[str]
) -> Outcome | None:
    if not _stands(commit, standing):
        return _conflict(connection, commit, standing)
    if commit.seen:
        rows = connection.execute("SELECT id FROM seen WHERE key = ?", (commit.key,))
        known = frozenset(id for (id,) in rows).intersection(commit.seen)
        if known:
            return Duplicate(known)
    needed = missing.intersection(commit.definitions) if missing else missing
    return NeedDefinitions(needed) if needed else None


def _conflict(connection: sqlite3.Connection, commit: Commit, standing: Standing | None) -> Conflict:
    """Return what changed since; everything, where the record began anew or rows were dropped."""
    base, since = commit.base, -1
    if standing is not None and base is not None and base.incarnation == standing.revision.incarnation:
        since = base.counter if standing.shrunk <= base.counter <= standing.revision.counter else -1
    return Conflict(read_record(connection, commit.key, standing, since))
