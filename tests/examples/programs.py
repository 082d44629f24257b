"""The programs in ``examples/``: where they are, what they print, and how to have one in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

__all__ = ["EXAMPLES", "module_of", "output_of"]

EXAMPLES = Path(__file__).parents[2] / "examples"


def output_of(program: Path, folder: Path, *arguments: str) -> str:
    """Return what a program prints; it must succeed and have nothing to complain about."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@cache
def module_of(program: str) -> Any:
    """Import a program without running its ``main``; once, as its classes are one of a kind."""
    spec = spec_from_file_location(f"example_{Path(program).stem}", EXAMPLES / program)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
