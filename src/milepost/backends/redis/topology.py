"""Where partitions are: on one server, on what Sentinel says is the master, or on the nodes of a cluster."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from milepost.backends.redis.keys import slot_of
from milepost.backends.redis.servers import Facts, Server

__all__ = ["ClusterTopology", "OneServer", "Topology"]

OnConnected = Callable[[Server, Any, Facts], Awaitable[None]]


class Topology(ABC):
    """Finds the server of a partition.

    Args:
        timeout: for how many seconds to wait for replies.
        on_connected: told of each new connection.
    """

    spread: bool
    """Whether partitions may be on several servers."""

    def __init__(self, timeout: float, on_connected: OnConnected) -> None:
        self._timeout = timeout
        self._on_connected = on_connected

    @abstractmethod
    async def open(self) -> None:
        """Find out what there is."""

    @abstractmethod
    def server_of(self, partition: int) -> Server:
        """Return the server that has a partition, or with -1 what belongs to none.

        Raises:
            SlotNotCoveredError: when no server has it.
        """

    @abstractmethod
    def server_at(self, host: str, port: int) -> Server:
        """Return the server at an address."""

    @abstractmethod
    async def refresh(self) -> None:
        """Find out anew what there is: a server did not answer, or said that it is not the one."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close all connections."""


def _settings(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return how connections of our own are made: they never try again by themselves, and are timed as a batch."""
    return {**kwargs, "socket_timeout": None, "retry": Retry(NoBackoff(), 0)}


class OneServer(Topology):
    """All partitions on the server that a client reaches.

    Args:
        client: how to reach it.
        name: where it is, for messages.
        timeout: for how many seconds to wait for replies.
        on_connected: told of each new connection.
        **more: further settings of connections.
    """

    spread = False

    def __init__(self, client: Redis, name: str, timeout: float, on_connected: OnConnected, **more: Any) -> None:
        super().__init__(timeout, on_connected)
        pool = client.connection_pool
        self._server = Server(
            name, lambda: pool.connection_class(**_settings({**pool.connection_kwargs, **more})), timeout, on_connected
        )

    async def open(self) -> None:
        """There is nothing to find out."""

    def server_of(self, partition: int) -> Server:
        return self._server

    def server_at(self, host: str, port: int) -> Server:
        return self._server

    async def refresh(self) -> None:
        await self._server.forget()

    async def aclose(self) -> None:
        await self._server.aclose()


class ClusterTopology(Topology):
    """Partitions on the nodes of a cluster.

    Args:
        client: how to reach it.
        tags: the hash tags of the partitions, and then that of what belongs to none.
        timeout: for how many seconds to wait for replies.
        on_connected: told of each new connection.
    """

    spread = True

    def __init__(self, client: RedisCluster, tags: Sequence[bytes], timeout: float, on_connected: OnConnected) -> None:
        super().__init__(timeout, on_connected)
        self._client = client
        self._slots = [slot_of(tag[1:-1]) for tag in tags]
        self._servers: dict[str, Server] = {}
        self._refreshing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        async with asyncio.timeout(self._timeout):
            _ = await self._client.initialize()

    def server_of(self, partition: int) -> Server:
        return self._server(self._client.nodes_manager.get_node_from_slot(self._slots[partition]))

    def server_at(self, host: str, port: int) -> Server:
        node = self._client.get_node(host, port)
        if node is None:
            raise ConnectionError(f"{host}:{port} is not a known node of the cluster")
        return self._server(node)

    def _server(self, node: Any) -> Server:
        server = self._servers.get(node.name)
        if server is None:
            server = self._servers[node.name] = Server(
                node.name,
                lambda: node.connection_class(**_settings(node.connection_kwargs)),
                self._timeout,
                self._on_connected,
            )
        return server

    async def refresh(self) -> None:
        if self._refreshing is None or self._refreshing.done():  # many may ask at once
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        async with asyncio.timeout(self._timeout):
            await self._client.nodes_manager.initialize()

    async def aclose(self) -> None:
        for server in self._servers.values():
            await server.aclose()
