"""A primary, its replicas, and three sentinels that say who the primary is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.servers.processes import ServerProcess, free_ports
from tests.servers.valkey import ValkeyServer, binary, command

SERVICE = "milepost"


class Sentinel(ServerProcess):
    """One sentinel.

    Args:
        folder: where it keeps its configuration, which it writes itself.
        port: where it listens.
        primary: the port of the primary.
    """

    def __init__(self, folder: Path, port: int, primary: int) -> None:
        folder.mkdir(parents=True)
        path = folder / "sentinel.conf"
        path.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 1000\n"
            f"sentinel failover-timeout {SERVICE} 4000\n"
        )
        super().__init__([binary(), str(path), "--sentinel"], port, folder)


class ValkeySentinels:
    """A primary with replicas under three sentinels, two of which have to agree.

    Args:
        folder: where all of them keep their files.
        replicas: how many replicas there are.
    """

    def __init__(self, folder: Path, replicas: int = 2) -> None:
        ports = free_ports(replicas + 4)
        quick = ["--repl-diskless-sync-delay", "0"]
        self.first = ValkeyServer(folder / "first", ports[0], quick)
        self.replicas = [
            ValkeyServer(folder / f"replica{port}", port, [*quick, "--replicaof", f"127.0.0.1 {ports[0]}"])
            for port in ports[1 : replicas + 1]
        ]
        self.sentinels = [Sentinel(folder / f"sentinel{port}", port, ports[0]) for port in ports[replicas + 1 :]]

    @property
    def url(self) -> str:
        """Where it is, for milepost."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    @property
    def servers(self) -> list[ValkeyServer]:
        """The one that was the primary first, and those that were its replicas."""
        return [self.first, *self.replicas]

    @property
    def primary(self) -> ValkeyServer:
        """Who the sentinels say is the primary."""
        reply = command(self.sentinels[0].port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        port = int(reply.split(b"\r\n")[4])
        return next(server for server in self.servers if server.port == port)

    def start(self) -> None:
        """Start everything, and wait until all know of each other."""
        for server in self.servers:
            server.start()
        until(lambda: all(self.is_linked(replica) for replica in self.replicas), "the replicas did not follow")
        for sentinel in self.sentinels:
            sentinel.start()
        until(lambda: all(map(self._knows_all, self.sentinels)), "the sentinels did not find each other")

    def _knows_all(self, sentinel: Sentinel) -> bool:
        told = command(sentinel.port, "INFO", "sentinel")
        return b"slaves=%d,sentinels=%d" % (len(self.replicas), len(self.sentinels)) in told

    @staticmethod
    def is_linked(replica: ValkeyServer) -> bool:
        """Whether a replica follows its primary."""
        return b"master_link_status:up" in command(replica.port, "INFO", "replication")

    def cut_off_replicas(self) -> None:
        """Have no replica learn of what is written from now on."""
        primary = self.primary
        command(primary.port, "ACL", "SETUSER", "default", "-psync", "-sync")
        command(primary.port, "CLIENT", "KILL", "TYPE", "replica")
        until(
            lambda: not any(self.is_linked(server) for server in self.servers if server is not primary),
            "the replicas still follow",
        )

    def fail_over(self) -> ValkeyServer:
        """Have the sentinels make a replica the primary, and return that one when they have."""
        before = self.primary
        reply = command(self.sentinels[0].port, "SENTINEL", "FAILOVER", SERVICE)
        assert reply.startswith(b"+OK"), reply
        return self.wait_for_another_than(before)

    def wait_for_another_than(self, before: ValkeyServer) -> ValkeyServer:
        """Return the new primary, when there is one."""
        until(lambda: self.primary is not before, "there is no other primary")
        return self.primary

    def stop(self) -> None:
        """End everything."""
        for process in (*self.sentinels, *self.servers):
            process.stop()


def until(true: Callable[[], bool], otherwise: str, seconds: float = 40) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(otherwise)
        time.sleep(0.05)
