"""Custom rules: a condition and a limiter of your own, and a restart that forgets nothing.

Both are ordinary classes. The attributes set in ``__init__`` are the rule, those that change
later are its state, and the store keeps the two.

    python examples/06_custom_rules.py
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from milepost import (
    AccumulationTracker,
    BaseCondition,
    BaseLimiter,
    ResetPolicy,
    SQLiteDataStore,
    TrackerSnapshot,
    TrackingManager,
)

TEAM = "team_001"


class PlacedBetween(BaseCondition):
    """Holds for purchases placed between two hours of the day."""

    def __init__(self, first_hour: int, last_hour: int) -> None:
        self._first_hour = first_hour
        self._last_hour = last_hour

    def check(self, data: Mapping[str, Any], *args: Any, **kwargs: Any) -> bool:
        return "hour" in data and self._first_hour <= data["hour"] <= self._last_hour


class BudgetLimiter(BaseLimiter):
    """Closes when a budget is used up; a reset opens it with a new one."""

    def __init__(self, max_value: float) -> None:
        super().__init__()
        self.max_value = max_value
        self.remaining = max_value

    def post_track(self, data: Mapping[str, Any], post_tracker: TrackerSnapshot, *args: Any, **kwargs: Any) -> bool:
        self.remaining -= data["amount"]
        self.limited = self.remaining <= 0
        return not self.limited

    def reset(self, *args: Any, **kwargs: Any) -> bool:
        self.remaining = kwargs.get("reset_value", self.max_value)
        self.limited = self.remaining <= 0
        return not self.limited


async def buy(manager: TrackingManager, *, hour: int, amount: float) -> None:
    result = await manager.track(TEAM, {"hour": hour, "amount": amount})
    answer = "counted" if result.dirtied else "refused" if result.limited else "not within hours"
    print(f"  {amount} at {hour}:00: {answer}")


async def show(manager: TrackingManager) -> None:
    for tracker in await manager.get_trackers(TEAM):
        for limiter in tracker.limiters:
            assert isinstance(limiter, BudgetLimiter)
            print(f"  spent {tracker.progress}, {limiter.remaining} remaining of {limiter.max_value}")


async def main(open_manager: Callable[[], TrackingManager]) -> None:
    print("first run:")
    limiter = BudgetLimiter(max_value=100)
    spent = AccumulationTracker(name="spent", target=1000, conditions=[PlacedBetween(9, 17)], limiters=[limiter])
    async with open_manager() as manager:
        await manager.add_tracker(TEAM, spent)
        await buy(manager, hour=10, amount=30)
        await buy(manager, hour=23, amount=500)
        await buy(manager, hour=12, amount=45)
        print(f"  spent {spent.progress}, {limiter.remaining} remaining of {limiter.max_value}")

    print("after a restart:")  # nothing is added: rules and state come from the store
    async with open_manager() as manager:
        await show(manager)
        await buy(manager, hour=23, amount=500)
        await buy(manager, hour=11, amount=25)
        await buy(manager, hour=11, amount=10)

    print("after another restart:")
    async with open_manager() as manager:
        await buy(manager, hour=14, amount=10)
        await show(manager)
        await manager.reset_tracker(TEAM, "spent", ResetPolicy.LIMITER, reset_value=50)
        await buy(manager, hour=14, amount=10)
        await show(manager)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        database = Path(folder) / "budgets.db"
        asyncio.run(main(lambda: TrackingManager(data_store=SQLiteDataStore(database))))
