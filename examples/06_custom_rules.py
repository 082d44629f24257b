"""Custom rules: a condition and a limiter of your own, and a restart that forgets nothing.

Both are ordinary classes: attributes set in ``__init__`` are the rule, those that change later
are its state, and a store keeps the two.

    python examples/06_custom_rules.py
"""

import asyncio
from collections.abc import Mapping
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


class PlacedBetween(BaseCondition):
    """Holds for orders placed within some hours of the day."""

    def __init__(self, first_hour: int, last_hour: int) -> None:
        self._first_hour = first_hour
        self._last_hour = last_hour

    def check(self, data: Mapping[str, Any], *args: Any, **kwargs: Any) -> bool:
        return self._first_hour <= data.get("hour", -1) <= self._last_hour


class BudgetLimiter(BaseLimiter):
    """Closes when a budget is used up."""

    def __init__(self, max_value: float) -> None:
        super().__init__()
        self.max_value = max_value
        self.remaining = max_value

    def post_track(self, data: Mapping[str, Any], post_tracker: TrackerSnapshot, *args: Any, **kwargs: Any) -> bool:
        self.remaining -= data["amount"]
        self.limited = self.remaining <= 0
        return not self.limited

    def reset(self, *args: Any, reset_value: float | None = None, **kwargs: Any) -> bool:
        self.remaining = self.max_value if reset_value is None else reset_value
        self.limited = self.remaining <= 0
        return not self.limited


async def run(database: Path, amounts: list[float], *, budget: float | None = None) -> None:
    """Do what a program does between its start and its end."""
    limiter = BudgetLimiter(max_value=100)
    spent = AccumulationTracker(name="spent", target=1000, conditions=[PlacedBetween(9, 17)], limiters=[limiter])

    async with TrackingManager(data_store=SQLiteDataStore(database)) as manager:
        await manager.add_tracker("team_001", spent, if_exists="keep")  # a restart goes on where it stopped
        print(f"  found: spent {spent.progress}, remaining {limiter.remaining}, limited: {limiter.limited}")

        if budget is not None:
            await manager.reset_tracker("team_001", "spent", ResetPolicy.LIMITER, reset_value=budget)
            print(f"  reset: spent {spent.progress}, remaining {limiter.remaining}, limited: {limiter.limited}")

        for amount in amounts:
            ok, dirtied, completed, limited = await manager.track("team_001", {"amount": amount, "hour": 12})
            answer = "counted" if dirtied else "refused"
            print(f"  {answer} {amount}: remaining {limiter.remaining}, limited: {limiter.limited}")

        ok, dirtied, completed, limited = await manager.track("team_001", {"amount": 5, "hour": 23})
        assert not dirtied  # the condition says no: it is too late in the day
        

async def main() -> None:
    with TemporaryDirectory() as folder:
        database = Path(folder) / "budgets.db"
        print("first run:")
        await run(database, [30, 45])
        print("second run:")
        await run(database, [25, 10])
        print("third run:")
        await run(database, [10], budget=50)


if __name__ == "__main__":
    asyncio.run(main())
