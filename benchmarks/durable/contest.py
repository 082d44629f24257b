"""Contenders take turns, each in a process of its own that waits for its turn."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

__all__ = ["PEERS_FOLDER", "Entry", "Measured", "measure"]

PEERS_FOLDER: Final = "MILEPOST_PEERS"
"""Names a folder of environments: a contender whose name is there is run by the Python in it."""

_ROOT: Final = Path(__file__).parents[2]


class Entry(NamedTuple):
    """What a contender does in a turn."""

    name: str
    publishers: int
    jobs: int


@dataclass
class Measured:
    """What came out."""

    rates: dict[tuple[str, int], float] = field(default_factory=dict)
    """Jobs a second, the median of the turns, by name and number of publishers."""
    versions: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """Who is not installed."""


class _Contender:
    """One program.

    Args:
        name: which contender it is.
        port: where a Redis server listens, for those that need one.
        folder: where it may keep files.
    """

    def __init__(self, name: str, port: int, folder: Path) -> None:
        self.name = name
        self.is_there = False
        self.version = ""
        self._arguments = (name, str(port), str(folder))
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        command = [_interpreter(self.name), "-m", "benchmarks.durable.program", *self._arguments]
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=_ROOT)
        said = await self._hear()
        self.is_there = "ready" in said
        self.version = said.get("ready", "")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        if error is not None and self._process.returncode is None:
            self._process.kill()
        await self._process.communicate(b"")  # closes its input, which ends it

    async def turn(self, entry: Entry) -> float:
        """Let it do so many jobs; return how many a second."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d %d\n" % (entry.jobs, entry.publishers))
        said = await self._hear()
        return entry.jobs / float(said["seconds"])

    async def _hear(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the contender {self.name} ended without a word")
        said: dict[str, Any] = json.loads(line)
        return said


def _interpreter(name: str) -> str:
    folder = os.environ.get(PEERS_FOLDER)
    if folder:
        for python in (Path(folder, name, "bin", "python"), Path(folder, name, "Scripts", "python.exe")):
            if python.exists():
                return str(python)
    return sys.executable


async def measure(entries: Sequence[Entry], port: int, repeats: int) -> Measured:
    """Let contenders take turns; those that are not installed are left out.

    Every other round runs backwards, so that nobody always has the same neighbour. Nobody but the one whose turn it
    is has work.

    Args:
        entries: who does what.
        port: where a Redis server listens, for those that need one.
        repeats: how many turns each has; one more, the first, is not counted.
    """
    measured = Measured()
    turns: dict[Entry, list[float]] = {}
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="milepost-benchmark-")))
        present: dict[str, _Contender] = {}
        for name in dict.fromkeys(entry.name for entry in entries):
            folder = scratch / name
            folder.mkdir()
            contender = await stack.enter_async_context(_Contender(name, port, folder))
            if contender.is_there:
                present[name] = contender
                measured.versions[name] = contender.version
            else:
                measured.missing.append(name)
        playing = [entry for entry in entries if entry.name in present]
        for turn in range(repeats + 1):
            for entry in reversed(playing) if turn % 2 else playing:
                rate = await present[entry.name].turn(entry)
                if turn:
                    turns.setdefault(entry, []).append(rate)
    measured.rates = {(entry.name, entry.publishers): median(rates) for entry, rates in turns.items()}
    return measured
