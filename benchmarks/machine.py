"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
from importlib.metadata import PackageNotFoundError, version

__all__ = ["machine"]


def machine() -> dict[str, str]:
    """Describe this machine and what runs on it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": str(cores),
        "processor": platform.machine(),
        "system": platform.platform(terse=True),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "pydantic": _version("pydantic"),
        "milepost": _version("milepost"),
        "dictrack": _version("dictrack"),
        "pydatatracker": _version("pydatatracker"),
        "databases in": tempfile.gettempdir(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
