"""The only place that reads a clock. Everything else is told what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

import anyio

__all__ = ["Clock", "SystemClock", "epoch_seconds", "to_the_microsecond", "utc"]


class Clock(Protocol):
    """What milepost needs of time: to read it, and to wait for it.

    :class:`milepost.testing.ManualClock` is the one for tests.
    """

    def time(self) -> float:
        """Return seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when that many seconds have passed on this clock."""
        ...


class SystemClock:
    """The machine's clock."""

    time = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        """Wait for real seconds."""
        await anyio.sleep(seconds)


def epoch_seconds(moment: float | datetime, what: str) -> float:
    """Turn what users hand in as a time into epoch seconds.

    Args:
        moment: epoch seconds, or a datetime that knows its time zone.
        what: the argument's name, for the error.

    Raises:
        TypeError: for anything else.
        ValueError: for a datetime without a time zone, and for NaN and infinity.
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError(f"{what} must know its time zone, got the naive {moment!r}")
        seconds = moment.timestamp()  # a float: the last microseconds of the year 9999 are those of the next
    elif isinstance(moment, bool) or not isinstance(moment, int | float):
        raise TypeError(f"{what} must be epoch seconds or an aware datetime, got {moment!r}")
    else:
        seconds = moment
    if not -62_135_596_800 <= seconds < 253_402_300_800:  # the years that datetime can show
        raise ValueError(f"{what} must lie between the years 1 and 9999, got {moment!r}")
    return float(seconds)


def to_the_microsecond(seconds: float) -> float:
    """Return epoch seconds as they can be stored: rounded to whole microseconds."""
    return round(seconds, 6)


def utc(seconds: float) -> datetime:
    """Return epoch seconds as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def utc_now() -> datetime:
    """Return the machine's time as an aware datetime."""
    return datetime.now(UTC)
