"""Who hears of what happened. The door: modules inside import from the leaves."""

from milepost.bus.failed import FailedDelivery
from milepost.bus.subscriptions import Subscription
from milepost.queues import Overflow

__all__ = ["FailedDelivery", "Overflow", "Subscription"]
