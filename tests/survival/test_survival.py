"""The survival programs of TARGETS 1 to 4, in a small dose; ``MILEPOST_DOSE=full`` gives the full one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.servers.mongodb import Unavailable
from tests.servers.processes import missing
from tests.survival import cancelled, killed_workers, redis_killed, store_down
from tests.survival.programs import Program, perform

PROGRAMS = (killed_workers.PROGRAM, redis_killed.PROGRAM, store_down.PROGRAM, cancelled.PROGRAM)
FULL = os.environ.get("MILEPOST_DOSE") == "full"
CASES = [
    pytest.param(
        program,
        setup,
        id=f"{program.name} {setup}",
        marks=[pytest.mark.xfail(reason=program.unkept[setup])] if setup in program.unkept else [],
    )
    for program in PROGRAMS
    for setup in program.setups
    if FULL or setup not in program.only_full
]


@pytest.mark.survival
@pytest.mark.slow
@pytest.mark.timeout(0 if FULL else 300)
@pytest.mark.parametrize(("program", "setup"), CASES)
def test_survives(program: Program, setup: str, tmp_path: Path) -> None:
    """Whatever is killed, cut off or cancelled, what the program promises holds."""
    seed = int(os.environ.get("MILEPOST_SEED") or random.SystemRandom().randrange(2**32))
    try:
        report = perform(program, setup, seed, full=FULL, folder=tmp_path)
    except Unavailable as error:
        missing(str(error))
    else:
        assert not report.violations, str(report)
