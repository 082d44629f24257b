"""The part of the Redis transport that is about work: durable consumers and their leases, and jobs that failed."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from milepost.backends.redis.consumers import Shares
from milepost.backends.redis.delays import Delays
from milepost.backends.redis.jobs import FailedRows
from milepost.backends.redis.news import Listening
from milepost.backends.redis.onlooking import Onlooker
from milepost.backends.redis.streams import Streams
from milepost.bus.transports.base import Claim, Consumer, FailedJob, Position, Transport
from milepost.bus.transports.jobs import job_of, row_of

__all__ = ["Place", "RedisWork"]

_log = logging.getLogger("milepost")


class Place(NamedTuple):
    """An open transport's parts."""

    places: Onlooker
    streams: Streams
    delays: Delays
    shares: Shares
    failed: FailedRows
    news: Listening


class RedisWork(Transport):
    """Divides work among processes, and keeps what failed."""

    def __init__(self) -> None:
        self._declared: dict[str, Consumer] = {}

    @abstractmethod
    def _opened(self) -> Place:
        """Return the parts of the transport, which is open.

        Raises:
            BackendUnavailable: when it is not.
        """

    # --- consumers ------------------------------------------------------------------------

    async def declare(self, consumer: Consumer) -> None:
        await self._opened().shares.declare(
            consumer.name, consumer.max_lag, consumer.on_lag, at_end=consumer.start == "now"
        )
        self._declared[consumer.name] = consumer

    async def forget(self, consumer: str) -> bool:
        self._declared.pop(consumer, None)
        return await self._opened().shares.forget(consumer)

    async def beat(self, consumer: str, owner: str, ttl: float, held: Mapping[int, int]) -> tuple[int, set[int]]:
        members, lost = await self._opened().shares.beat(consumer, owner, ttl, held)
        if lost or not held:
            await self._declare_again(consumer)
        return members, lost

    async def _declare_again(self, name: str) -> None:
        """Declare a consumer that works here and that Redis does not know any more, because it has lost data."""
        declared = self._declared.get(name)
        if declared is not None and not await self._opened().shares.is_known(name):
            _log.warning("Redis has lost what it knew of the durable consumer %r, which begins anew", name)
            await self.declare(declared)

    async def claim(self, consumer: str, owner: str, ttl: float, most: int) -> list[Claim]:
        return [Claim(*taken) for taken in await self._opened().shares.claim(consumer, owner, ttl, most)]

    async def acknowledge(self, consumer: str, done: Mapping[int, tuple[int, Position]]) -> set[int]:
        return await self._opened().shares.acknowledge(consumer, done)

    async def release_partitions(self, consumer: str, held: Mapping[int, int]) -> None:
        await self._opened().shares.release(consumer, held)

    async def leave(self, consumer: str, owner: str) -> None:
        await self._opened().shares.leave(consumer, owner)

    async def lags(self) -> dict[str, int]:
        return await self._sums(0)

    async def lapsed(self) -> dict[str, int]:
        return await self._sums(1)

    async def _sums(self, which: int) -> dict[str, int]:
        sums: dict[str, int] = {}
        for _, consumers in (await self._opened().streams.standing()).values():
            for name, numbers in consumers.items():
                sums[name] = sums.get(name, 0) + numbers[which]
        return sums

    # --- failed deliveries ----------------------------------------------------------------

    async def put_failed(self, job: FailedJob) -> None:
        await self._opened().failed.put(row_of(job))

    async def failed(self, id: str | None = None) -> list[FailedJob]:
        rows = self._opened().failed
        return [job_of(row) for row in (await rows.all() if id is None else await rows.one(id))]

    async def ask_retry(self, ids: Sequence[str]) -> int:
        known = await self._opened().failed.ask_retry(ids)
        await self._opened().news.tell("work")
        return known

    async def take_retries(self, handlers: Sequence[str], ttl: float) -> list[FailedJob]:
        return [job_of(row) for row in await self._opened().failed.take_retries(handlers, ttl)]

    async def keep_retries(self, ids: Sequence[str], ttl: float) -> None:
        await self._opened().failed.keep_retries(ids, ttl)

    async def remove_failed(self, ids: Sequence[str]) -> int:
        return await self._opened().failed.remove(ids)
