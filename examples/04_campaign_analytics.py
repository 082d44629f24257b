"""Campaign analytics: clicks, conversions and revenue of an advertising campaign.

Shows conditions written as expressions, an amount at a dotted key, one event that passes two
targets, and ``explain``, which says why an event would not count.

    python examples/04_campaign_analytics.py
"""

import asyncio
from collections.abc import Callable

from milepost import (
    AccumulationTracker,
    CountTracker,
    KeyExists,
    KeyValueEQ,
    TrackerStageCompleted,
    TrackingManager,
    where,
)

CAMPAIGN = "campaign_summer"
EVENTS = [
    *[{"event": "click", "visitor": visitor} for visitor in range(1, 13)],
    {"event": "purchase", "visitor": 3, "order": {"id": 1, "total": 120.00}},
    {"event": "purchase", "visitor": 5, "order": {"id": 2, "total": 49.99}},
    {"event": "purchase", "visitor": 8},  # abandoned at the checkout: there is no order
    {"event": "purchase", "visitor": 9, "order": {"id": 3, "total": 99.00}},
]


async def main(open_manager: Callable[..., TrackingManager] = TrackingManager) -> None:
    clicks = CountTracker(name="clicks", target=[10, 100], conditions=[KeyValueEQ(key="event", value="click")])
    conversions = CountTracker(
        name="conversions",
        target=[3, 25],
        conditions=[KeyValueEQ(key="event", value="purchase"), KeyExists(key="order.id")],  # both must hold
    )
    revenue = AccumulationTracker(
        name="revenue",
        key="order.total",
        target=[50, 100, 1000],
        conditions=[(where("event") == "purchase") & (where("order.total") > 0)],  # the same, as an expression
    )

    async with open_manager() as manager:

        @manager.on_event(TrackerStageCompleted)
        def announce(event: TrackerStageCompleted) -> None:
            print(f"  {event.name} passed {event.tracker.target}, now at {event.tracker.progress}")

        await manager.add_trackers(CAMPAIGN, [clicks, conversions, revenue])

        print("milestones:")
        for event in EVENTS:
            await manager.track(CAMPAIGN, event)

        print("the campaign:")
        for tracker in await manager.get_trackers(CAMPAIGN):
            print(f"  {tracker.name}: {tracker.progress} of {tracker.target}, stage {tracker.current_stage}")

        explanation = await manager.explain(CAMPAIGN, {"event": "purchase", "visitor": 8})
        print("why does a purchase without an order count nowhere?")
        for explained in explanation.trackers:
            print(f"  {explained.name}: {explained.reason}")


if __name__ == "__main__":
    asyncio.run(main())
