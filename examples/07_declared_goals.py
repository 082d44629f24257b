"""Declared goals: the same goals for every user of a service, stored only for those who move.

Shows ``declare``, which gives trackers to all groups of a pattern, and how little that costs: a
group has a row in the store only when something has happened in it.

    python examples/07_declared_goals.py
"""

import asyncio

from milepost import AccumulationTracker, CountTracker, TrackerAllCompleted, TrackingManager, where

manager = TrackingManager()
manager.declare(
    "user:*",
    CountTracker(name="first lesson", target=1, conditions=[where("event") == "lesson"]),
    CountTracker(name="lessons", target=[5, 25, 100], conditions=[where("event") == "lesson"]),
    AccumulationTracker(name="minutes", key="minutes", target=60, conditions=[where("event") == "lesson"]),
)


@manager.on_event(TrackerAllCompleted)
def congratulate(event: TrackerAllCompleted) -> None:
    print(f"  {event.group_id} reached {event.name!r}")


async def show(user: str) -> None:
    trackers = await manager.get_trackers(user)
    print(f"  {user}: " + ", ".join(f"{tracker.name} {tracker.progress}/{tracker.target}" for tracker in trackers))


async def main() -> None:
    async with manager:
        print("what happens:")
        for user, minutes in [("user:ada", 25), ("user:ben", 10), ("user:ada", 40), ("visitor:7", 90)]:
            await manager.track(user, {"event": "lesson", "minutes": minutes})
        await manager.track("user:cleo", {"event": "login"})

        print("where they stand:")
        for user in ("user:ada", "user:ben", "user:cleo", "user:somebody-new"):
            await show(user)

        stored = sorted([group async for group in manager.groups("user:*")])
        print(f"stored: {', '.join(stored)}")


if __name__ == "__main__":
    asyncio.run(main())
