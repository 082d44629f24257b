"""What is going on inside a manager, as a value."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from milepost.adapters import Write

__all__ = ["ManagerStatus"]


class ManagerStatus(BaseModel):
    """What is going on inside a manager."""

    model_config = ConfigDict(frozen=True)

    started: bool
    closed: bool
    write: Write
    replicas: int
    """Groups held in memory."""
    evicted: int
    """Groups that left memory for want of room."""
    waiting: int
    """Commands on their way to the authority."""
    backlog: int
    """Groups that a store which follows has not seen as they are."""
    max_backlog: int | None
    """How many of them there may be: a change to one more is refused. None where nothing is refused."""
    store_error: str | None
    """Why the last flush failed; None where it did not."""
    restored: int
    """Groups that this process brought back when the cache had lost them."""
    lost: int
    """Groups of which this process held something newer than the cache, where that could not be brought back."""
    conflicts: int
    """Races lost and worked out again."""
    emitted: int
    """Deliveries begun: one for each event and each who wanted it."""
    delivered: int
    dropped: int
    failed: int
    undelivered: int
    """Deliveries that have not ended."""
