"""Tracking the purchases, in the order in which they were made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from milepost.cli.demo.purchases import Purchase
from milepost.manager import TrackingManager

__all__ = ["Position", "replay"]


@dataclass(frozen=True, slots=True)
class Position:
    """How far a replay got.

    Args:
        done: how many purchases were handed to the engine.
        new: how many of them it counted; it knew the others by their event ids.
        fresh: whether any of the last batch was new.
        spend: what the new ones add up to.
        last: the last of them.
    """

    done: int
    new: int
    fresh: bool
    spend: Decimal
    last: Purchase


async def replay(manager: TrackingManager, purchases: Sequence[Purchase], batch: int) -> AsyncIterator[Position]:
    """Track purchases, and say after every batch how far it got.

    Args:
        manager: where to.
        purchases: what.
        batch: how many to hand over together; their commits share transactions.

    Raises:
        MilepostError: what the engine has to say when one cannot be tracked.
    """
    new, spend = 0, Decimal(0)
    for start in range(0, len(purchases), batch):
        part = purchases[start : start + batch]
        results = await manager.track_many(purchase.item() for purchase in part)
        before = new
        for purchase, result in zip(part, results, strict=True):
            if result.error is not None:
                raise result.error
            if not result.duplicate:
                new += 1
                spend += purchase.amount
        yield Position(start + len(part), new, new > before, spend, part[-1])
