"""A process that adds to subjects: one line of JSON on stdin, ``{"path", "name", "times", "subjects", "seed"}``.

It says ``ready``, begins when it is sent another line, and says ``done`` with how often it was too late.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

from milepost import SQLiteDataStore, TrackingManager


async def add(manager: TrackingManager, order: dict[str, Any], chance: random.Random) -> None:
    """Load a subject, let others in between, and store what was added."""
    for _ in range(order["times"]):
        subject = await manager.subject(chance.choice(order["subjects"]))
        subject.set("n", lambda n: n + 1, default=0)
        subject.set(order["name"], lambda n: n + 1, default=0)
        await asyncio.sleep(chance.random() / 1000)
        await subject.store()


async def main(order: dict[str, Any]) -> None:
    """Do what the order says."""
    store = SQLiteDataStore(order["path"], synchronous="OFF")
    chance = random.Random(order["seed"])
    async with TrackingManager(data_store=store, commit_timeout=60) as manager:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*(add(manager, order, chance) for _ in range(4)))
        print("done", manager.status().conflicts, flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
