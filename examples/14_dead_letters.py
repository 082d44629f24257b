"""A dead-letter handler: what fails for good is an event too, and somebody can act on it.

Shows ``event.failed``, a middleware that reports failures, and looking at and removing failed deliveries.

    python examples/14_dead_letters.py
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from milepost import Event, EventBus, EventContext, RetryPolicy

logging.getLogger("milepost").setLevel(logging.CRITICAL)  # the failures below are part of the show

bus = EventBus(retry=RetryPolicy(max_retries=1, interval_max=0))
on, when, middleware, emit = bus.handlers()


@middleware
async def report(ctx: EventContext, next: Callable[[], Awaitable[None]]) -> None:
    try:
        await next()
    except ValueError as error:
        await ctx.emit("input.rejected", {"why": str(error), "attempt": ctx.attempt})
        raise  # without this the matter would end here: no retry, no failed delivery


@on("number.received")
async def parse(ctx: EventContext) -> None:
    print(f"  number {int(ctx.payload['text'])}")


@on("input.rejected")
async def note_rejection(ctx: EventContext) -> None:
    print(f"  rejected in attempt {ctx.payload['attempt']}: {ctx.payload['why']}")


@bus.event_handler("event.failed")
async def dead_letter(event: Event) -> None:
    failed = event.data["event"]
    print(f"  dead letter: {failed['type']} {failed['data']} after {event.data['attempts']} attempts")


async def main() -> None:
    async with bus:
        print("what arrives:")
        for text in ("12", "a dozen", "13"):
            await bus.publish(Event(name="number.received", data={"text": text}, subject="keyboard"))
        await bus.settle()
        (failed,) = await bus.get_failed_jobs("number.*")
        print(f"kept: {failed.reason}")
        await bus.remove_job(failed.id)
        print(f"failed deliveries left: {len(await bus.get_failed_jobs())}")


if __name__ == "__main__":
    asyncio.run(main())
