"""Tracked containers: an order that knows who changed what, and can take it back.

Shows a tracked dict with a list in it: entries with paths and actors, a batch that fails as a whole, undo,
a diff as JSON Patch, a field that is never shown, and an observer that counts changes with a tracker.

    python examples/10_tracked_containers.py
"""

import asyncio
import json
from typing import Any

from milepost import (
    ChangeLogEntry,
    CountTracker,
    TrackedDict,
    TrackerStageCompleted,
    TrackingManager,
    tracking_actor,
    where,
)

manager = TrackingManager()
manager.declare("actor:*", CountTracker(name="status changes", target=[2, 10], conditions=[where("at") == "status"]))


@manager.on_event(TrackerStageCompleted)
def noticed(event: TrackerStageCompleted) -> None:
    print(f"  {event.group_id} has made {event.tracker.progress} {event.name}")


async def count(entry: ChangeLogEntry) -> None:
    """An observer: every change is an event for a tracker, known by its id."""
    await manager.track(f"actor:{entry.actor}", {"at": entry.location}, event_id=entry.id)


def show(entry: ChangeLogEntry) -> None:
    print(f"  {entry.actor or 'nobody'} {entry.action} {entry.path}: {entry.old!r} -> {entry.new!r}")


async def main() -> None:
    order: TrackedDict[str, Any] = TrackedDict(
        {"status": "new", "lines": [{"item": "tea", "count": 1}], "card": "4000 1234"},
        tracking_auto_convert=True,
        tracking_redact=["card"],
    )
    order.tracking_add_observer(show)
    order.tracking_add_observer(count)

    print("what happens:")
    with tracking_actor("ada"):
        order["lines"].insert(0, {"item": "cups", "count": 4})
        order["lines"][1]["count"] = 2  # tea, which moved
        order["card"] = "4000 9999"
        order["status"] = "paid"

    print("all or nothing:")
    try:
        with tracking_actor("ben"), order.batch():
            order["status"] = "packed"
            order["lines"][0]["count"] -= 5
            if order["lines"][0]["count"] < 0:
                raise ValueError("there are no such cups")
    except ValueError as error:
        print(f"  {error}: the order is {order['status']}, with {order['lines'][0]['count']} cups")

    print("taken back:")
    with tracking_actor("ada"):
        order.undo()

    print("milestones:")
    await asyncio.sleep(0)  # the observer's tasks begin
    await manager.settle()
    tracker = await manager.get_tracker("actor:ada", "status changes")
    assert tracker is not None
    print(f"  next at {tracker.target}")

    print("since the beginning:")
    for operation in order.diff():
        print(f"  {json.dumps(operation)}")
    print(f"as JSON: {json.dumps(order['lines'])}")
    await manager.aclose()


if __name__ == "__main__":
    asyncio.run(main())
