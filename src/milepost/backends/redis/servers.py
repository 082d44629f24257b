"""One Redis server: connections of our own to it, and what is found out when one is made.

They are made like those of the client that was handed in or built from a URL, but are not in
its pool: the driver sends a command again by itself when a connection breaks, and a commit
that may have been applied must say so when it is sent again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from milepost.backends.redis.errors import DRIVER_ERRORS, driver
from milepost.backends.redis.lanes import Lane, lane_of

__all__ = ["Facts", "NotSent", "Server", "exchange"]

_log = logging.getLogger("milepost")


class Facts(NamedTuple):
    """What a server says of itself.

    Args:
        identity: its run id and replication id; another one means that data may have been lost.
        role: ``master``, or ``slave`` where it only reads.
        eviction: what it does when its memory is full.
    """

    identity: str
    role: str
    eviction: str


class NotSent(Exception):
    """No connection could be made; nothing was sent."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class Server:
    """Connections to one server: one that all share, or where that cannot be, one for each batch in flight.

    Args:
        name: where it is, for messages.
        make: makes a connection.
        timeout: for how many seconds to wait for replies.
        on_connected: told what the server says of itself, with a new connection, before that is used.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Any],
        timeout: float,
        on_connected: Callable[[Server, Any, Facts], Awaitable[None]],
    ) -> None:
        self.name = name
        self._make = make
        self._timeout = timeout
        self._on_connected = on_connected
        self._connecting = asyncio.Lock()
        self._free: list[Any] = []
        self._connections: set[Any] = set()
        self._lane: Lane | None = None
        self._under_lane: Any = None

    @property
    def open_lane(self) -> Lane | None:
        """The connection that all share, while it is there."""
        lane = self._lane
        return lane if lane is not None and lane.is_open else None

    @property
    def address(self) -> tuple[str, int] | None:
        """Where the connection leads, while there is one."""
        connection = self._under_lane if self._lane is not None else next(iter(self._free), None)
        return None if connection is None else (connection.host, connection.port)

    async def ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands together and return the replies; what the server refuses is an exception among them.

        Raises:
            NotSent: when no connection could be made.
            RedisError: when the connection broke; what was sent may or may not have been carried out.
            OSError: likewise.
            TimeoutError: when it took too long; likewise.
        """
        lane = self._lane
        if lane is not None and lane.is_open:
            return await lane.request(commands)
        async with self._connecting:
            if (self._lane is None or not self._lane.is_open) and not self._free:
                await self._open_one()
            lane = self._lane
            connection = None if lane is not None else self._free.pop()
        if lane is not None:
            return await lane.request(commands)
        try:
            async with asyncio.timeout(self._timeout):
                replies = await exchange(connection, commands)
        except BaseException:
            await self._give_up(connection)
            raise
        self._free.append(connection)
        return replies

    async def _open_one(self) -> None:
        """Have a lane, or where a connection has no transport of its own, a free connection."""
        await self._leave_lane()
        connection = await self._connect()
        self._lane = lane_of(connection, self._timeout)
        if self._lane is None:
            self._free.append(connection)
        else:
            self._under_lane = connection

    async def _leave_lane(self) -> None:
        lane, connection = self._lane, self._under_lane
        self._lane = self._under_lane = None
        if lane is not None:
            lane.close()
            await self._give_up(connection)

    async def _connect(self) -> Any:
        connection = self._make()
        self._connections.add(connection)
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()
                (text,) = await exchange(connection, [(b"INFO",)])
                await self._on_connected(self, connection, _facts(text))
        except (*DRIVER_ERRORS, TimeoutError) as error:
            await self._give_up(connection)
            raise NotSent(error) from error
        except BaseException:
            await self._give_up(connection)
            raise
        return connection

    async def connect_apart(self) -> Any:
        """Return a connection for somebody alone, who hands it back with :meth:`close_apart`.

        Raises:
            NotSent: when none could be made.
        """
        return await self._connect()

    async def close_apart(self, connection: Any) -> None:
        """Close a connection that somebody had alone; return when it is closed."""
        self._connections.discard(connection)
        await connection.disconnect()

    async def _give_up(self, connection: Any) -> None:
        self._connections.discard(connection)
        await connection.disconnect(nowait=True)

    async def connected(self) -> None:
        """Make sure that there is a connection.

        Raises:
            NotSent: when none could be made.
        """
        async with self._connecting:
            if (self._lane is None or not self._lane.is_open) and not self._free:
                await self._open_one()

    async def forget(self) -> None:
        """Close connections that nobody uses: the server is not what it was."""
        async with self._connecting:
            await self._leave_lane()
            free, self._free = self._free, []
            for connection in free:
                await self._give_up(connection)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.forget()
        connections, self._connections = self._connections, set()
        for connection in connections:
            await connection.disconnect()


async def exchange(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send commands over a connection and return their replies, refusals among them."""
    if len(commands) == 1:
        packed = connection.pack_command(*commands[0])
    else:
        packed = [piece for command in commands for piece in connection.pack_command(*command)]
    await connection.send_packed_command(packed, check_health=False)
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response(disable_decoding=True))
        except driver.ResponseError as error:
            replies.append(error)
    return replies


_WANTED: Final = {b"run_id", b"master_replid", b"role", b"maxmemory_policy"}


def _facts(text: Any) -> Facts:
    if isinstance(text, driver.ResponseError):
        _log.warning("Redis does not say what it is, so a restart that loses data is not noticed: %s", text)
        text = b""
    pairs = (line.split(b":", 1) for line in bytes(text).splitlines() if b":" in line)
    found = {name: value.strip().decode() for name, value in pairs if name in _WANTED}
    return Facts(
        f"{found.get(b'run_id', '')}:{found.get(b'master_replid', '')}",
        found.get(b"role", "master"),
        found.get(b"maxmemory_policy", "noeviction"),
    )
