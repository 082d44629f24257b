"""Several processes share work through one SQLite file, or one Redis, and one of them is killed in the middle.

Each job is done at least once, in order for each customer. What a process had not acknowledged when it was
killed another one does again; what a job emits is not doubled by that.

    python examples/15_shared_work.py
    python examples/15_shared_work.py redis://localhost
"""

import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path

from milepost import Event, EventBus, EventContext, Pace, RedisTransport, SQLiteTransport, Transport

CUSTOMERS = 6
JOBS = 120


def bus_over(place: str) -> EventBus:
    transport: Transport
    if "://" in place:
        transport = RedisTransport.from_url(place, key_prefix="shared-work")
    else:
        transport = SQLiteTransport(place, synchronous="NORMAL")
    # The work of a process that dies is taken over within a second.
    return EventBus(transport, pace=Pace(lease=1.0, poll=0.02, in_flight=12))


async def work(place: str) -> None:
    """What each process does."""
    bus = bus_over(place)

    @bus.on("invoice.requested", durable="invoices")
    async def write_invoice(ctx: EventContext) -> None:
        await asyncio.sleep(0.005)
        await ctx.emit("invoice.written", {"n": ctx.payload["n"]})

    async with bus:
        print("ready", flush=True)
        await asyncio.Event().wait()  # until it is ended


async def begin(place: str) -> asyncio.subprocess.Process:
    command = [sys.executable, __file__, "work", place]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def main(place: str | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = place or str(Path(folder, "work.db"))
        processes = [await begin(place) for _ in range(3)]
        async with bus_over(place) as bus:
            before = await bus.cursor()
            await bus.publish_many(
                Event("invoice.requested", {"n": n // CUSTOMERS}, subject=f"customer:{n % CUSTOMERS}")
                for n in range(JOBS)
            )
            print(f"{JOBS} jobs for {CUSTOMERS} customers, {len(processes)} processes")
            written: list[Event] = []
            async with bus.subscribe("invoice.written", after=before) as events:
                async for event in events:
                    written.append(event)
                    if len(written) == JOBS // 4:
                        processes[0].kill()
                        print("one process was killed")
                    if len(written) == JOBS:
                        break
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    print(f"invoices written: {len(written)}, twice: {len(written) - len({event.cause for event in written})}")
    numbers: dict[str, list[int]] = {}
    for event in written:
        numbers.setdefault(event.subject or "", []).append(event.data["n"])
    in_order = sum(mine == sorted(mine) for mine in numbers.values())
    print(f"customers whose invoices are in order: {in_order} of {len(numbers)}")
    print(f"each got: {Counter(map(len, numbers.values())).most_common(1)[0][0]}")


if __name__ == "__main__":
    asyncio.run(work(sys.argv[2]) if sys.argv[1:2] == ["work"] else main(*sys.argv[1:]))
