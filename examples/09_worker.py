"""A worker: a task of its own that takes milestones from a queue, at its own pace.

Shows ``subscribe``, a bounded queue of events: writing a letter takes its time, and neither
``track`` nor another listener waits for it.

    python examples/09_worker.py
"""

import asyncio

from milepost import CountTracker, Subscription, TrackerEvent, TrackingManager


async def send_letters(milestones: Subscription[TrackerEvent]) -> None:
    async for event in milestones:  # ends when the subscription is closed and nothing is left
        await asyncio.sleep(0)  # here a letter would be sent
        closing = "that was your last goal!" if event.tracker.completed else "keep going!"
        print(f"  dear {event.group_id}, you have run {event.tracker.target} km, {closing}")


async def main() -> None:
    manager = TrackingManager()
    manager.declare("runner:*", CountTracker(name="kilometres", target=[10, 21, 42]))

    async with manager, manager.subscribe("tracker.*_completed", group="runner:*", size=100) as milestones:
        worker = asyncio.create_task(send_letters(milestones))
        for runner, kilometres in {"runner:ada": 42, "runner:ben": 21, "runner:cleo": 9}.items():
            for _ in range(kilometres):
                await manager.track(runner, {})
        print(f"everybody has arrived, {milestones.waiting} letters to send:")
    await worker
    print(f"{milestones.delivered} letters sent, {milestones.dropped} dropped")


if __name__ == "__main__":
    asyncio.run(main())
