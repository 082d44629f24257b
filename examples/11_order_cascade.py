"""An order goes its way: submitted, validated, paid, shipped; and a payment that fails.

Shows a cascade of events, retries, the list of failed deliveries, and running one again.

    python examples/11_order_cascade.py
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from milepost import EventBus, EventContext, RetryPolicy

logging.getLogger("milepost").setLevel(logging.CRITICAL)  # the failure below is part of the show

bus = EventBus()
on, when, middleware, emit = bus.handlers()

declined_cards = {"4000-0002"}


@middleware
async def say_what_runs(ctx: EventContext, next: Callable[[], Awaitable[None]]) -> None:
    print(f"  {ctx.subject.name}: {ctx.event_type}, attempt {ctx.attempt}")
    await next()


@on("order.submitted")
@when(lambda ctx: ctx.payload["total"] > 0)
async def validate(ctx: EventContext) -> None:
    await ctx.emit("order.validated", ctx.payload)


@on("order.validated", retry=RetryPolicy(max_retries=2, interval_max=0.01))
async def charge(ctx: EventContext) -> None:
    if ctx.payload["card"] in declined_cards:
        raise ConnectionError("the bank does not answer")
    await ctx.emit("order.paid", ctx.payload)  # leaves when this function has ended well


@on("order.paid")
async def ship(ctx: EventContext) -> None:
    await ctx.emit("order.shipped")


async def main() -> None:
    async with bus:
        print("an order that goes well:")
        first = await emit("order.submitted", "order:1", {"total": 30, "card": "4000-0001"})
        await bus.settle()
        print("what it caused:")
        print(await bus.trace(first))

        print("an order whose payment fails:")
        await emit("order.submitted", "order:2", {"total": 50, "card": "4000-0002"})
        await bus.settle()
        for failed in await bus.get_failed_jobs("order.*"):
            print(f"failed: {failed.event.type} of {failed.event.subject}, {failed.attempts} attempts, {failed.reason}")

            declined_cards.clear()
            print("the bank is back:")
            await bus.retry_job(failed.id)
        await bus.settle()
        print(f"failed deliveries left: {len(await bus.get_failed_jobs())}")


if __name__ == "__main__":
    asyncio.run(main())
