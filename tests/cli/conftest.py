"""What the command line's tests share: the program run in this process, or as a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.program import PROGRAM, Run, run_apart, run_here

GOALS = {
    "user:*": [
        {
            "kind": "CountTracker",
            "name": "logins",
            "target": [2, 50],
            "conditions": [{"kind": "KeyValueEQ", "key": "action", "value": "login"}],
        },
        {"kind": "AccumulationTracker", "name": "spend", "target": [10, 100], "exact": True},
    ]
}


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """Here it may: writing to stdout is a command's work, and nobody shares its loop."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, empty, with the environment of a terminal-less program 100 columns wide."""
    monkeypatch.chdir(tmp_path)
    for name in ("MILEPOST_DATABASE", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PYTHONUTF8", "1")
    return tmp_path


@pytest.fixture
def milepost() -> Run:
    """Run the program in this process: ``milepost("show", "user:1", input="...")``."""
    return run_here


@pytest.fixture
def program(folder: Path) -> Run:
    """Run the program as a process of its own."""
    return lambda *arguments, **settings: run_apart([*PROGRAM, *arguments], **settings)


@pytest.fixture
def goals(folder: Path) -> Path:
    """A file that declares logins (2, 50) and spend (10, 100) for ``user:*``."""
    path = folder / "goals.json"
    path.write_text(json.dumps(GOALS))
    return path
