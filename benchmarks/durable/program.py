"""One contender in a process of its own: ``python -m benchmarks.durable.program saq 6379 FOLDER``.

Says what it is, and then for each pair of numbers that it reads, of jobs and of publishers, how many seconds they
took. A peer may need another environment than milepost, so that nothing of milepost's is imported but by milepost's
own contenders.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

__all__ = ["Turn"]

Turn = Callable[[int, int], Awaitable[float]]
"""Publishes so many jobs by so many publishers at a time, handles and acknowledges them; returns the seconds."""

Opening = Callable[[int, Path], AbstractAsyncContextManager[Turn]]


async def main(name: str, port: int, folder: Path) -> None:
    package = name.partition("-")[0]  # milepost has several
    opening: Opening = import_module(f"benchmarks.durable.{package}_peer").CONTENDERS[name]
    async with AsyncExitStack() as stack:
        try:
            turn = await stack.enter_async_context(opening(port, folder))
        except ModuleNotFoundError as error:
            say(missing=error.name)
            return
        say(ready=version(package))
        while line := await asyncio.to_thread(sys.stdin.readline):  # leases are renewed while others have their turn
            jobs, publishers = map(int, line.split())
            say(seconds=await turn(jobs, publishers))


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
