"""What is read apart from commits: whole records, keys, deadlines, the outbox, definitions."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from milepost._patterns import has_wildcard, pattern_to_regex
from milepost.backends.redis.calls import RecordCalls
from milepost.backends.redis.encoding import record_of, revision_text, state_of
from milepost.backends.redis.keys import Keys, to_text
from milepost.backends.redis.places import Places
from milepost.backends.redis.scripts import Call, script
from milepost.errors import CacheUnavailable
from milepost.records import LoadedRecord

__all__ = ["IN_DOUBT", "Reader"]

_HOLDING: Final = script("holding.lua")
_DUE: Final = script("due.lua")
_DEFINE: Final = script("define.lua")
_STANDS: Final = script("stands.lua")

_PAGE: Final = 1000
_MOST_ROWS: Final = 1000
_TRIES: Final = 3
_TRIES_WHILE_FLUSHED: Final = 10
_UNBOUNDED: Final = 1 << 53

IN_DOUBT: Final = "in doubt"
"""What is said of a record that has to be compared with the store before it is read."""


class Reader:
    """Reads what a cache holds.

    Args:
        places: where the partitions stand.
        calls: calls the scripts that work on records.
    """

    def __init__(self, places: Places, calls: RecordCalls) -> None:
        self._places = places
        self._client = places.client
        self._calls = calls

    @property
    def _keys(self) -> Keys:
        return self._places.keys

    async def _command(self, partition: int, *arguments: Any) -> Any:
        return await self._client.ask(Call(None, partition, (), arguments))

    # --- records -----------------------------------------------------------------------

    async def records(self, records: Sequence[str]) -> tuple[dict[str, LoadedRecord], dict[str, str]]:
        """Return the records that are here; and those that only the store may have, with what is to be said then."""
        found: dict[str, LoadedRecord] = {}
        elsewhere: dict[str, str] = {}
        wanted = list(records)
        for _ in range(_TRIES_WHILE_FLUSHED):
            again: list[str] = []
            replies = await self._calls.load(self._keys, wanted, _MOST_ROWS) if wanted else []
            for key, reply in zip(wanted, replies, strict=True):
                kind = reply[0]
                if kind == b"w":
                    found[key] = record_of(reply)
                elif kind == b"l":
                    large = await self.large_record(key)
                    if large is None:
                        again.append(key)
                    else:
                        found[key] = large
                elif kind == b"g":
                    again.append(key)
                elif kind == b"-" and reply[1]:
                    elsewhere[key] = reply[1].decode()
                elif kind == b"~":
                    elsewhere[key] = IN_DOUBT
            if not again:
                return found, elsewhere
            wanted = again
            await self._places.refresh()
        raise CacheUnavailable(f"Redis at {self._client.name} is being flushed again and again")

    async def large_record(self, key: str) -> LoadedRecord | None:
        """Read a record of very many rows page by page, so that nobody else waits for it; None where it is gone.

        The rows are of different moments; what changed since the first is then read in one
        step. Where more changes meanwhile than Redis keeps note of, everything is read at once.
        """
        for _ in range(_TRIES):
            (head,) = await self._calls.load(self._keys, [key], -1)
            if head[0] != b"l":
                return None
            rows = await self._all_rows(key)
            (delta,) = await self._client.ask(
                self._calls.each(_STANDS, self._keys, [key], (revision_text(state_of(head[1]).revision),))
            )
            if delta[0] == b"s":
                changed = record_of(delta)
                for name in changed.drops:
                    rows.pop(name, None)
                return changed._replace(rows={**rows, **changed.rows}, whole=True, drops=())
        (reply,) = await self._calls.load(self._keys, [key], _UNBOUNDED)
        return record_of(reply) if reply[0] == b"w" else None

    async def _all_rows(self, key: str) -> dict[str, Any]:
        name = self._keys.record(key)
        rows: dict[str, Any] = {}
        cursor: bytes = b"0"
        while True:
            cursor, fields = await self._command(self._keys.partition(key), b"HSCAN", name, cursor, b"COUNT", _PAGE)
            texts = iter(fields)
            rows.update(
                (to_text(field[1:]), text.decode())
                for field, text in zip(texts, texts, strict=True)
                if field.startswith(b"r")
            )
            if cursor == b"0":
                return rows

    async def holding(self, records: Sequence[str]) -> list[str]:
        """Return which of these records hold rows."""
        by_partition: dict[int, list[str]] = {}
        for key in records:
            where = self._keys.partition(key) if self._client.topology.spread else 0
            by_partition.setdefault(where, []).append(key)
        groups = list(by_partition.values())
        replies = await self._client.ask_all([self._calls.each(_HOLDING, self._keys, group) for group in groups])
        return [
            key
            for group, reply in zip(groups, replies, strict=True)
            for key, holds in zip(group, reply, strict=True)
            if holds
        ]

    async def not_here(self, records: Sequence[str]) -> list[str]:
        """Return which of these records Redis knows nothing of, not even that they were removed."""
        calls = [Call(None, self._keys.partition(key), (), (b"EXISTS", self._keys.record(key))) for key in records]
        return [key for key, here in zip(records, await self._client.ask_all(calls), strict=True) if not here]

    async def has_row(self, key: str, name: str) -> bool:
        """Return whether a record has a row."""
        field = b"r" + name.encode("utf-8", "surrogatepass")
        return bool(await self._command(self._keys.partition(key), b"HEXISTS", self._keys.record(key), field))

    # --- everything --------------------------------------------------------------------

    async def names(self, pattern: bytes, partitions: Iterable[int] | None = None) -> AsyncIterator[list[bytes]]:
        """Iterate over the names of keys that match, page by page; one may come twice.

        Args:
            pattern: of names.
            partitions: only on servers that have one of these; None for all.
        """
        topology = self._client.topology
        numbers = range(self._keys.partitions) if partitions is None else partitions
        servers = {topology.server_of(number): number for number in numbers}
        for number in servers.values():
            cursor: bytes = b"0"
            while True:
                cursor, found = await self._command(number, b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _PAGE)
                yield found
                if cursor == b"0":
                    break

    async def keys(self, pattern: str) -> AsyncIterator[str]:
        """Iterate over the keys of records that hold rows."""
        if not has_wildcard(pattern):
            for key in await self.holding([pattern]):
                yield key
            return
        matches = pattern_to_regex(pattern).fullmatch
        given: set[str] = set()
        async for names in self.names(self._keys.pattern("r")):
            found = {key for _, generation, key in map(Keys.parse, names) if generation == self._keys.generation}
            page = [key for key in found if key not in given and matches(key)]
            given.update(page)
            for key in await self.holding(page) if page else ():
                yield key

    async def clear_away(self) -> None:
        """Delete what was written before the last flush, which nobody can see any more."""
        keys = self._keys
        async for names in self.names(keys.pattern("?")):
            old = [name for name in names if keys.is_past(name)]
            await self._client.ask_all([Call(None, keys.partition_by_tag(name), (), (b"UNLINK", name)) for name in old])

    async def due(self, until: float | str, limit: int) -> list[tuple[float, str]]:
        """Return deadlines and keys of records that are due, the earliest first."""
        arguments = (self._keys.generation, until if isinstance(until, str) else repr(float(until)), limit)
        everywhere = await self._places.ask_everywhere(_DUE, arguments)
        lists = [
            [(float(entries[n + 1]), to_text(entries[n])) for n in range(0, len(entries), 2)]
            for _, entries in everywhere
        ]
        return list(heapq.merge(*lists))[:limit]

    async def outbox(self, after: int, limit: int) -> list[tuple[int, str]]:
        """Return events after a position, of all partitions in the order of their positions."""
        numbers = range(self._keys.partitions)
        calls = [
            Call(
                None,
                number,
                (),
                (b"XRANGE", self._keys.of(number, "o"), _entry_after(after, number), b"+", b"COUNT", limit),
            )
            for number in numbers
        ]
        replies = await self._client.ask_all(calls)
        lists = [
            [(_position(entry, number), fields[1].decode()) for entry, fields in entries]
            for number, entries in zip(numbers, replies, strict=True)
        ]
        return list(heapq.merge(*lists))[:limit]

    # --- definitions -------------------------------------------------------------------

    async def definitions(self, hashes: Iterable[str]) -> dict[str, str]:
        """Read definitions, each of which is in the partitions that needed it."""
        found: dict[str, str] = {}
        wanted = list(hashes)
        for start in range(0, len(wanted), _PAGE):
            page = wanted[start : start + _PAGE]
            numbers = range(self._keys.partitions)
            calls = [Call(None, number, (), (b"HMGET", self._keys.of(number, "d"), *page)) for number in numbers]
            for texts in await self._client.ask_all(calls):
                found.update((hash, text.decode()) for hash, text in zip(page, texts, strict=True) if text is not None)
        return found

    async def put_definitions(self, definitions: Mapping[str, str], where: Mapping[str, Iterable[int]]) -> None:
        """Keep definitions.

        Args:
            definitions: text by hash.
            where: the partitions that need them, by hash; one that is not named is put into all of them.
        """
        while True:
            calls = list(self._defining(definitions, where))
            if all(done for (done,) in await self._client.ask_all(calls)):
                return
            await self._places.refresh()

    def _defining(self, definitions: Mapping[str, str], where: Mapping[str, Iterable[int]]) -> Iterator[Call]:
        keys = self._keys
        everywhere = range(keys.partitions)
        by_partition: dict[int, list[str]] = {}
        for hash, text in definitions.items():
            for number in where.get(hash, everywhere):
                by_partition.setdefault(number, []).extend((hash, text))
        for number, texts in by_partition.items():
            for start in range(0, len(texts), 2 * _PAGE):
                piece = texts[start : start + 2 * _PAGE]
                yield Call(_DEFINE, number, [keys.state(number)], (keys.generation, *piece))


# A position is microseconds, a number and the partition, so that it says where each partition's stream has to be
# read on from.
_NUMBER_BITS: Final = 53
_PARTITION_BITS: Final = 16


def _position(entry: bytes, partition: int) -> int:
    moment, _, number = entry.partition(b"-")
    return (((int(moment) << _NUMBER_BITS) | int(number)) << _PARTITION_BITS) | partition


def _entry_after(position: int, partition: int) -> str:
    if position <= 0:
        return "-"
    place, before = position >> _PARTITION_BITS, position & ((1 << _PARTITION_BITS) - 1)
    moment, number = place >> _NUMBER_BITS, place & ((1 << _NUMBER_BITS) - 1)
    return f"{'(' if partition <= before else ''}{moment}-{number}"
