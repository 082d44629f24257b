"""Deliveries that failed: kept, counted, never lost silently."""

from __future__ import annotations

from dataclasses import dataclass

from milepost.events.types import Event

__all__ = ["FailedDelivery"]


@dataclass(frozen=True, slots=True)
class FailedDelivery:
    """A listener that raised."""

    event: Event
    listener: str
    """The listener's qualified name."""
    attempts: int
    error: BaseException
    traceback: str
