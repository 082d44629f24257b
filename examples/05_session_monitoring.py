"""Session monitoring: API calls count while their session is open, and a session lasts a minute.

Shows ``TimeLimiter``, and a clock that stands still until it is moved, so that 70 seconds pass
without waiting.

    python examples/05_session_monitoring.py
"""

import asyncio
from collections.abc import Callable

from milepost import CountTracker, ResetPolicy, TimeLimiter, TrackerLimited, TrackingManager
from milepost.testing import ManualClock

CALLS = 70
SECONDS_BETWEEN_CALLS = 1.001


async def main(open_manager: Callable[..., TrackingManager] = TrackingManager) -> None:
    clock = ManualClock()
    opened = clock.time()
    session = CountTracker(name="api_calls", target=1000, limiters=[TimeLimiter(seconds=60)])

    async with open_manager(clock=clock) as manager:

        @manager.on_event(TrackerLimited)
        def announce(event: TrackerLimited) -> None:
            print(f"{event.group_id} timed out {event.event_ts - opened:.2f} s after it was opened")

        await manager.add_tracker("session_001", session)

        blocked = 0
        for _ in range(CALLS):
            await clock.advance(SECONDS_BETWEEN_CALLS)
            result = await manager.track("session_001", {"path": "/api/items"})
            if result.limited:  # this call was refused; open the session again for those that follow
                blocked += 1
                await manager.reset_tracker("session_001", "api_calls", ResetPolicy.LIMITER)
                print("it was opened again for another minute")

        print(f"{session.progress} allowed, {blocked} blocked in {clock.time() - opened:.2f} s")


if __name__ == "__main__":
    asyncio.run(main())
