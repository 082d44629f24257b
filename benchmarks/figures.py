"""What rows report: figures, each judged against its target where it has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.measuring import Effort

__all__ = ["Figure", "Row", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be reached.

    Args:
        sense: on which side of the bound to be.
        bound: the bound.
        of: what is judged: milepost's own number, or its ratio to the other one.
    """

    sense: Literal["at least", "at most"]
    bound: float
    of: Literal["ratio", "value"] = "ratio"

    def met(self, score: float) -> bool:
        """Whether a score is on the right side."""
        return score >= self.bound if self.sense == "at least" else score <= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of milepost's, and the one it is compared with.

    Args:
        versus: what milepost is compared with, or what the number says where it stands alone.
        unit: of both numbers.
        milepost: milepost's number.
        other: the other one; None where there is none, or where the peer is not installed.
        target: what is to be reached; None where the figure is for information.
        note: why a number is missing, or how it was measured.
    """

    versus: str
    unit: str
    milepost: float
    other: float | None = None
    target: Target | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """milepost's number over the other one."""
        return None if self.other is None else self.milepost / self.other

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target, or without what it is a ratio to."""
        if self.target is None:
            return None
        score = self.milepost if self.target.of == "value" else self.ratio
        return None if score is None else self.target.met(score)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: some work, and how to measure it.

    Args:
        name: what ``--only`` calls it.
        work: what is done, in a few words.
        measure: does it and returns figures; raises AssertionError where a count is wrong.
    """

    name: str
    work: str
    measure: Callable[[Effort], list[Figure]]
