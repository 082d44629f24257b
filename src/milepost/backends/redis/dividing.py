"""How many partitions there are, as Redis keeps it, and what is said to whoever comes with another number.

The value is ``16``; while ``milepost repartition`` moves everything it is ``16>32 <who>``, and from the moment on from
which nobody can commit to the old partitions ``16>32 <who> <generation> <epoch>``.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Self

from milepost.errors import CacheUnavailable, InvalidDefinition

__all__ = ["Division", "check_number", "command_for", "moved_away"]


@dataclass(frozen=True, slots=True)
class Division:
    """The number of partitions, and what is being made of it.

    Args:
        number: how many there are.
        target: how many there will be; None while nothing is moved.
        mover: who moves things.
        generation: the generation that is moved; -1 while that is not known.
        epoch: the epoch that begins when everything was moved.
    """

    number: int
    target: int | None = None
    mover: str = ""
    generation: int = -1
    epoch: int = 0

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Return what a value says."""
        numbers, *rest = text.decode().split(" ")
        number, _, target = numbers.partition(">")
        mover, generation, epoch = (*rest, *("", "-1", "0")[len(rest) :])
        return cls(int(number), int(target) if target else None, mover, int(generation), int(epoch))

    @property
    def mark(self) -> bytes:
        """What the states of the old partitions are marked with."""
        return b"%d>%d" % (self.number, self.target or self.number)

    def encoded(self) -> bytes:
        """Return the value that says it."""
        if self.target is None:
            return b"%d" % self.number
        fixed = b" %d %d" % (self.generation, self.epoch) if self.generation >= 0 else b""
        return self.mark + b" " + self.mover.encode() + fixed


def command_for(address: str, prefix: str, number: int) -> str:
    """Return the command that divides the data into so many partitions."""
    own = () if prefix == "milepost" else ("--key-prefix", prefix)
    return shlex.join(("milepost", "repartition", address, str(number), *own))


def check_number(known: bytes, number: int, address: str, prefix: str) -> None:
    """Check that there are so many partitions as somebody goes by.

    Raises:
        InvalidDefinition: when there is another number of them.
        CacheUnavailable: when everything is being moved to another number of them.
    """
    found = Division.parse(known)
    if found.target is not None:
        raise CacheUnavailable(
            f"the data under the prefix {prefix!r} are being divided into {found.target} partitions instead of "
            f"{found.number}; when that was interrupted, `{command_for(address, prefix, found.target)}` goes on with it"
        )
    if found.number != number:
        raise InvalidDefinition(
            f"partitions must be {found.number}, as the data under the prefix {prefix!r} has it, got {number}; "
            f"another number needs a key_prefix of its own, or `{command_for(address, prefix, number)}`, while nobody "
            f"uses the data"
        )


def moved_away(of: bytes, number: int, address: str, prefix: str) -> CacheUnavailable:
    """Return what is raised where the data were divided anew under a process that had them open."""
    before, _, target = of.decode().partition(">")
    if target:
        return CacheUnavailable(
            f"the data under the prefix {prefix!r} are being divided into {target} partitions instead of {before}, and "
            f"this process goes by {number}; when that was interrupted, "
            f"`{command_for(address, prefix, int(target))}` goes on with it"
        )
    return CacheUnavailable(
        f"the data under the prefix {prefix!r} were divided into {before} partitions while this process went by "
        f"{number}; start it anew with partitions={before}"
    )
