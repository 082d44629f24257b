"""How much of a survival program runs, and with which seed."""

from __future__ import annotations

import os
import random


def dose(short: int, full: int) -> int:
    """Return how often to do something: ``MILEPOST_DOSE=full`` takes its time."""
    return full if os.environ.get("MILEPOST_DOSE") == "full" else short


def seeded(what: str) -> random.Random:
    """Return a generator whose seed is printed; ``MILEPOST_SEED`` repeats a run."""
    seed = int(os.environ.get("MILEPOST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"{what}: MILEPOST_SEED={seed}")
    return random.Random(seed)
