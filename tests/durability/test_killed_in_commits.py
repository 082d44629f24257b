"""A process that is killed inside a transaction, at each statement of it: the file is as before it, or as after it."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from milepost import SQLiteDataStore
from tests.durability import doomed
from tests.durability.doses import dose, seeded

Contents = dict[str, list[Any]]

TABLES = {
    "records": "key, incarnation, counter, serial, deadline",
    "rows": "key, name, counter, body",
    "seen": "key, n, id",
    "outbox": "id, type, key, body",
    "meta": "name, value",
}


def contents(path: Path) -> Contents:
    """Return what is in a file, ids of commits apart: they are random."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = {
            table: sorted(connection.execute(f"SELECT {columns} FROM {table}")) for table, columns in TABLES.items()
        }
        defined = {hash for (hash,) in connection.execute("SELECT hash FROM definitions")}
    for *_, body in found["rows"]:
        assert any(hash in body for hash in defined), f"the definition of {body} is not stored"
    return found


async def undisturbed(path: Path) -> list[Contents]:
    """Return what is in the file before the first operation, and after each when nothing goes wrong."""
    async with doomed.manager_of(SQLiteDataStore(path, synchronous="OFF")) as manager:
        states = [contents(path)]
        for operation in doomed.OPERATIONS:
            await operation(manager)
            states.append(contents(path))
    return states


def killed_at(path: Path, point: str, number: int) -> tuple[int, str]:
    """Run the process; return how many operations were acknowledged, and where it was killed, if it was."""
    process = subprocess.run(
        [sys.executable, "-W", "error", doomed.__file__, str(path), point, str(number)],
        capture_output=True,
        text=True,
        check=False,
    )
    *said, last = process.stdout.splitlines()
    if process.returncode == 0:
        return len(said) + 1, ""
    assert process.returncode == -signal.SIGKILL, process.stderr
    return len(said), last.removeprefix("killed at ")


@pytest.mark.survival
@pytest.mark.slow
@pytest.mark.parametrize("point", ["statement", "reply", "instruction"])
async def test_killed_at_every_point_of_a_transaction(point: str, tmp_path: Path) -> None:
    """What was acknowledged is there; of what was not, all or nothing; and the next process goes on from there."""
    chance = seeded(f"killed at every {point}")
    states = await undisturbed(tmp_path / "undisturbed.db")
    assert all(before != after for before, after in pairwise(states)), "each operation leaves its mark"
    numbers = list(range(1, {"statement": 400, "reply": 40, "instruction": 12_000}[point]))
    chance.shuffle(numbers)
    wanted = dose(20, 1500)
    kept: Counter[str] = Counter()
    for n, number in enumerate(numbers):
        if kept.total() >= wanted:
            break
        path = tmp_path / f"{n}.db"
        acknowledged, where = killed_at(path, point, number)
        if not where:  # it had ended before
            assert acknowledged == len(doomed.OPERATIONS)
            assert contents(path) == states[-1]
            numbers[n + 1 :] = [other for other in numbers[n + 1 :] if other < number]
            continue
        found = contents(path)
        assert found in states[acknowledged : acknowledged + 2], f"{point} {number}: killed at {where}"
        kept["before" if found == states[acknowledged] else "after"] += 1
        async with doomed.manager_of(SQLiteDataStore(path, synchronous="OFF")) as manager:
            assert (await manager.track("later", {}, event_id="later")).dirtied[0].progress == 1
    print(f"{kept.total()} kills: {kept['before']} files were as before the transaction, {kept['after']} as after it")
    assert kept.total() >= min(wanted, 12)
