"""Starting workers, listening to them, killing them, and looking at what they left."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from milepost import CountTracker
from milepost.testing import ManualClock
from tests.survival.where import Where

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-X", "faulthandler", "-W", "error", "-m", "tests.durability.worker")


class Done(NamedTuple):
    """An event that a worker was told is tracked, and the ids of the milestone events that it caused."""

    id: str
    group: str
    caused: list[str]
    duplicate: bool


class Worker:
    """A process that tracks in a SQLite file or a database."""

    def __init__(
        self,
        place: Path | str,
        events: Iterable[tuple[str, str | None]],
        *,
        write: str = "through",
        max_groups: int = 1000,
        synchronous: str = "NORMAL",
        **order: Any,
    ) -> None:
        self._process = subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        where = Where.store_at(place, synchronous=synchronous)._replace(
            write=write, cache_settings={"max_groups": max_groups}
        )
        order = {"where": where, "events": list(events), **order}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self.done: list[Done] = []
        self.words: list[str] = []
        self.conflicts = 0

    def begin(self) -> None:
        """Let it track."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def lines(self) -> Iterator[str]:
        """Yield the first word of each line that comes, until the process ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                return  # the last one was cut off: nobody was told
            word, _, rest = line.partition(" ")
            if word == "done":
                self.done.append(Done(*json.loads(rest)))
            elif word == "tracked":
                (self.conflicts,) = json.loads(rest)
            self.words.append(word)
            yield word

    def wait_for(self, word: str, times: int = 1) -> None:
        """Return when a word has come that often; fail when the process ends before."""
        left = times
        for said in self.lines():
            left -= said == word
            if not left:
                return
        raise AssertionError(f"the worker ended before it said {word!r} {times} times: {self.complaints()}")

    def finish(self) -> list[Done]:
        """Wait for the end; return what was acknowledged."""
        for _ in self.lines():
            pass
        complaints = self.complaints()
        assert self._process.returncode == 0, complaints
        assert self.words[-1] == "finished"
        return self.done

    def kill(self) -> list[Done]:
        """Send SIGKILL; return all that was acknowledged, also what was still on its way here."""
        self._process.kill()
        for _ in self.lines():
            pass
        self.complaints()
        return self.done

    def complaints(self) -> str:
        """Wait for the process to end; return what it wrote on stderr."""
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            text = pipe.read()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        return text


@contextmanager
def workers(started: Iterable[Worker]) -> Iterator[list[Worker]]:
    """Several workers that begin at the same moment; none outlives the block."""
    running = list(started)
    try:
        for worker in running:
            worker.wait_for("ready")
        for worker in running:
            worker.begin()
        yield running
    finally:
        for worker in running:
            worker._process.kill()
            worker._process.wait()


class Left(NamedTuple):
    """What is in a place."""

    progress: dict[str, int]
    """By group."""
    milestones: list[tuple[str, str, str, int]]
    """Every milestone event in the outbox: id, group, type and the target it tells of, in order."""


def look_at(place: Path | str, targets: list[int]) -> Left:
    """Open a file or a database as another process would, and return what is in it."""
    return asyncio.run(look(Where.store_at(place), targets))


async def look(where: Where, targets: list[int]) -> Left:
    """Open a place as another process would, and return what is in it."""
    async with where.manager(clock=ManualClock()) as manager:
        manager.declare("*", CountTracker(name="events", target=targets))
        progress = {}
        async for group in manager.groups():
            tracker = await manager.get_tracker(group, "events")
            assert tracker is not None
            progress[group] = int(tracker.progress)
        bodies = [json.loads(text) for _, text in await where.authority_of(manager).outbox(limit=1_000_000)]
    return Left(progress, [(body["id"], body["subject"], body["type"], body["data"]["target"]) for body in bodies])


def check_milestones(left: Left, targets: list[int]) -> None:
    """Check that each group's passed targets were announced exactly once, in order, under ids of their own."""
    ids = Counter(id for id, *_ in left.milestones)
    assert not [id for id, times in ids.items() if times > 1], "a milestone was announced twice"
    for group, progress in left.progress.items():
        told = [(type, target) for _, subject, type, target in left.milestones if subject == group]
        passed = [target for target in targets if target <= progress]
        last = targets[-1]
        expected = [
            ("tracker.all_completed" if target == last else "tracker.stage_completed", target) for target in passed
        ]
        assert told == expected, group
