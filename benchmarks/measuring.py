"""How a row is measured: contenders take turns, and the median of many short turns counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

__all__ = ["Effort", "rates"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to do.

    Args:
        scale: what every size is multiplied with; 1 is what the targets are about.
        repeats: how many turns each contender has, besides one to warm up.
    """

    scale: float = 1.0
    repeats: int = 11

    def size(self, full: int) -> int:
        """Return a size as scaled, at least 1."""
        return max(1, round(full * self.scale))


async def rates(contenders: Mapping[str, Callable[[], Awaitable[int]]], repeats: int) -> dict[str, float]:
    """Let contenders take turns; return how many calls a second each made, the median of its turns.

    Every other round runs backwards, so that nobody always has the same neighbour. The garbage
    collector works as Python sets it up, for all of them.

    Args:
        contenders: by name, what takes a turn and returns how many calls it made.
        repeats: how many turns each has; one more, the first, is not counted.
    """
    turns: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        order = list(contenders.items())
        for name, contender in reversed(order) if turn % 2 else order:
            began = perf_counter()
            calls = await contender()
            rate = calls / (perf_counter() - began)
            if turn:
                turns[name].append(rate)
    return {name: median(measured) for name, measured in turns.items()}
