"""A limiter on how often a tracker may move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PlainValidator

from milepost.limiters.base import BaseLimiter

__all__ = ["CountLimiter"]


def _positive(count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count < 2**63:
        raise ValueError(f"must be a whole number greater than 0, got {count!r}")
    return int(count)


class CountLimiter(BaseLimiter):
    """Lets a tracker move ``count`` times. The last of them still counts and announces LIMITED.

    Only data that satisfy the tracker's conditions are counted. ``reset_tracker(...,
    reset_count=n)`` opens it for n more, by default for ``count``.

    Args:
        count: how many moves are allowed, at least 1.
    """

    count: Annotated[int, PlainValidator(_positive, json_schema_input_type=Annotated[int, Field(gt=0)])]

    if TYPE_CHECKING:

        @property
        def remaining(self) -> int:
            """How many moves are left."""
            ...

        @remaining.setter
        def remaining(self, value: int) -> None: ...

    def _absent(self, name: str) -> Any:
        return self.count if name == "remaining" else super()._absent(name)

    def pre_track(self, data: Mapping[str, Any], tracker: Any, /, *args: Any, **kwargs: Any) -> bool:
        return self.remaining > 0

    def post_track(self, data: Mapping[str, Any], tracker: Any, /, *args: Any, **kwargs: Any) -> bool:
        self.remaining -= 1
        return self.remaining > 0

    def reset(self, *args: Any, reset_count: int | None = None, **kwargs: Any) -> bool:
        """Open the limiter again.

        Args:
            *args: unused.
            reset_count: how many moves to allow, by default ``count``; with 0 it stays limited.
            **kwargs: unused.

        Raises:
            ValueError: when ``reset_count`` is no whole number, or below 0.
        """
        if reset_count is None:
            self.remaining = self.count
            return True
        if isinstance(reset_count, bool) or not isinstance(reset_count, int) or not 0 <= reset_count < 2**63:
            raise ValueError(f"reset_count must be a whole number of at least 0, got {reset_count!r}")
        self.remaining = reset_count
        return reset_count > 0
