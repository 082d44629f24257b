"""What decides whether a tracker may move. The door: modules inside import from the leaves."""

from milepost.limiters.base import BaseLimiter
from milepost.limiters.count import CountLimiter
from milepost.limiters.time import TimeLimiter

__all__ = ["BaseLimiter", "CountLimiter", "TimeLimiter"]
