"""Redis under Sentinel: who the master is, asked all the while and of all sentinels."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelConnectionPool

from milepost._tasks import Tasks
from milepost.backends.redis.errors import DRIVER_ERRORS
from milepost.backends.redis.topology import OnConnected, OneServer

__all__ = ["SentinelTopology"]

_LOOK_EVERY: Final = 0.5
"""Seconds after which Sentinel is asked again: fewer than those for which commits wait after a failover."""
_LONGEST_LOOK: Final = 1.0


class SentinelTopology(OneServer):
    """All partitions on the server that Sentinel says is the master.

    A master that was replaced does not hear of it for seconds, and goes on taking commits which it loses when it
    becomes a replica. The sooner everybody has left it, and together, the more is brought back: nobody waits until
    it turns them away.

    Args:
        client: how to reach it.
        pool: the client's, which knows the sentinels.
        name: where it is, for messages.
        timeout: for how many seconds to wait for replies.
        on_connected: told of each new connection.
    """

    def __init__(
        self, client: Redis, pool: SentinelConnectionPool, name: str, timeout: float, on_connected: OnConnected
    ) -> None:
        self._newest = _Newest(pool)
        super().__init__(client, name, timeout, on_connected, connection_pool=self._newest)
        self._tasks = Tasks()

    async def open(self) -> None:
        if not self._tasks:
            _ = self._tasks.spawn(self._watch(), "sentinel")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            try:
                address = await self._newest.get_master_address()
            except (*DRIVER_ERRORS, TimeoutError):
                continue  # whoever commits finds out, if it matters
            if self._server.address not in (None, address):
                await self._server.forget()

    async def aclose(self) -> None:
        await self._tasks.aclose()
        await super().aclose()


class _Newest:
    """Stands for the driver's pool where a connection asks it for the master: what the newest configuration says.

    Sentinels hear of a failover from each other, seconds apart; the driver takes the word of the first that answers.

    Args:
        pool: the driver's.
    """

    is_master: Final = True
    check_connection: Final = False

    def __init__(self, pool: SentinelConnectionPool) -> None:
        self._pool = pool

    async def get_master_address(self) -> Any:
        """Return host and port of the master.

        Raises:
            ConnectionError: when no sentinel knows one.
        """
        answers = await asyncio.gather(*map(self._ask, self._pool.sentinel_manager.sentinels))
        known = [answer for answer in answers if answer is not None]
        if not known:
            return await self._pool.get_master_address()  # type: ignore[no-untyped-call]
        return max(known)[1]

    async def _ask(self, sentinel: Any) -> tuple[int, tuple[str, int]] | None:
        """Return how new a sentinel's configuration is, and who is the master there; None where it does not say."""
        try:
            async with asyncio.timeout(_LONGEST_LOOK):
                state = await sentinel.sentinel_master(self._pool.service_name)
                address = await sentinel.sentinel_get_master_addr_by_name(self._pool.service_name)
        except (*DRIVER_ERRORS, TimeoutError):
            return None
        return None if address is None else (int(state["config-epoch"]), address)
