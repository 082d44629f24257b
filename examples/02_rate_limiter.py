"""A rate limiter: a hundred requests are let through, the rest are refused until a reset.

Shows ``CountLimiter``, what ``track`` returns, and that your own limiter object stays live.

    python examples/02_rate_limiter.py
"""

import asyncio
from collections.abc import Callable

from milepost import CountLimiter, CountTracker, ResetPolicy, TrackerLimited, TrackingManager


async def main(open_manager: Callable[..., TrackingManager] = TrackingManager) -> None:
    limiter = CountLimiter(count=100)
    async with open_manager() as manager:
        await manager.add_tracker("api_key_001", CountTracker(name="requests", target=1000, limiters=[limiter]))

        @manager.on_event(TrackerLimited)
        def announce(event: TrackerLimited) -> None:
            print(f"{event.group_id} is limited at request {event.tracker.progress}")

        served = refused = 0
        for number in range(1, 106):
            result = await manager.track("api_key_001", {"path": f"/items/{number}"})
            if result.dirtied:  # the request has moved the tracker: it is within the limit
                served += 1
            else:
                refused += 1
        print(f"{served} served, {refused} refused, {limiter.remaining} remaining, limited: {limiter.limited}")

        ok, dirtied, completed, limited = await manager.track("api_key_001", {"path": "/items/106"})
        print(f"a refused request is no error: ok={ok} dirtied={dirtied} completed={completed} limited={limited}")

        await manager.reset_tracker("api_key_001", "requests", ResetPolicy.LIMITER)
        print(f"after the reset: {limiter.remaining} remaining, limited: {limiter.limited}")

        await manager.track("api_key_001", {"path": "/items/107"})
        print(f"one request later: {limiter.remaining} remaining")


if __name__ == "__main__":
    asyncio.run(main())
