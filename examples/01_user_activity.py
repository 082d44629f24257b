"""User activity: the same five milestones for three users, announced as each is reached.

Shows trackers with several targets, a condition on a list of values, and listeners.

    python examples/01_user_activity.py
"""

import asyncio
from collections.abc import Callable

from milepost import (
    EVENT_TRACKER_ALL_COMPLETED,
    EVENT_TRACKER_STAGE_COMPLETED,
    CountTracker,
    KeyValueInList,
    TrackerEvent,
    TrackingManager,
)

ACTIVE = ["login", "comment", "upload"]  # page views do not count as activity
MILESTONES = [10, 50, 100, 500, 1000]


def on_stage_completed(event: TrackerEvent) -> None:
    print(f"  {event.group_id}: {event.tracker.progress} of {event.tracker.target} reached")


async def on_all_completed(event: TrackerEvent) -> None:
    print(f"  {event.group_id}: {event.tracker.progress} of {event.tracker.target} reached, all done!")


async def main(open_manager: Callable[..., TrackingManager] = TrackingManager) -> None:
    async with open_manager() as manager:
        manager.add_listener(EVENT_TRACKER_STAGE_COMPLETED, on_stage_completed)
        manager.add_listener(EVENT_TRACKER_ALL_COMPLETED, on_all_completed)

        # The users share both list objects: trackers take copies and never change them.
        for user in ("alice", "bob", "carol"):
            condition = KeyValueInList(key="event_type", value=ACTIVE)
            await manager.add_tracker(user, CountTracker(name="activity", target=MILESTONES, conditions=[condition]))

        print("milestones:")
        for user, visits in {"alice": 400, "bob": 60, "carol": 5}.items():
            for _ in range(visits):
                for event_type in ("login", "view", "comment", "upload"):
                    await manager.track(user, {"event_type": event_type})

        print("where everybody stands:")
        for user in ("alice", "bob", "carol"):
            for tracker in await manager.get_trackers(user, "activity"):
                print(f"  {user}: progress {tracker.progress}, target {tracker.target}, completed {tracker.completed}")
        print(f"the shared list is still {MILESTONES}")


if __name__ == "__main__":
    asyncio.run(main())
