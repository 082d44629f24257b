"""A process that works for a durable consumer until it is told to end, or killed. Run by ``consumers.py``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from milepost import EventBus, EventContext, Pace, RedisTransport, SQLiteTransport, Transport


def transport_at(place: dict[str, Any]) -> Transport:
    """Return a transport for a place: a ``path``, or a ``url`` and a ``key_prefix``."""
    if "path" in place:
        return SQLiteTransport(place["path"], synchronous="OFF", partitions=8)
    return RedisTransport.from_url(place["url"], key_prefix=place["key_prefix"], partitions=8)


async def main() -> None:
    order = json.loads(sys.stdin.readline())
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    pace = Pace(lease=order["lease"], poll=0.02, in_flight=order.get("in_flight", 100))
    bus = EventBus(transport_at(order["place"]), pace=pace)

    @bus.on(*order["patterns"], durable="workers", name="work")
    async def work(ctx: EventContext) -> None:
        await asyncio.sleep(order.get("pause", 0))
        line = [ctx.subject.name, ctx.payload.get("n"), ctx.event_id, os.getpid()]
        os.write(log, json.dumps(line).encode() + b"\n")
        await ctx.emit("done", {"n": ctx.payload.get("n")})

    async with bus:
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main())
