"""Two processes that store the same subjects in one file, each in between the other's loading and storing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from milepost.testing import ManualClock
from tests.durability.doses import dose, seeded
from tests.durability.opening import manager_over

WORKER = Path(__file__).with_name("worker.py")
TASKS = 4


@pytest.mark.slow
def test_two_processes_lose_no_increment(tmp_path: Path) -> None:
    """Each property is exactly as often added to as each process said, and the sum of both is right."""
    chance = seeded("two processes")
    times = dose(100, 5000)
    subjects = ["a", "b"]
    processes = []
    for name in ("first", "second"):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert process.stdin is not None
        order = {"path": str(tmp_path / "t.db"), "name": name, "times": times, "subjects": subjects}
        process.stdin.write(json.dumps({**order, "seed": chance.randrange(2**32)}) + "\n")
        processes.append(process)
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    late = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
    for process in processes:
        out, _ = process.communicate(timeout=100)
        assert process.returncode == 0
        late.append(int(out.split()[1]))
    print(f"{times * TASKS} stores each, too late {late} times")
    assert sum(late), "nobody was in anybody's way: nothing was shown"
    _check(tmp_path / "t.db", subjects, times * TASKS)


def _check(path: Path, subjects: list[str], each: int) -> None:
    import asyncio

    async def look() -> None:
        async with manager_over(path, clock=ManualClock()) as manager:
            found = [(await manager.subject(name)).dict() for name in subjects]
        assert sum(subject["first"] for subject in found) == each
        assert sum(subject["second"] for subject in found) == each
        for subject in found:
            assert subject["n"] == subject["first"] + subject["second"]

    asyncio.run(look())
