"""Delayed events in Redis: a sorted set for each partition, from which a script moves into its stream what is due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from milepost.backends.redis.encoding import outbox_full
from milepost.backends.redis.keys import to_bytes
from milepost.backends.redis.onlooking import Onlooker
from milepost.backends.redis.scripts import Call
from milepost.backends.redis.streams import Published, Streams, bus_script, tell_of_lapses

__all__ = ["Delays"]

_RELEASE: Final = bus_script("release.lua")


class Delays:
    """The delayed events of all partitions.

    Args:
        places: where partitions are.
        streams: where events go when they are due.
    """

    def __init__(self, places: Onlooker, streams: Streams) -> None:
        self._places = places
        self._streams = streams

    async def delay(self, event: Published, due: float) -> None:
        """Keep an event until it is due."""
        number, id = self._streams.partition(event.key), to_bytes(event.id)
        while True:
            keys = self._places.keys
            *_, generation = await self._places.client.ask_all(
                [
                    Call(None, number, (), (b"HSET", keys.of(number, "x"), id, event.body)),
                    Call(None, number, (), (b"ZADD", keys.of(number, "y"), repr(float(due)), id)),
                    self._generation_of(number),
                ]
            )
            if not self._is_another(generation):
                return

    def _generation_of(self, number: int) -> Call:
        return Call(None, number, (), (b"HGET", self._places.keys.state(number), b"generation"))

    def _is_another(self, generation: bytes | None) -> bool:
        """Whether everything was flushed since, and so nobody looks where we looked."""
        return generation is not None and self._places.learn(generation)

    async def cancel(self, id: str) -> bool:
        """Forget a delayed event; return whether it was there."""
        keys, numbers, encoded = self._places.keys, range(self._places.keys.partitions), to_bytes(id)
        calls = [Call(None, n, (), (b"ZREM", keys.of(n, "y"), encoded)) for n in numbers]
        calls += [Call(None, n, (), (b"HDEL", keys.of(n, "x"), encoded)) for n in numbers]
        replies = await self._places.client.ask_all(calls)
        return any(replies[: len(numbers)])

    async def release(self, now: float, limit: int) -> list[bytes]:
        """Move delayed events that are due into the stream; return those that were moved, the earliest first.

        Raises:
            OutboxFull: when a consumer that refuses to lapse is too far behind.
        """
        moved: list[tuple[float, bytes]] = []
        for group in self._places.groups(range(self._places.keys.partitions)):
            moved += await self._release(group, now, limit)
        return [body for _, body in sorted(moved, key=lambda pair: pair[0])]

    async def _release(self, group: Sequence[int], now: float, limit: int) -> Iterable[tuple[float, bytes]]:
        moment, until = self._streams.moment_here(), repr(float(now))

        async def ask() -> Any:
            arguments = (self._places.keys.generation, moment, self._streams.size, until, limit)
            return await self._places.client.ask(self._places.call(_RELEASE, group, arguments))

        reply = await self._places.in_generation(ask)
        if reply[0] == b"f":
            raise outbox_full(reply)
        tell_of_lapses(reply[2])
        items = iter(reply[1])
        return [(float(due), body) for due, body in zip(items, items, strict=True)]

    async def delayed(self, limit: int) -> list[tuple[float, bytes]]:
        """Return delayed events with the moments they are due, the earliest first."""
        keys, numbers = self._places.keys, range(self._places.keys.partitions)
        calls = [
            Call(None, n, (), (b"ZRANGEBYSCORE", keys.of(n, "y"), b"-inf", b"+inf", b"WITHSCORES", b"LIMIT", 0, limit))
            for n in numbers
        ]
        earliest = sorted(
            (due, number, id)
            for number, reply in enumerate(await self._places.client.ask_all(calls))
            for id, due in _scored(reply)
        )[:limit]
        bodies = await self._places.client.ask_all(
            [Call(None, number, (), (b"HGET", keys.of(number, "x"), id)) for _, number, id in earliest]
        )
        return [(due, body) for (due, _, _), body in zip(earliest, bodies, strict=True) if body is not None]

    async def next_due(self) -> float | None:
        """Return when the next delayed event is due."""
        keys, numbers = self._places.keys, range(self._places.keys.partitions)
        calls = [Call(None, n, (), (b"ZRANGE", keys.of(n, "y"), 0, 0, b"WITHSCORES")) for n in numbers]
        *replies, generation = await self._places.client.ask_all([*calls, self._generation_of(0)])
        if self._is_another(generation):
            return await self.next_due()
        return min((due for reply in replies for _, due in _scored(reply)), default=None)


def _scored(reply: Sequence[Any]) -> list[tuple[bytes, float]]:
    """Return members with their scores; RESP3 has them in pairs."""
    if reply and isinstance(reply[0], list):
        return [(member, float(score)) for member, score in reply]
    items = iter(reply)
    return [(member, float(score)) for member, score in zip(items, items, strict=True)]
