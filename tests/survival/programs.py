"""What survival programs have in common: a seed, a dose, a report of counts and violations, and a command line."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers.mongodb import Unavailable

__all__ = ["Program", "Report", "Run", "main", "perform"]

_SHOWN = 20


@dataclass
class Report:
    """What a program did and found.

    Attributes:
        counts: faults, histories and whatever else is worth a number, by what they are.
        violations: what must not be, in words.
        shortcomings: what is promised and known not to be built yet, each with how often it was seen.
    """

    title: str
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    shortcomings: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def check(self, holds: bool, otherwise: str) -> None:
        """Note a violation unless something holds."""
        if not holds:
            self.violations.append(otherwise)

    def __str__(self) -> str:
        counts = ", ".join(f"{number:,} {what}" for what, number in self.counts.items())
        lines = [f"{self.title}: {counts}; {len(self.violations)} violations, {self.seconds:.1f} s"]
        lines += [f"  violation: {violation}" for violation in self.violations[:_SHOWN]]
        lines += [f"  not yet: {what} ({times} times)" for what, times in self.shortcomings.items()]
        return "\n".join(lines)


class Run(NamedTuple):
    """What a program is given.

    Args:
        setup: where groups are kept, and what goes wrong; one of the program's set-ups.
        chance: where everything random comes from.
        full: whether to take the full dose.
        folder: for files and servers.
        report: for what it finds.
    """

    setup: str
    chance: random.Random
    full: bool
    folder: Path
    report: Report

    def dose(self, small: int, full: int) -> int:
        """Return how often to do something."""
        return full if self.full else small


@dataclass(frozen=True)
class Program:
    """A program that makes things go wrong, and counts.

    Args:
        name: for the command line.
        promise: what it looks for.
        setups: its set-ups, by name.
        carry_out: does it.
        only_full: the set-ups that a small dose leaves out.
        unkept: set-ups in which the promise is known not to be kept yet, and why.
    """

    name: str
    promise: str
    setups: Sequence[str]
    carry_out: Callable[[Run], Awaitable[None]]
    only_full: Sequence[str] = ()
    unkept: Mapping[str, str] = field(default_factory=dict)


class _Failures(logging.Handler):
    """Takes it for a violation when a background task fails: nobody else would hear of it."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._report.violations.append(f"logged: {record.getMessage()}: {record.exc_info[1]!r}")


def perform(program: Program, setup: str, seed: int, *, full: bool, folder: Path) -> Report:
    """Run a program in one set-up; print and return the report."""
    report = Report(f"{program.name} {setup} --seed {seed} --dose {'full' if full else 'small'}")
    begun = time.monotonic()
    failures = _Failures(report)
    logging.getLogger("milepost").addHandler(failures)
    try:
        asyncio.run(program.carry_out(Run(setup, random.Random(seed), full, folder, report)))
    finally:
        logging.getLogger("milepost").removeHandler(failures)
    report.seconds = time.monotonic() - begun
    print(report, flush=True)
    return report


def main(program: Program) -> None:
    """Run a program from the command line; the exit code is 1 where there was a violation, 2 without a server."""
    parser = argparse.ArgumentParser(f"python -m tests.survival.{program.name}", description=program.promise)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="repeats a run")
    parser.add_argument("--dose", choices=["small", "full"], default="small")
    parser.add_argument("--setup", choices=program.setups, action="append", help="by default each in turn")
    chosen = parser.parse_args()
    violations = 0
    for setup in chosen.setup or program.setups:
        with tempfile.TemporaryDirectory(prefix="milepost-survival-") as folder:
            try:
                report = perform(program, setup, chosen.seed, full=chosen.dose == "full", folder=Path(folder))
            except (Unavailable, pytest.skip.Exception, pytest.fail.Exception) as error:
                sys.exit(f"{error}")
            violations += len(report.violations)
    sys.exit(1 if violations else 0)
