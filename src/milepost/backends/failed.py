"""Work that failed for good, as every backend keeps it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FailedRow"]


class FailedRow(NamedTuple):
    """A job that failed.

    Args:
        id: its id.
        handler: whose work it was.
        consumer: the durable consumer that the handler belongs to, or nothing.
        attempts: how often it was tried.
        reason: the last error, in a line.
        traceback: where that was raised.
        at: when, epoch seconds.
        body: the event, JSON.
        retrying: whether it was asked for again.
    """

    id: str
    handler: str
    consumer: str
    attempts: int
    reason: str
    traceback: str
    at: float
    body: str
    retrying: bool = False
