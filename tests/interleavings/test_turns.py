"""Two processes act in turn on one group: what one was told is done, the other sees."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interleavings.setups import SetUp
from tests.interleavings.turns import act

ROOT = Path(__file__).parents[2]


class OtherProcess:
    """The process of ``turns.py``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, order: Any) -> Any:
        """Send one line, and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return json.loads(await self.answer())

    async def answer(self) -> bytes:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            return await self._process.stdout.readline()

    async def act(self, *order: Any) -> Any:
        """Have it do one thing."""
        return await self.tell(order)


@asynccontextmanager
async def other_process(setup: SetUp) -> AsyncGenerator[OtherProcess, None]:
    """Start it; it ends with the block, and must have nothing to complain about."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "tests.interleavings.turns"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        other = OtherProcess(process)
        assert process.stdin is not None
        process.stdin.write(json.dumps(setup.place).encode() + b"\n")
        assert await other.answer() == b"ready\n"
        yield other
        process.stdin.close()
        async with asyncio.timeout(60):
            _, complaints = await process.communicate()
        assert (process.returncode, complaints) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_what_one_was_told_is_done_the_other_sees(setup: SetUp) -> None:
    """Adding, tracking over milestones, resetting, removing and making again, each by the other than the last."""
    async with other_process(setup) as other, setup.manager() as manager:

        async def here(*order: Any) -> Any:
            return await act(manager, *order)

        assert await other.act("add", "g", "n", [2, 3]) == {"n": 0}
        assert await here("track", "g") == [{"n": 1}, []]
        assert await other.act("track", "g") == [{"n": 2}, ["stage_completed"]]
        assert await here("track", "g") == [{"n": 3}, ["all_completed"]]
        assert await other.act("track", "g") == [{}, []], "it is completed, here too"
        assert await here("add", "g", "m", 10) == {"n": 3, "m": 0}
        assert await other.act("track", "g") == [{"m": 1}, []]
        assert await other.act("reset", "g", "n") == {"n": 0, "m": 1}
        assert await here("track", "g") == [{"n": 1, "m": 2}, []]
        assert await here("remove", "g", "n") == {"m": 2}
        assert await other.act("track", "g") == [{"m": 3}, []]
        assert await other.act("remove", "g", "m") == {}
        assert await here("track", "g") == [{}, []]
        assert await here("add", "g", "m", 10) == {"m": 0}
        assert await other.act("track", "g") == [{"m": 1}, []]
        assert await here("show", "g") == await other.act("show", "g") == {"m": 1}


@pytest.mark.parametrize("seed", range(2))
async def test_any_turns(setup: SetUp, seed: int) -> None:
    """Whoever has a turn, and whatever they do with it, both say the same as one that did it all alone."""
    chance = random.Random(seed)
    async with other_process(setup) as other, setup.manager() as manager:
        expected: dict[str, dict[str, int]] = {"a": {}, "b": {}}
        for turn in range(60):
            group, name = chance.choice("ab"), chance.choice("xyz")
            what = chance.choice(["track", "track", "track", "add", "remove", "reset"])
            there = expected[group]
            if what == "track":
                order: list[Any] = ["track", group]
                there.update({tracker: progress + 1 for tracker, progress in there.items()})
            elif name in there:
                order = ["remove" if what == "add" else what, group, name]
                there.pop(name) if order[0] == "remove" else there.update({name: 0})
            else:
                order = ["add", group, name, 1000]
                there[name] = 0
            who = chance.choice([other.act, lambda *order: act(manager, *order)])
            answer = await who(*order)
            said = answer[0] if what == "track" else answer
            assert said == there, f"seed {seed}, turn {turn}: {order}"
        for group, there in expected.items():
            assert await act(manager, "show", group) == await other.act("show", group) == there
