"""State in memory that drives trackers: ten status changes by this actor today is a tracker like any other.

Tickets are tracked containers. An observer hands their changes, from whatever thread they come, to a bounded queue;
what takes them from it feeds the manager, where a group is an actor's day. Each change is known by its id, so that
one that is fed twice counts once.

    python examples/33_changes_by_actor.py
"""

import asyncio

from milepost import (
    ChangeLogEntry,
    CountTracker,
    TrackedDict,
    TrackerAllCompleted,
    TrackingManager,
    async_queue_observer,
    tracking_actor,
    where,
)

manager = TrackingManager()
manager.declare("actor:*", CountTracker(name="status changes", target=10, conditions=[where("at") == "status"]))


@manager.on_event(TrackerAllCompleted)
def busy(event: TrackerAllCompleted) -> None:
    actor = event.group_id.split(":")[1]
    print(f"  {actor} has made ten status changes today")


async def feed(changes: asyncio.Queue[ChangeLogEntry]) -> None:
    while True:
        entry = await changes.get()
        day = f"actor:{entry.actor}:{entry.time:%Y-%m-%d}"
        for _ in range(2):  # a change that comes again is the same change
            await manager.track(day, {"at": entry.location, "to": entry.new}, event_id=entry.id)
        changes.task_done()


def close_all(tickets: list[TrackedDict[str, str]]) -> None:
    with tracking_actor("bot"):
        for ticket in tickets:
            ticket["status"] = "closed"


async def main() -> None:
    changes: asyncio.Queue[ChangeLogEntry] = asyncio.Queue()
    observer = async_queue_observer(changes, size=100)
    tickets: list[TrackedDict[str, str]] = [TrackedDict(status="new", note="") for _ in range(6)]
    for ticket in tickets:
        ticket.tracking_add_observer(observer)

    async with manager:
        feeding = asyncio.create_task(feed(changes))
        print("a day at the help desk:")
        with tracking_actor("ada"):
            for ticket in tickets:
                ticket["note"] = "seen"
                ticket["status"] = "open"
            for ticket in tickets[:4]:
                ticket["status"] = "waiting"
        await asyncio.to_thread(close_all, tickets)
        await changes.join()
        feeding.cancel()

        last = tickets[0].last_change()
        today = f"{last.time:%Y-%m-%d}" if last else ""
        for actor in ("ada", "bot"):
            tracker = await manager.get_tracker(f"actor:{actor}:{today}", "status changes")
            print(f"{actor}: {0 if tracker is None else tracker.progress} of 10")


if __name__ == "__main__":
    asyncio.run(main())
