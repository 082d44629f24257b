"""Hearing that something was published, so that nobody has to look for it all the time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.errors import DRIVER_ERRORS
from milepost.backends.redis.keys import to_bytes
from milepost.backends.redis.scripts import Call
from milepost.backends.redis.servers import NotSent, Server, exchange

__all__ = ["Listening"]

_log = logging.getLogger("milepost")

_PAUSE_AFTER_TROUBLE: Final = 1.0
_SIGN_OF_LIFE: Final = 15.0
"""After how many seconds without a word the server is asked whether it is still there."""


class Listening:
    """Listens on one connection for all who wait in this process; scripts that append events tell it.

    What it says is no more than that it is worth looking: it may be missed, and nothing is lost then.

    Args:
        client: where Redis is; on a cluster every node hears of everything.
        prefix: what all keys begin with.
    """

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._channel = to_bytes(f"{prefix}:news")
        self._heard: dict[Callable[[], None], bytes] = {}
        self._listening: asyncio.Task[None] | None = None

    def listen(self, heard: Callable[[], None], what: str) -> None:
        """Call somebody whenever there may be something new.

        Args:
            heard: called then.
            what: of which kind.
        """
        self._heard[heard] = what.encode()
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listen(), name="milepost: news")

    def unlisten(self, heard: Callable[[], None]) -> None:
        """Call somebody no more."""
        self._heard.pop(heard, None)

    async def tell(self, what: str) -> None:
        """Wake whoever waits for something of a kind; not to be allowed to is no reason to fail."""
        call = Call(None, -1, (), (b"PUBLISH", self._channel, what))
        _ = await self._client.run([call])

    async def aclose(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    async def _listen(self) -> None:
        while True:
            try:
                server = self._client.topology.server_of(0)
                await self._hear(server)
            except (NotSent, *DRIVER_ERRORS, TimeoutError) as error:
                _log.debug("news from Redis at %s stopped coming: %s", self._client.name, error)
            await asyncio.sleep(_PAUSE_AFTER_TROUBLE)

    async def _hear(self, server: Server) -> None:
        """Listen until the connection breaks, or is silent for too long."""
        connection = await server.connect_apart()
        pinging: asyncio.Task[None] | None = None
        try:
            # Subscriptions are answered like requests in RESP2, whatever the connection spoke before.
            _ = await exchange(connection, [(b"HELLO", b"2")])
            await self._send(connection, b"SUBSCRIBE", self._channel)
            pinging = asyncio.get_running_loop().create_task(self._keep_alive(connection))
            while True:
                reply = await connection.read_response(disable_decoding=True)
                self._silent = 0
                what = reply[2] if reply[0] == b"message" else None  # otherwise it began: something may be new
                for heard, of_kind in list(self._heard.items()):
                    if what is None or what == of_kind:
                        heard()
        finally:
            if pinging is not None:
                pinging.cancel()
                await asyncio.wait([pinging])
            await server.close_apart(connection)

    async def _keep_alive(self, connection: Any) -> None:
        """Ask for a sign of life from time to time; end the connection where there is none."""
        self._silent = 0
        while self._silent < 2:
            await asyncio.sleep(_SIGN_OF_LIFE)
            self._silent += 1
            try:
                await self._send(connection, b"PING")
            except (*DRIVER_ERRORS, TimeoutError):
                break
        await connection.disconnect(nowait=True)

    @staticmethod
    async def _send(connection: Any, *words: bytes) -> None:
        await connection.send_packed_command(connection.pack_command(*words), check_health=False)
