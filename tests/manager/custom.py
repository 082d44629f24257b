"""Custom conditions, limiters and trackers, as users write them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from milepost import BaseCondition, BaseLimiter, BaseTracker, NumericTracker


class LongerThan(BaseCondition):
    """Annotated fields, validated."""

    key: str
    length: int = 3

    def check(self, data: Any, **context: Any) -> bool:
        return len(data.get(self.key, "")) > self.length


class EvenAmount(BaseCondition):
    """A plain class: its own ``__init__``, underscore attributes, no ``super().__init__()``."""

    def __init__(self, modulus: int = 2) -> None:
        self._modulus = modulus
        self._seen_as = {"even": [0], "when": timedelta(seconds=1), "d": Decimal("1.5"), "t": (1, {2})}

    def check(self, data: Any, *args: Any, **kwargs: Any) -> bool:
        return data.get("amount", 1) % self._modulus in self._seen_as["even"]


class Either(BaseCondition):
    """A plain class that holds other conditions, and is polite enough to call ``super().__init__()``."""

    def __init__(self, *conditions: BaseCondition) -> None:
        super().__init__()
        self.conditions = list(conditions)

    def check(self, data: Any) -> bool:
        return any(condition.check(data) for condition in self.conditions)


class Budget(BaseLimiter):
    """As older systems write a limiter: ``super().__init__()``, then attributes."""

    def __init__(self, max_value: float) -> None:
        super().__init__()
        self.max_value = max_value
        self.remaining = max_value

    def pre_track(self, data: Any, tracker: Any, *args: Any, **kwargs: Any) -> bool:
        return not self.limited

    def post_track(self, data: Any, post_tracker: Any, *args: Any, **kwargs: Any) -> bool:
        self.remaining -= data.get("amount", 0)
        if self.remaining <= 0:
            self.limited = True
        return True

    def reset(self, *args: Any, reset_value: float | None = None, **kwargs: Any) -> bool:
        self.remaining = self.max_value if reset_value is None else reset_value
        self.limited = False
        return True


class Distinct(BaseLimiter):
    """Annotated, with state that is no field."""

    key: str
    most: int = 2

    def post_track(self, data: Any, tracker: Any) -> bool:
        self.seen = sorted({*getattr(self, "seen", []), data[self.key]})
        return len(self.seen) < self.most


class Largest(NumericTracker):
    """An annotated tracker whose progress is the largest value so far."""

    key: str = "amount"

    def measure(self, data: Any, **context: Any) -> Any:
        return max(data[self.key] - self.progress, 0) if self.key in data else None


class Streak(BaseTracker):
    """A plain tracker with state of its own, and no ``super().__init__()``."""

    def __init__(self, name: str, target: int) -> None:
        self.name = name
        self.target = target
        self.last: int | None = None

    def measure(self, data: Any, *args: Any, **kwargs: Any) -> int:
        follows = self.last is not None and data["day"] == self.last + 1
        self.last = data["day"]
        return 1 if follows or not self.progress else 0
