"""Order processing: count the completed orders and sum up what they brought.

Shows two trackers for one group, conditions that must hold together, and ``AccumulationTracker``,
which adds the number at the key ``amount`` unless you name another.

    python examples/03_order_processing.py
"""

import asyncio
from collections.abc import Callable

from milepost import AccumulationTracker, CountTracker, KeyValueEQ, KeyValueInList, TrackingManager

ORDERS = [
    {"order_id": 1, "status": "completed", "amount": 150.00, "payment_method": "credit_card"},
    {"order_id": 2, "status": "pending", "amount": 200.00, "payment_method": "paypal"},
    {"order_id": 3, "status": "completed", "amount": 75.50, "payment_method": "debit_card"},
    {"order_id": 4, "status": "completed", "amount": 320.00, "payment_method": "credit_card"},
    {"order_id": 5, "status": "cancelled", "amount": 50.00, "payment_method": "credit_card"},
]


async def main(open_manager: Callable[..., TrackingManager] = TrackingManager) -> None:
    is_completed = KeyValueEQ(key="status", value="completed")
    paid_by_card_or_paypal = KeyValueInList(key="payment_method", value=["credit_card", "debit_card", "paypal"])

    completed_orders = CountTracker(name="completed_orders", target=100, conditions=[is_completed])
    revenue = AccumulationTracker(name="revenue", target=10_000, conditions=[is_completed, paid_by_card_or_paypal])

    async with open_manager() as manager:
        await manager.add_trackers("shop_001", [completed_orders, revenue])

        for order in ORDERS:
            result = await manager.track("shop_001", order)
            moved = ", ".join(f"{tracker.name} {tracker.progress}" for tracker in result.dirtied)
            print(f"order {order['order_id']} {order['status']}: {moved or 'moves nothing'}")

        # The objects you handed in stay live: they read the group's state.
        print(f"completed orders: {completed_orders.progress} of {completed_orders.target}")
        print(f"revenue: {revenue.progress} of {revenue.target}")


if __name__ == "__main__":
    asyncio.run(main())
