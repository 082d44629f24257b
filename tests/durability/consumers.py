"""Starting processes that work for a durable consumer, and reading what they did."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

CONSUMER = Path(__file__).with_name("consumer.py")


class Handled(NamedTuple):
    """A line that a handler wrote at its end."""

    subject: str
    n: int | None
    id: str
    process: int


class Consuming:
    """A process that works for the durable consumer ``workers``."""

    def __init__(self, place: dict[str, Any], log: Path, **order: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(CONSUMER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        order = {"place": place, "log": str(log), "lease": 1.0, "patterns": ["job"], **order}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "ready\n", self.complaints()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._process.kill()
        self.complaints()

    def finish(self) -> None:
        """Have it end by itself; fail where it complained."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        complaints = self.complaints()
        assert self._process.returncode == 0, complaints

    def complaints(self) -> str:
        """Wait for the end; return what it wrote on stderr."""
        _, complaints = self._process.communicate(timeout=60)
        return complaints


def handled(log: Path) -> list[Handled]:
    """Return what was done, in the order in which it was."""
    return [Handled(*json.loads(line)) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


def out_of_order(done: list[Handled]) -> list[Handled]:
    """Return what was handled before what came before it of the same subject had been."""
    furthest: defaultdict[str, int] = defaultdict(lambda: -1)
    ahead: list[Handled] = []
    for one in done:
        assert one.n is not None
        if one.n > furthest[one.subject] + 1:
            ahead.append(one)
        furthest[one.subject] = max(furthest[one.subject], one.n)
    return ahead
