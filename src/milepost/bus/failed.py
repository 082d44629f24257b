"""Deliveries that failed: kept, counted, never lost silently."""

from __future__ import annotations

from dataclasses import dataclass

from milepost.events.types import Event

__all__ = ["FailedDelivery"]


@dataclass(frozen=True, slots=True)
class FailedDelivery:
    """A listener or handler that raised, and was not or no longer to be run again."""

    event: Event
    listener: str
    """The listener's qualified name; of a handler its identity, ``module.qualified_name``."""
    attempts: int
    error: BaseException | None
    """What it raised; None where that stayed in the process that saw it."""
    traceback: str
    id: str = ""
    """What ``retry_job`` and ``remove_job`` know it by; empty for listeners, which are not run again."""
    reason: str = ""
    """The error's type and message."""
    failed_at: float = 0.0
    """When, epoch seconds."""
    consumer: str = ""
    """The durable consumer that the handler belongs to; empty for none."""
    retrying: bool = False
    """Whether it was asked to be run again and has not been yet."""

    @property
    def handler(self) -> str:
        """The handler's identity."""
        return self.listener
