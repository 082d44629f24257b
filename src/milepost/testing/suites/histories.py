"""Random histories: an adapter ends where the engine's own record ends, and a conflict makes any replica current."""

from __future__ import annotations

import random

import pytest

from milepost.records import Commit, Committed, Conflict, Record, Revision
from milepost.testing.suites.material import (
    INCARNATION,
    Reading,
    commit_to,
    event_id,
    merged,
    read,
    reading_of_record,
)
from milepost.testing.suites.opening import AdapterSuite

__all__ = ["HistorySuite"]

WINDOW = 5


class HistorySuite(AdapterSuite):
    """What must hold after any history."""

    @pytest.mark.parametrize("seed", range(8))
    async def test_any_history_ends_where_the_engine_expects(self, seed: int) -> None:
        """After each of many random commits the record is what ``Record.apply`` makes of it: replicas rely on that."""
        history = _History(seed)
        async with self.opened(window=WINDOW) as records:
            epoch = await records.epoch()
            for _ in range(60):
                commit = history.next_commit(epoch)
                assert await records.commit([commit]) == [Committed()], f"{history}: {commit}"
                assert await read(records, "a") == reading_of_record(history.record), f"{history}: after {commit}"

    @pytest.mark.parametrize("seed", range(8))
    async def test_a_conflict_makes_every_replica_current(self, seed: int) -> None:
        """From whatever revision a replica comes, what the conflict brings makes it the record as it is now."""
        history = _History(seed)
        async with self.opened(window=WINDOW) as records:
            epoch = await records.epoch()
            past: list[Reading] = [reading_of_record(history.record)]
            for _ in range(40):
                await records.commit([history.next_commit(epoch)])
                now = reading_of_record(history.record)
                for replica in past:
                    if replica.revision == now.revision:
                        continue
                    (answer,) = await records.commit([commit_to("a", replica.revision, {"lost": "1"}, epoch=epoch)])
                    assert isinstance(answer, Conflict), f"{history}: base {replica.revision}, now {now.revision}"
                    assert merged(replica, answer.now) == now, f"{history}: from {replica}"
                past.append(now)
                past = past[-12:]


class _History:
    """Makes one random commit after the other for a record, and keeps the record as the engine would."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._step = 0
        self.record = Record("a", 0)

    def __repr__(self) -> str:
        return f"history {self._seed}, step {self._step}"

    def next_commit(self, epoch: int) -> Commit:
        """Return a commit that will stand, as if it had been accepted."""
        self._step += 1
        record, chance = self.record, self._random
        base = record.revision
        if base is not None and chance.random() < 0.08:
            commit = commit_to("a", base, epoch=epoch, drops=tuple(record.rows), removes=True)
        else:
            commit = self._change(base, epoch)
        record.apply(commit, WINDOW)
        return commit

    def _change(self, base: Revision | None, epoch: int) -> Commit:
        chance = self._random
        names = [f"row {n}" for n in range(6)]
        puts = dict.fromkeys(chance.sample(names, chance.randint(0, 3)), f"{self._step}")
        there = [name for name in self.record.rows if name not in puts]
        drops = tuple(chance.sample(there, min(len(there), chance.randint(0, 2))))
        seen = tuple(event_id(f"{self._step} {n}") for n in range(chance.choice((0, 0, 1, 3, WINDOW + 2))))
        if not (puts or drops or seen):
            puts = {"row 0": f"{self._step}"}
        return commit_to(
            "a",
            base,
            puts,
            epoch=epoch,
            incarnation=INCARNATION + self._step if base is None else None,
            drops=drops,
            seen=seen,
            serial=self._step,
            deadline=chance.choice((None, 1e9 + self._step)),
        )
