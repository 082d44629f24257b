"""How often to try again, and how long to wait before each time. Pure: nothing here waits."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from milepost.errors import InvalidDefinition

__all__ = ["RetryPolicy"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The pauses between attempts, in seconds.

    The first retry waits ``interval_start``. Each further one waits ``interval_step`` longer, or
    ``factor`` times as long where a factor is given; none waits longer than ``interval_max``.

    Args:
        max_retries: how many attempts there are after the first; 0 for none, None for no end.
        interval_start: the pause before the first retry.
        interval_step: what is added to the pause with every retry.
        interval_max: the longest pause.
        factor: what the pause is multiplied with, instead of adding ``interval_step``; at least 1.
        jitter: which part of each pause is left to chance: with 0.5 it is between half of it and
            all of it. From 0 to 1.
        on: an exception class, or a tuple of them: after any other there is no retry.

    Raises:
        InvalidDefinition: when a number is out of its range, or ``on`` is no exception class.
    """

    max_retries: int | None = 3
    interval_start: float = 0.0
    interval_step: float = 0.2
    interval_max: float = 0.5
    factor: float | None = None
    jitter: float = 0.0
    on: type[Exception] | tuple[type[Exception], ...] = Exception

    def __post_init__(self) -> None:
        retries = self.max_retries
        if retries is not None and (isinstance(retries, bool) or not isinstance(retries, int) or retries < 0):
            raise InvalidDefinition(
                f"max_retries must be a whole number of at least 0, or None for no end, got {retries!r}"
            )
        for name in ("interval_start", "interval_step", "interval_max"):
            _check(name, getattr(self, name), 0.0, math.inf)
        if self.factor is not None:
            _check("factor", self.factor, 1.0, math.inf)
        _check("jitter", self.jitter, 0.0, 1.0)
        for kind in self.on if isinstance(self.on, tuple) else (self.on,):
            if not isinstance(kind, type) or not issubclass(kind, Exception):
                raise InvalidDefinition(f"on must be an exception class or a tuple of them, got {self.on!r}")

    @classmethod
    def exponential(
        cls,
        max_retries: int | None = 5,
        *,
        start: float = 0.1,
        factor: float = 2.0,
        most: float = 30.0,
        jitter: float = 0.5,
    ) -> RetryPolicy:
        """Return a policy whose pauses grow by a factor, with jitter so that many callers do not come back at once.

        Args:
            max_retries: how many attempts there are after the first; None for no end.
            start: the pause before the first retry, in seconds.
            factor: what each further pause is multiplied with.
            most: the longest pause, in seconds.
            jitter: which part of each pause is left to chance.

        Raises:
            InvalidDefinition: when a number is out of its range.
        """
        return cls(max_retries, interval_start=start, interval_max=most, factor=factor, jitter=jitter)

    def wants(self, error: BaseException) -> bool:
        """Whether an attempt that raised this error is to be made again."""
        return isinstance(error, self.on)

    def delays(self, chance: Callable[[], float] = random.random) -> Iterator[float]:
        """Iterate over the pauses, in seconds; there are as many as there are retries.

        Args:
            chance: returns a number from 0 to 1, for the jitter.
        """
        pause = min(float(self.interval_start), float(self.interval_max))
        made = 0
        while self.max_retries is None or made < self.max_retries:
            yield pause * (1.0 - self.jitter * chance()) if self.jitter else pause
            made += 1
            pause = min(self._longer(pause), float(self.interval_max))

    def _longer(self, pause: float) -> float:
        return pause + self.interval_step if self.factor is None else pause * self.factor


def _check(name: str, value: Any, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most or value == math.inf:
        bounds = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise InvalidDefinition(f"{name} must be a finite number {bounds}, got {value!r}")
