"""After a loss: records in Redis that may be older than the store's are compared with it before they are used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from milepost.backends.following import FollowingAuthority
from milepost.backends.redis.calls import RecordCalls
from milepost.backends.redis.encoding import revision_text
from milepost.backends.redis.keys import Keys
from milepost.backends.redis.offering import each_record, from_store, restore, with_texts
from milepost.backends.redis.places import Places
from milepost.backends.redis.reading import Reader
from milepost.backends.redis.scripts import Call, script
from milepost.errors import StoreUnavailable
from milepost.records import CacheMark, LoadedRecord, Settled, Standing

__all__ = ["Comparison"]

_COMPARE: Final = script("compare.lua")
_SURE: Final = script("sure.lua")
_PAGE: Final = 500
_LEASE_MS: Final = 10_000
"""For how many milliseconds nobody else goes through all records, when whoever does so died."""


class Comparison:
    """Compares records that are in doubt with the store, and brings from there what is newer.

    Args:
        places: where the partitions stand, and which of them are in doubt.
        calls: calls the scripts that work on records.
        reader: reads from Redis.
        store: follows.
        bring_definitions: puts the definitions that records need into Redis.
        removal_ms: for how many milliseconds a removal that the store knows of is remembered.
    """

    def __init__(
        self,
        places: Places,
        calls: RecordCalls,
        reader: Reader,
        store: FollowingAuthority,
        bring_definitions: Callable[[Mapping[str, LoadedRecord]], Awaitable[None]],
        *,
        removal_ms: int,
    ) -> None:
        self._places = places
        self._calls = calls
        self._reader = reader
        self._store = store
        self._bring_definitions = bring_definitions
        self._removal_ms = removal_ms
        self._restored = 0
        self._removed = 0
        self._through: dict[int, bytes] = {}
        """Doubts whose records have all been compared, while others may still bring back what they hold."""

    @property
    def _keys(self) -> Keys:
        return self._places.keys

    async def compare(self, keys: Sequence[str]) -> None:
        """Compare some records.

        Raises:
            StoreUnavailable: when the store does not answer; they stay in doubt.
            CacheUnavailable: when Redis does not.
        """
        try:
            for start in range(0, len(keys), _PAGE):
                await self._compare(keys[start : start + _PAGE])
        except StoreUnavailable as error:
            error.keys = frozenset(keys)
            raise

    async def _compare(self, keys: Sequence[str]) -> None:
        while keys:
            keys = await self._bring(await self._behind(keys))

    async def _behind(self, keys: Sequence[str]) -> list[str]:
        """Compare records; return those of which the store has something newer."""
        knows = await self._store.cache_mark() is not None  # otherwise it is another store than before the loss
        stands = {key: (_standing_text(standing),) for key, standing in (await self._store.standings(keys)).items()}
        arguments = (self._removal_ms, int(knows))
        of_each = {key: stands.get(key, ("-",)) for key in keys}
        replies = await each_record(self._places, self._calls, _COMPARE, keys, arguments, of_each)
        self._removed += replies.count(2)
        return [key for key, reply in zip(keys, replies, strict=True) if reply == 0]

    async def _bring(self, keys: Sequence[str]) -> list[str]:
        """Replace records that are older than the store's; return those that were removed there meanwhile."""
        if not keys:
            return []
        loaded = await self._store.load(keys)
        await self._bring_definitions(loaded)
        offers = {key: from_store(with_texts(record)) for key, record in loaded.items()}
        replies = await restore(self._places, self._calls, offers, "store")
        self._restored += replies.count(1)
        return [key for key in keys if key not in loaded]

    # --- everything --------------------------------------------------------------------

    async def settle(self, *, shared: bool = True) -> Settled:
        """Compare all records of partitions in doubt; return what came of comparing in all.

        Args:
            shared: leave it to others who do so already.

        Raises:
            StoreUnavailable: when the store does not answer; what was compared stays so.
            CacheUnavailable: when Redis does not.
        """
        if self._places.doubts and not shared:
            await self._go_through()
        elif self._places.doubts and await self._leased():
            try:
                await self._go_through()
            finally:
                await self._places.client.ask(Call(None, -1, (), (b"DEL", self._lease)))
        return Settled(self._restored, self._removed, not self._places.doubts)

    @property
    def _lease(self) -> bytes:
        return self._keys.shared("h")

    async def _leased(self) -> bool:
        call = Call(None, -1, (), (b"SET", self._lease, b"1", b"NX", b"PX", _LEASE_MS))
        return bool(await self._places.client.ask(call))

    async def _go_through(self) -> None:
        mark = CacheMark(self._places.epoch, self._keys.generation)
        await self._end_doubts(only_ask=True)  # somebody else may have been through
        doubts = {n: doubt for n, doubt in self._places.doubts.items() if self._through.get(n) != doubt}
        before = self._servers(doubts)
        async for names in self._reader.names(self._keys.pattern("r"), doubts):
            found = [key for _, generation, key in map(Keys.parse, names) if generation == self._keys.generation]
            page = [key for key in found if self._keys.partition(key) in doubts]
            await self.compare(page)
            await self._places.client.ask(Call(None, -1, (), (b"PEXPIRE", self._lease, _LEASE_MS)))
        if self._servers(doubts) == before:  # otherwise records may have been passed over that were moved
            self._through |= doubts
        if all(self._through.get(n) == doubt for n, doubt in self._places.doubts.items()):
            await self._store.mark_cache(mark)
            await self._end_doubts(only_ask=False)

    def _servers(self, numbers: Iterable[int]) -> list[Any]:
        return [self._places.client.topology.server_of(number) for number in numbers]

    async def _end_doubts(self, *, only_ask: bool) -> None:
        doubts = dict(self._places.doubts)
        groups = [[number] for number in doubts] if self._places.client.topology.spread else [list(doubts)]
        calls = [
            Call(
                _SURE,
                group[0],
                [self._keys.state(number) for number in group],
                (self._keys.generation, int(not only_ask), *(doubts[n] for n in group)),
            )
            for group in groups
            if group
        ]
        replies = await self._places.client.ask_all(calls)
        for number, over in zip(doubts, [over for reply in replies for over in reply], strict=True):
            if over and self._places.doubts.get(number) == doubts[number]:
                del self._places.doubts[number]


def _standing_text(standing: Standing) -> str:
    return revision_text(standing.revision) + " x" * standing.removed
