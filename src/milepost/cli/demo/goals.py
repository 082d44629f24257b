"""What the demo tracks for every customer, and the sums that come of it."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from milepost.cli.demo.purchases import Purchase
from milepost.events.types import TrackerEvent
from milepost.manager import TrackingManager
from milepost.trackers.numerics.accumulation import AccumulationTracker
from milepost.trackers.numerics.count import CountTracker

__all__ = ["CUSTOMERS", "GOALS", "Standings", "added_up", "declare_goals"]

CUSTOMERS: Final = "customer:*"

GOALS: Final = {"spend": (50, 100, 250, 500, 1000), "orders": (2, 5, 10, 25)}


def declare_goals(manager: TrackingManager) -> None:
    """Give every customer a spend tracker and an orders tracker: two lines for all 2,357 of them."""
    manager.declare(
        CUSTOMERS,
        AccumulationTracker(name="spend", key="amount", target=list(GOALS["spend"]), exact=True),
        CountTracker(name="orders", target=list(GOALS["orders"])),
    )


@dataclass(slots=True)
class Standings:
    """Sums over all customers.

    Args:
        reached: how many customers reached a tracker's target, by both.
        spend: what the spend trackers hold together. One that reached its last target rests.
        customers: how many bought anything.
        best: whose spend is the highest.
    """

    reached: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    spend: Decimal = Decimal(0)
    customers: int = 0
    best: str = ""

    @classmethod
    async def read(cls, manager: TrackingManager) -> Standings:
        """Add up what is in the database."""
        groups = [group async for group in manager.groups(CUSTOMERS)]
        found = await asyncio.gather(*(manager.get_trackers(group, list(GOALS)) for group in groups))
        states = {group: {row.name: row for row in rows} for group, rows in zip(groups, found, strict=True)}
        passed = {
            (group, name): len(row.targets) if row.completed else row.current_stage - 1
            for group, rows in states.items()
            for name, row in rows.items()
        }
        spent = {group: Decimal(rows["spend"].progress) for group, rows in states.items() if "spend" in rows}
        return cls(
            Counter((name, target) for (_, name), count in passed.items() for target in GOALS[name][:count]),
            sum(spent.values(), Decimal(0)),
            sum(any(row.dirtied for row in rows.values()) for rows in states.values()),
            max(spent, key=spent.__getitem__, default=""),
        )

    def note(self, event: TrackerEvent) -> None:
        """Count a milestone that was just reached."""
        self.reached[event.name, int(event.tracker.target)] += 1


def added_up(purchases: Iterable[Purchase]) -> Standings:
    """Return what the sums must be, by adding up the purchases without the engine."""
    spent: dict[str, Decimal] = defaultdict(Decimal)
    ordered: Counter[str] = Counter()
    for purchase in purchases:
        if spent[purchase.customer] < GOALS["spend"][-1]:
            spent[purchase.customer] += purchase.amount
        ordered[purchase.customer] += 1
    reached = {("spend", target): sum(sum_ >= target for sum_ in spent.values()) for target in GOALS["spend"]}
    reached |= {("orders", target): sum(n >= target for n in ordered.values()) for target in GOALS["orders"]}
    best = max(spent, key=spent.__getitem__)
    return Standings(Counter(reached), sum(spent.values(), Decimal(0)), len(ordered), f"customer:{best}")
