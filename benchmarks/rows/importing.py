"""Import of milepost: what it takes on top of pydantic, in interpreters of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from typing import Final

from benchmarks.figures import Figure, Row, Target
from benchmarks.measuring import Effort

__all__ = ["ROW"]

_PYDANTIC: Final = """
from time import perf_counter
began = perf_counter()
import pydantic
class Model(pydantic.BaseModel):
    name: str
Model(name="x")
print(perf_counter() - began)
"""

_MILEPOST: Final = """
from time import perf_counter
began = perf_counter()
import milepost
from milepost import CountTracker, TrackingManager
print(perf_counter() - began)
"""


def _milliseconds(program: str) -> float:
    """Return what a program says of itself: the interpreter's own start is not in it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout) * 1000


def _measure(effort: Effort) -> list[Figure]:
    alone: list[float] = []
    ours: list[float] = []
    for turn in range(effort.repeats + 1):
        both = _milliseconds(_PYDANTIC), _milliseconds(_MILEPOST)
        if turn:  # the first one compiles what was not compiled
            alone.append(both[0])
            ours.append(both[1])
    on_top = median(ours) - median(alone)
    return [
        Figure("pydantic alone", "ms", median(ours), median(alone)),
        Figure("on top of pydantic", "ms", on_top, target=Target("at most", 60, of="value")),
    ]


ROW: Final = Row("import", "import of milepost", _measure)
