"""A circuit breaker: a service that is down is left alone for a while, and no event is lost.

After two failures in a row the circuit is open and events wait. After a minute one is tried; when it
succeeds, the others follow. The clock is the test clock, so that nobody has to wait that minute.

    python examples/13_circuit_breaker.py
"""

import asyncio
import logging

from milepost import CircuitBreaker, EventBus, EventContext
from milepost.testing import ManualClock

logging.getLogger("milepost").setLevel(logging.CRITICAL)  # the failures below are part of the show

clock = ManualClock()
bus = EventBus(clock=clock)
breaker = CircuitBreaker(failures=2, reset_after=60, when_open="wait", per="handler")
service = {"is up": False}


@bus.on("mail.requested", breaker=breaker, concurrency=1)
async def send_mail(ctx: EventContext) -> None:
    print(f"  sending mail {ctx.payload['n']}")
    if not service["is up"]:
        raise ConnectionError("the mail service is down")


async def main() -> None:
    async with bus:
        print("the service is down:")
        for n in range(1, 6):
            await bus.emit("mail.requested", "ada", {"n": n})
        await clock.advance(1)
        print(f"circuit open: {breaker.is_open('send_mail')}, waiting: {(await bus.status()).pending}")

        service["is up"] = True
        print("the service is up again, a minute later:")
        await clock.advance(60)
        await bus.settle()
        print(f"circuit open: {breaker.is_open('send_mail')}, waiting: {(await bus.status()).pending}")

        print("those that failed before the circuit opened are run again:")
        await bus.retry_jobs()
        await bus.settle()
        print(f"failed deliveries left: {len(await bus.get_failed_jobs())}")


if __name__ == "__main__":
    asyncio.run(main())
