"""Subjects: devices with properties, handlers that react to what changed, and increments that are never lost.

Shows a unit of work that is stored at once, ``ctx.subject`` in handlers, muted and extended properties, and
twenty tasks that count in the same property at the same time.

    python examples/30_subjects_thermostat.py
"""

import asyncio

from milepost import SUBJECT_PROPERTY_CHANGED, EventContext, TrackingManager

manager = TrackingManager()
on, when, _, emit = manager.bus.handlers()


@on("reading.taken")
async def take_reading(ctx: EventContext) -> None:
    ctx.subject.set("temperature", ctx.payload["celsius"])
    ctx.subject.set("readings", lambda n: n + 1, default=0, muted=True)  # nobody needs to hear of each
    ctx.subject.set_ext("sensor", ctx.payload["sensor"])
    # All three are stored when this handler succeeds; a sensor that is broken stores none of them.
    if ctx.payload["celsius"] > 100:
        raise ValueError("no room is that hot")


@on(SUBJECT_PROPERTY_CHANGED)
@when(lambda ctx: ctx.property_name == "temperature")
async def control_heating(ctx: EventContext) -> None:
    print(f"  {ctx.subject.name}: {ctx.old_value} -> {ctx.new_value}")
    ctx.subject.set("heating", ctx.new_value < ctx.subject.get("wanted", 20))


@on(SUBJECT_PROPERTY_CHANGED)
@when(lambda ctx: ctx.property_name == "heating")
async def announce(ctx: EventContext) -> None:
    print(f"  {ctx.subject.name}: heating {'on' if ctx.new_value else 'off'}")


async def visit(room: str) -> None:
    subject = await manager.subject(room)
    subject.set("visits", lambda n: n + 1, default=0)
    await subject.store()


async def main() -> None:
    async with manager:
        kitchen = await manager.subject("kitchen")
        kitchen.set("wanted", 21)
        kitchen.set("windows", ["north", "south"])
        await kitchen.store()

        print("readings:")
        for celsius in (18.5, 18.5, 22.0, 400.0, 20.5):
            await emit("reading.taken", "kitchen", {"celsius": celsius, "sensor": "k-1"})
            await manager.settle()

        await asyncio.gather(*(visit("kitchen") for _ in range(20)))
        await kitchen.reload()
        print(f"the kitchen: {kitchen.dict()}")
        print(f"extended: {kitchen.ext()}")
        (failed,) = await manager.bus.get_failed_jobs()
        print(f"failed: {failed.reason}")


if __name__ == "__main__":
    import logging

    logging.getLogger("milepost").setLevel(logging.CRITICAL)  # the broken sensor is part of the show
    asyncio.run(main())
