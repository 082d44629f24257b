"""Moving what lies in Redis from the partitions where it was to those where it belongs, in pages that can be repeated.

What is read is written to its new place before it is deleted in the old one, so that whoever is killed in between
leaves nothing out; and it is written in a way that makes no difference the second time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.keys import Keys, to_text
from milepost.backends.redis.scripts import Call, script
from milepost.codec import loads
from milepost.errors import CacheUnavailable

__all__ = ["OF_A_RECORD", "Entry", "Moved", "Mover"]

_DEPART: Final = script("depart.lua")
_ARRIVE: Final = script("arrive.lua", after=())
_INDEX: Final = script("index.lua", after=())

OF_A_RECORD: Final = "rscl"
"""The kinds of keys that belong to a record."""

_RECORDS_AT_ONCE: Final = 100
_BYTES_AT_ONCE: Final = 4_000_000
_PAGE: Final = 500


@dataclass(slots=True)
class Moved:
    """What one call moved.

    Args:
        records: groups and subjects, removed ones among them.
        definitions: definitions that partitions were given for them.
        events: events of the outboxes.
        unsaved: marks of what the store has not seen.
        deadlines: moments at which something expires.
    """

    records: int = 0
    definitions: int = 0
    events: int = 0
    unsaved: int = 0
    deadlines: int = 0


_BY_NOBODY: Final = bytes(8)
"""Stands for the call that published an event, where none that may be sent again did."""


class Entry(NamedTuple):
    """An event in a stream: when, the which of that moment, in which partition; and its fields."""

    moment: int
    number: int
    partition: int
    fields: Sequence[bytes]


class Mover:
    """Moves from the old partitions, which nobody writes to any more, to the new ones, which nobody has opened yet.

    Args:
        client: carries calls; the new partitions are numbered behind the old ones.
        old: the names of keys as they were.
        new: the names of keys as they will be.
        token: who moves things; where somebody else has taken over, nothing is written.
        moved: counts.
        told: called when something was moved.
        records_of: returns the keys of records that an event may come from, the likeliest first.
    """

    def __init__(
        self,
        client: RedisClient,
        old: Keys,
        new: Keys,
        token: str,
        moved: Moved,
        told: Callable[[], None],
        records_of: Callable[[Mapping[str, Any]], Sequence[str]],
    ) -> None:
        self._client = client
        self._old = old
        self._new = new
        self._token = token
        self._moved = moved
        self._told = told
        self._records_of = records_of
        self._texts: dict[str, bytes] = {}
        self._known: dict[int, set[str]] = {}

    async def _arrive(self, partition: int, commands: Iterable[tuple[bytes, bytes, Sequence[Any]]]) -> None:
        """Carry out commands (name, key, arguments) in a new partition."""
        page = list(commands)
        if not page:
            return
        keys = [self._new.state(partition), *(key for _, key, _ in page)]
        arguments: list[Any] = [self._token]
        for name, _, more in page:
            arguments += (name, len(more), *more)
        if not await self._client.ask(Call(_ARRIVE, self._old.partitions + partition, keys, arguments)):
            raise CacheUnavailable("another `milepost repartition` has taken over, and this one ends")

    # --- records -----------------------------------------------------------------------

    async def move_records(self, names: Iterable[bytes]) -> None:
        """Move the records that these keys belong to; keys of something else are left alone."""
        records: dict[int, set[str]] = {}
        for name in names:
            kind, generation, key = Keys.parse(name)
            if kind and kind in OF_A_RECORD and generation == self._old.generation and self._old.has(name):
                where = self._old.partition(key) if self._client.topology.spread else 0
                records.setdefault(where, set()).add(key)
        for where, keys in records.items():
            waiting = sorted(keys)
            while waiting:
                waiting = waiting[await self._move_some(where, waiting[:_RECORDS_AT_ONCE]) :]

    async def _move_some(self, where: int, keys: Sequence[str]) -> int:
        """Move records, and stop where they are large; return how many are done."""
        hashes = [self._old.record(key) for key in keys]
        beside = [self._old.beside(key, kind) for key in keys for kind in OF_A_RECORD[1:]]
        replies = await self._client.ask(
            Call(
                _DEPART,
                where,
                [*hashes, *beside] if self._client.topology.spread else hashes,
                (len(keys), _BYTES_AT_ONCE),
            )
        )
        done = keys[: len(replies)]
        by_target: dict[int, list[tuple[str, Sequence[Any]]]] = {}
        needed: dict[int, dict[str, int]] = {}
        for key, (parts, wanted) in zip(done, replies, strict=True):
            target = self._new.partition(key)
            by_target.setdefault(target, []).append((key, parts))
            source = self._old.partition(key)
            needed.setdefault(target, {}).update((hash.decode("ascii", "replace"), source) for hash in wanted)
        for target, wanted_there in needed.items():
            await self._bring_definitions(target, wanted_there)
        await _together(self._arrive(target, self._restoring(arriving)) for target, arriving in by_target.items())
        gone = [self._old.beside(key, kind) for key in done for kind in OF_A_RECORD]
        await self._client.ask(Call(None, where, (), (b"UNLINK", *gone)))
        self._moved.records += sum(parts[:1] == [b"r"] for parts, _ in replies)
        self._told()
        return len(done)

    def _restoring(self, arriving: Sequence[tuple[str, Sequence[Any]]]) -> Iterable[tuple[bytes, bytes, Sequence[Any]]]:
        for key, parts in arriving:
            for n in range(0, len(parts), 3):
                kind, milliseconds, dump = parts[n : n + 3]
                yield b"RESTORE", self._new.beside(key, kind.decode()), (milliseconds, dump, b"REPLACE")

    async def _bring_definitions(self, target: int, wanted: Mapping[str, int]) -> None:
        """Keep definitions in a new partition, read from the old ones that are named with them."""
        known = self._known.setdefault(target, set())
        missing = [hash for hash in wanted if hash not in known]
        for start in range(0, len(missing), _PAGE):
            page = missing[start : start + _PAGE]
            await self._read_definitions({hash: wanted[hash] for hash in page})
            name = self._new.of(target, "d")
            found = [(b"HSETNX", name, (hash, self._texts[hash])) for hash in page if hash in self._texts]
            await self._arrive(target, found)
            self._moved.definitions += len(found)
        known.update(missing)

    async def _read_definitions(self, wanted: Mapping[str, int]) -> None:
        by_source: dict[int, list[str]] = {}
        for hash, source in wanted.items():
            if hash not in self._texts:
                by_source.setdefault(source, []).append(hash)
        await self._look(by_source)
        lost = [hash for hash in wanted if hash not in self._texts]
        if lost:  # a definition is where it is needed, but where a call was cut off: the store may have it
            await self._look(dict.fromkeys(range(self._old.partitions), lost))

    async def _look(self, by_source: Mapping[int, Sequence[str]]) -> None:
        calls = [
            Call(None, source, (), (b"HMGET", self._old.of(source, "d"), *hashes))
            for source, hashes in by_source.items()
        ]
        for hashes, texts in zip(by_source.values(), await self._client.ask_all(calls), strict=True):
            self._texts.update((hash, text) for hash, text in zip(hashes, texts, strict=True) if text is not None)

    # --- indexes -----------------------------------------------------------------------

    async def move_indexes(self) -> None:
        """Move the marks of what the store has not seen, and the deadlines."""
        for number in range(self._old.partitions):
            self._moved.unsaved += await self._move_index(number, "u")
            self._moved.deadlines += await self._move_index(number, "t")
            self._told()

    async def _move_index(self, number: int, kind: str) -> int:
        name, moved = self._old.of(number, kind), 0
        while entries := await self._client.ask(Call(_INDEX, number, (name,), (_PAGE,))):
            by_target: dict[int, list[Any]] = {}
            for n in range(0, len(entries), 2):
                target = self._new.partition(to_text(entries[n]))
                score = b"0" if kind == "u" else entries[n + 1]  # who has taken it to save it is gone
                by_target.setdefault(target, []).extend((score, entries[n]))
            await _together(
                self._arrive(target, [(b"ZADD", self._new.of(target, kind), pairs)])
                for target, pairs in by_target.items()
            )
            await self._client.ask(Call(None, number, (), (b"ZREM", name, *entries[::2])))
            moved += len(entries) // 2
        return moved

    # --- events ------------------------------------------------------------------------

    async def move_events(self) -> None:
        """Write the events of all old outboxes, in the order of their commits, into the new ones.

        Each keeps its moment, and those of a new outbox are numbered from above all numbers that there were: a
        position that a reader noted before is followed by all that it has not seen, at worst by some of the same
        moment once more. The same streams give the same numbers whenever this is done, and what is there is not
        added again; so nothing of the old ones is deleted before all is done.
        """
        highest = 0
        async for entry in self._entries():
            highest = max(highest, entry.number)
        numbers = [highest] * self._new.partitions
        waiting: dict[int, list[tuple[bytes, bytes, Sequence[Any]]]] = {}
        async for entry in self._entries():
            target = self._target_of(entry)
            numbers[target] += 1
            line = waiting.setdefault(target, [])
            at = b"%d-%d" % (entry.moment, numbers[target])
            line.append((b"XADD", self._new.of(target, "o"), (at, *entry.fields)))
            id = dict(zip(entry.fields[::2], entry.fields[1::2], strict=True)).get(b"i")
            if id is not None:  # so that one that is published once more is known again
                line.append((b"HSETNX", self._new.of(target, "i"), (id, _BY_NOBODY + at)))
            self._moved.events += 1
            if len(line) >= _PAGE:
                await self._arrive(target, waiting.pop(target))
                self._told()
        for target, line in waiting.items():
            await self._arrive(target, line)
        self._told()

    async def _entries(self) -> AsyncIterator[Entry]:
        """Iterate over the events of all old outboxes, by when they were committed."""
        streams = [self._stream(number) for number in range(self._old.partitions)]
        heads: list[tuple[Entry, int]] = []
        for number, stream in enumerate(streams):
            async for entry in stream:
                heads.append((entry, number))
                break
        heapq.heapify(heads)
        while heads:
            entry, number = heads[0]
            yield entry
            try:
                heapq.heapreplace(heads, (await anext(streams[number]), number))
            except StopAsyncIteration:
                heapq.heappop(heads)

    async def _stream(self, number: int) -> AsyncIterator[Entry]:
        after = b"-"
        name = self._old.of(number, "o")
        while page := await self._client.ask(Call(None, number, (), (b"XRANGE", name, after, b"+", b"COUNT", _PAGE))):
            for at, fields in page:
                moment, _, count = at.partition(b"-")
                yield Entry(int(moment), int(count), number, fields)
            after = b"(" + page[-1][0]

    def _target_of(self, entry: Entry) -> int:
        """Return the new partition of an event: that of the record whose commit it came from."""
        pairs = iter(entry.fields)
        candidates = self._records_of(loads(dict(zip(pairs, pairs, strict=True))[b"e"]))
        here = [key for key in candidates if self._old.partition(key) == entry.partition]
        return self._new.partition((here or candidates)[0])


async def _together(work: Iterable[Awaitable[None]]) -> None:
    _ = await asyncio.gather(*work)
