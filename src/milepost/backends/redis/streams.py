"""The outbox as a stream of the bus: publishing into it, reading it, looking back."""

from __future__ import annotations

import heapq
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, Final, NamedTuple
from uuid import uuid4

from milepost._partitions import partition_of_bytes
from milepost.backends.redis.encoding import outbox_full
from milepost.backends.redis.keys import to_bytes, to_text
from milepost.backends.redis.onlooking import Onlooker
from milepost.backends.redis.scripts import Call, script
from milepost.errors import BackendUnavailable, OutboxFull

__all__ = ["Found", "Published", "Streams", "bus_script", "number_of", "tell_of_lapses"]

_log = logging.getLogger("milepost")

_AT_ONCE: Final = 500
"""Events in one call: others are served in between."""
_AT_LEAST: Final = 16
"""Events asked of each partition, though it may be that fewer are wanted of all."""
_PAGE: Final = 500
_SOUGHT_AT_ONCE: Final = 1000
_BEFORE_ALL: Final = b"0-0"


def bus_script(name: str, after: Sequence[str] = ("layout.lua", "stream.lua")) -> Any:
    """Return a script of the bus."""
    return script(name, after)


_APPEND: Final = bus_script("append.lua")
_STANDING: Final = bus_script("standing.lua")
_SEEK: Final = bus_script("seek.lua")
_CLEAR: Final = bus_script("clear.lua")


class Published(NamedTuple):
    """An event as the stream takes it."""

    id: str
    key: str
    """What decides its partition."""
    body: str


class Found(NamedTuple):
    """An event as it is in a stream."""

    partition: int
    position: str
    body: bytes


class Streams:
    """The streams of all partitions.

    Args:
        places: where partitions are.
        size: how many events are kept in all.
    """

    def __init__(self, places: Onlooker, size: int) -> None:
        self._places = places
        self.size = -(-size // places.keys.partitions)
        """How many events each partition keeps."""
        self._calls = count()
        self._who = uuid4().bytes[:4]
        self._moment = 0
        self._busy = places.keys.partitions
        """In how many partitions there was something when they were read last."""
        self._turn = 0

    def partition(self, key: str) -> int:
        """Return the partition that a key belongs to."""
        return partition_of_bytes(to_bytes(key), self._places.keys.partitions)

    # --- publishing -----------------------------------------------------------------------

    async def publish(self, events: Sequence[Published]) -> list[bool]:
        """Append events; return for each whether it is new.

        Raises:
            OutboxFull: when a consumer that refuses to lapse is too far behind.
            BackendUnavailable: when a server does not answer.
            CommitUncertain: likewise, when some may have been appended.
        """
        new: list[bool] = []
        for start in range(0, len(events), _AT_ONCE):
            new += await self._publish(events[start : start + _AT_ONCE])
        return new

    async def _publish(self, events: Sequence[Published]) -> list[bool]:
        numbers = [self.partition(event.key) for event in events]
        new = [False] * len(events)
        who = self._who + next(self._calls).to_bytes(4, "big")
        moment = self.moment_here()
        waiting: list[list[int]] = []
        if self._places.spread:
            by_partition: dict[int, list[int]] = {}
            for n, number in enumerate(numbers):
                by_partition.setdefault(number, []).append(n)
            waiting += by_partition.values()
        else:
            waiting.append(list(range(len(events))))
        refused: BackendUnavailable | OutboxFull | None = None
        while waiting:
            calls = [self._append_call(events, numbers, group, who, moment) for group in waiting]
            again: list[list[int]] = []
            for group, reply in zip(waiting, await self._places.client.run(calls), strict=True):
                if isinstance(reply, BackendUnavailable):
                    refused = reply
                elif reply[0] == b"g":
                    self._places.learn(reply[1])
                    again.append(group)
                elif reply[0] == b"f":
                    refused = refused or outbox_full(reply)
                else:
                    for n, flag in zip(group, reply[0], strict=True):
                        new[n] = flag == 0x31
                    tell_of_lapses(reply[1:])
            waiting = again
        if refused is not None:
            raise refused
        return new

    def moment_here(self) -> str:
        """Return what places events among those of other nodes; one server has a better clock."""
        if not self._places.spread:
            return "-"
        self._moment = max(self._moment + 1, time.time_ns() // 1000)
        return str(self._moment)

    def _append_call(
        self, events: Sequence[Published], numbers: Sequence[int], group: Sequence[int], who: bytes, moment: str
    ) -> Call:
        touched = list(dict.fromkeys(numbers[n] for n in group))
        places = {number: at for at, number in enumerate(touched, 1)}
        arguments: list[Any] = [self._places.keys.generation, moment, self.size, who, len(group)]
        for n in group:
            event = events[n]
            arguments += (places[numbers[n]], n, to_bytes(event.id), event.body)
        return self._places.call(_APPEND, touched, arguments)

    # --- reading --------------------------------------------------------------------------

    async def read(self, positions: Mapping[int, str], limit: int) -> list[Found]:
        """Read what follows positions, in order for each partition; at most ``limit`` events."""
        numbers = list(positions)
        if not numbers:
            return []
        self._turn += 1
        first = self._turn % len(numbers)
        numbers = numbers[first:] + numbers[:first]  # where there is more than is wanted, each has its turn
        found: list[Found] = []
        at, wanted, busy = dict(positions), numbers, max(1, self._busy)
        while wanted and len(found) < limit:
            most = max(-(-(limit - len(found)) // min(busy, len(wanted))), min(limit, _AT_LEAST))
            page = await self._after(at, wanted, most)
            found += page
            read = Counter(one.partition for one in page)
            at.update((one.partition, one.position) for one in page)
            wanted = [number for number in wanted if read[number] == most]  # there may be more
            busy = len(wanted)
        self._busy = len({one.partition for one in found})
        return found[:limit]

    async def _after(self, positions: Mapping[int, str], numbers: Sequence[int], most: int) -> list[Found]:
        keys = self._places.keys
        calls = [
            Call(None, group[0], (), _reading({keys.of(n, "o"): positions[n] for n in group}, most))
            for group in self._places.groups(numbers)
        ]
        look = Call(None, numbers[0], (), (b"HGET", keys.state(numbers[0]), b"generation"))
        *replies, generation = await self._places.client.ask_all([*calls, look])
        if generation is not None and self._places.learn(generation):
            return []
        by_name = {keys.of(n, "o"): n for n in numbers}
        entries: dict[int, list[Found]] = {n: [] for n in numbers}
        for reply in replies:
            for name, page in _pairs(reply):
                number = by_name[name]
                entries[number] = [Found(number, position.decode(), fields[1]) for position, fields in page]
        return [found for number in numbers for found in entries[number]]

    async def standing(self) -> dict[int, tuple[str, dict[str, tuple[int, int]]]]:
        """Return for each partition its last position, and for each consumer its lag and how much it lost."""
        numbers = range(self._places.keys.partitions)
        replies = await self._places.each(
            _STANDING, numbers, lambda many: (self._places.keys.generation, many), changes=False
        )
        standing: dict[int, tuple[str, dict[str, tuple[int, int]]]] = {}
        for number, (generation, position, behind) in replies.items():
            self._places.learn(generation)
            items = iter(behind)
            consumers = {
                to_text(name): (int(lag), int(lost)) for name, lag, lost in zip(items, items, items, strict=True)
            }
            standing[number] = (position.decode(), consumers)
        return standing

    async def all(self) -> AsyncIterator[Found]:
        """Iterate over the events that are kept, of all partitions in the order of their moments."""
        waiting = {number: _BEFORE_ALL.decode() for number in range(self._places.keys.partitions)}
        ahead: dict[int, list[Found]] = {}
        heap: list[tuple[int, int, int]] = []
        while True:
            found = await self._after(waiting, list(waiting), _PAGE) if waiting else []
            for one in found:
                ahead.setdefault(one.partition, []).append(one)
            for number in waiting:
                if ahead.get(number):
                    ahead[number].reverse()
                    heapq.heappush(heap, (*_moment(ahead[number][-1].position), number))
            waiting = {}
            while heap and not waiting:
                number = heapq.heappop(heap)[2]
                one = ahead[number].pop()
                yield one
                if ahead[number]:
                    heapq.heappush(heap, (*_moment(ahead[number][-1].position), number))
                else:
                    waiting = {number: one.position}
            if not waiting:
                return

    async def find(self, id: str) -> bytes | None:
        """Return an event that was published, by its id."""
        keys = self._places.keys
        numbers = range(keys.partitions)
        calls = [Call(None, n, (), (b"HGET", keys.of(n, "i"), to_bytes(id))) for n in numbers]
        for number, value in enumerate(await self._places.client.ask_all(calls)):
            if value is not None:
                asked = (b"XRANGE", keys.of(number, "o"), value[8:], value[8:])
                for _, fields in await self._places.client.ask(Call(None, number, (), asked)):
                    body: bytes = fields[1]
                    return body
        return None

    async def seek(self, word: str) -> list[bytes]:
        """Return the events in whose JSON there is a word, the oldest first."""
        found: list[tuple[int, int, bytes]] = []
        for number in range(self._places.keys.partitions):
            after = b"-"
            while after:
                arguments = (self._places.keys.generation, after, _SOUGHT_AT_ONCE, word)
                call = self._places.call(_SEEK, [number], arguments, changes=False)
                last, *pairs = await self._places.client.ask(call)
                items = iter(pairs)
                found += [(*_moment(to_text(at)), body) for at, body in zip(items, items, strict=True)]
                after = b"(" + last if last else b""
        return [body for _, _, body in sorted(found)]

    # --- all of it ------------------------------------------------------------------------

    async def clear(self) -> None:
        """Forget every event, delayed ones too; consumers stay known."""
        for group in self._places.groups(range(self._places.keys.partitions)):
            arguments = (self._places.keys.generation, len(group))
            await self._places.client.ask(self._places.call(_CLEAR, group, arguments))


def number_of(position: str) -> str:
    """Return a position as Redis takes it."""
    return position or "0-0"


def _reading(starts: Mapping[bytes, str], most: int) -> tuple[Any, ...]:
    return (b"XREAD", b"COUNT", most, b"STREAMS", *starts, *map(number_of, starts.values()))


def _pairs(reply: Any) -> Iterable[Any]:
    """Return what XREAD has replied; it is a map in RESP3."""
    return reply.items() if isinstance(reply, dict) else reply or ()


def _moment(position: str) -> tuple[int, int]:
    at, _, number = position.partition("-")
    return int(at), int(number)


def tell_of_lapses(lapses: Sequence[Any]) -> None:
    """Log which consumers have lost events, as a script has replied: name, how many, name, ..."""
    items = iter(lapses)
    for name, lost in zip(items, items, strict=True):
        _log.error("the durable consumer %r was too far behind and lost up to %d events", to_text(name), int(lost))
