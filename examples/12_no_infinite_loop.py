"""Three ways to keep events from going round in circles.

A handler that changes what it listens to would trigger itself for ever. It can look before it acts; it can
be told apart by a filter; and where nobody thought of it, the bus ends the chain and names it.

    python examples/12_no_infinite_loop.py
"""

import asyncio
import logging

from milepost import EventBus, EventContext

logging.getLogger("milepost").setLevel(logging.CRITICAL)  # the failure below is part of the show

bus = EventBus(max_depth=6)
on, when, middleware, emit = bus.handlers()

temperature = {"room:1": 26.0}
runs = {"look first": 0, "filter": 0, "nobody thought": 0}


@on("temperature.changed")
async def look_first(ctx: EventContext) -> None:
    """Emits only where there is something left to do: the chain ends by itself."""
    runs["look first"] += 1
    if temperature[ctx.subject.name] > 22:
        temperature[ctx.subject.name] -= 1
        await ctx.emit("temperature.changed")


@on("price.set")
@when(lambda ctx: ctx.get_metadata("by") != "rounding")
async def filter_own_events(ctx: EventContext) -> None:
    """Marks its own events, and does not listen to those."""
    runs["filter"] += 1
    await ctx.emit("price.set", {"price": round(ctx.payload["price"], 1)}, by="rounding")


@on("ping")
@on("pong")
async def nobody_thought_of_it(ctx: EventContext) -> None:
    """Would go on for ever."""
    runs["nobody thought"] += 1
    await ctx.emit("pong" if ctx.event_type == "ping" else "ping")


async def main() -> None:
    async with bus:
        await emit("temperature.changed", "room:1")
        await emit("price.set", "apples", {"price": 1.2345})
        await emit("ping", "ball")
        await bus.settle()

        print(f"look first: {runs['look first']} runs, room:1 has {temperature['room:1']} degrees")
        prices = [event.data["price"] async for event in bus.history("price.set")]
        print(f"filter: {runs['filter']} run, prices {prices}")
        (failed,) = await bus.get_failed_jobs("p?ng")
        print(f"nobody thought of it: {runs['nobody thought']} runs, then")
        print(f"  {failed.reason}")


if __name__ == "__main__":
    asyncio.run(main())
