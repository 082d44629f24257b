"""Server processes that tests start on free loopback ports, and end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

_BUS = 10000


def free_ports(number: int, *, with_bus: bool = False) -> list[int]:
    """Return ports of the loopback address that nobody listens on.

    Args:
        number: how many.
        with_bus: whether the port 10000 above each has to be free too: nodes of a cluster talk to each other there.
    """
    found: list[int] = []
    held: list[socket.socket] = []
    try:
        while len(found) < number:
            listener = socket.create_server(("127.0.0.1", 0))
            held.append(listener)
            port = listener.getsockname()[1]
            if not with_bus or _is_free(port + _BUS):
                found.append(port)
    finally:
        for listener in held:
            listener.close()
    return found


def _is_free(port: int) -> bool:
    if port > 65535:
        return False
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class ServerProcess:
    """One server process.

    Args:
        command: how to start it.
        port: where it listens.
        folder: where it keeps its files; what it prints goes into ``log`` there.
    """

    def __init__(self, command: Sequence[str], port: int, folder: Path) -> None:
        self.command = command
        self.port = port
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"{self.command[0]} did not start: {(self.folder / 'log').read_text('utf-8', 'replace')}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it without a chance to do anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None


def missing(what: str) -> None:
    """Skip a test for want of a server; in CI fail it."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
