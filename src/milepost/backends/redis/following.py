"""A store that follows: what it has not seen, what is read from it, and what may leave Redis because it has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from milepost.backends.following import FollowingAuthority
from milepost.backends.redis.calls import Notes, RecordCalls
from milepost.backends.redis.comparing import Comparison
from milepost.backends.redis.encoding import record_of, revision_text, state_of
from milepost.backends.redis.keys import Keys, to_text
from milepost.backends.redis.offering import each_record, from_store, row_text, with_texts
from milepost.backends.redis.places import Places
from milepost.backends.redis.reading import IN_DOUBT, Reader
from milepost.backends.redis.scripts import Call, Script, script
from milepost.errors import StoreUnavailable
from milepost.records import CacheMark, LoadedRecord, RecordChange, RecordState, Revision, Settled
from milepost.trackers.rows import hash_in

__all__ = ["Following", "TextRow"]

_CLAIM: Final = script("claim.lua")
_CHANGED: Final = script("changed.lua")
_SAVED: Final = script("saved.lua")
_FILL: Final = script("fill.lua")
_EVICT: Final = script("evict.lua")
_MARK: Final = script("mark.lua")

_MOST_ROWS: Final = 1000
_PAGE: Final = 500
_LOOKS: Final = 8
"""How often idle records are looked for in the time after which they may go."""
_SHORTEST_PAUSE: Final = 1000
_MOST_TEXTS: Final = 100_000
"""Definitions that are remembered, so that they are not read again for each record."""


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row as Redis keeps it, for a store."""

    name: str
    text: str

    @property
    def definition_hash(self) -> str:
        """The hash of the definition that the row needs; empty where it cannot be read."""
        return hash_in(self.text) or ""

    def encoded(self) -> str:
        """Return the row as ASCII text."""
        return self.text


class Following:
    """Keeps a store up to date with Redis, together with every other process that does so.

    Args:
        places: where the partitions stand.
        calls: calls the scripts that work on records.
        reader: reads from Redis.
        store: follows.
        notes: where is noted what the store does not have either.
        lease: for how many seconds what was taken to be saved is nobody else's.
        removal_ms: for how many milliseconds a removal is remembered when the store has confirmed it.
        ids_ms: for how many milliseconds ids of commits are remembered when their record has left Redis.
    """

    def __init__(
        self,
        places: Places,
        calls: RecordCalls,
        reader: Reader,
        store: FollowingAuthority,
        notes: Notes,
        *,
        lease: float,
        removal_ms: int,
        ids_ms: int,
    ) -> None:
        self._places = places
        self._client = places.client
        self._calls = calls
        self._reader = reader
        self._store = store
        self._notes = notes
        self._lease = lease
        self._removal_ms = removal_ms
        self._ids_ms = ids_ms
        self._texts: dict[str, str] = {}
        self._comparison = Comparison(places, calls, reader, store, self._bring_definitions, removal_ms=removal_ms)
        self.backlog = 0

    @property
    def _keys(self) -> Keys:
        return self._places.keys

    async def _each(
        self,
        what: Script,
        records: Sequence[str],
        arguments: Sequence[Any] = (),
        of_each: Mapping[str, Sequence[Any]] | None = None,
    ) -> list[Any]:
        return await each_record(self._places, self._calls, what, records, arguments, of_each)

    # --- after a loss ------------------------------------------------------------------

    async def compare(self, keys: Sequence[str] | None) -> None:
        """Compare records with the store if they are in doubt, before they are shown: some, or all with None.

        Raises:
            StoreUnavailable: when the store does not answer; what was compared stays so.
            CacheUnavailable: when Redis does not.
        """
        if keys is not None:
            await self._comparison.compare(keys)
        else:
            _ = await self._comparison.settle(shared=False)

    async def settle(self) -> Settled:
        """Compare all records that are in doubt with the store, as far as others do not.

        Raises:
            StoreUnavailable: when the store does not answer; what was compared stays so.
            CacheUnavailable: when Redis does not.
        """
        return await self._comparison.settle()

    async def mark(self) -> None:
        """Have the store know how far this cache has come, so that one that knows less is known to have lost data.

        Raises:
            StoreUnavailable: when the store does not answer.
        """
        await self._store.mark_cache(CacheMark(self._places.epoch, self._keys.generation))

    # --- beginning ---------------------------------------------------------------------

    async def begin(self) -> None:
        """Have commits marked for the store from now on, and mark what was there before."""
        if not self._places.doubts:
            await self.mark()  # otherwise the store must not take what is lost for what it has been told
        if await self._places.follow():
            return
        async for names in self._reader.names(self._keys.pattern("r")):
            page = [key for _, generation, key in map(Keys.parse, names) if generation == self._keys.generation]
            await self._each(_MARK, page)

    # --- from Redis to the store -------------------------------------------------------

    async def measure(self) -> int:
        """Count the records that the store has not seen as they are."""
        numbers = range(self._keys.partitions)
        counts = await self._client.ask_all(
            [Call(None, number, (), (b"ZCARD", self._keys.of(number, "u"))) for number in numbers]
        )
        self.backlog = sum(counts)
        return self.backlog

    async def unsaved_keys(self) -> set[str]:
        """Return the keys of what the store has not seen, what it is being told among them."""
        names = [self._keys.of(number, "u") for number in range(self._keys.partitions)]
        calls = [Call(None, number, (), (b"ZRANGE", name, 0, -1)) for number, name in enumerate(names)]
        return {to_text(key) for keys in await self._client.ask_all(calls) for key in keys}

    async def unsaved(self, limit: int) -> list[RecordChange]:
        """Take what the store has not seen of about ``limit`` records, as many from each partition."""
        share = -(-limit // self._keys.partitions)
        arguments = (self._keys.generation, share, int(self._lease * 1000))
        calls = [
            Call(_CLAIM, number, (self._keys.state(number), self._keys.of(number, "u")), arguments)
            for number in range(self._keys.partitions)
        ]
        taken = [to_text(name) for names in await self._client.ask_all(calls) for name in names]
        return await self._changes(taken) if taken else []

    async def _changes(self, keys: Sequence[str]) -> list[RecordChange]:
        replies = await self._each(_CHANGED, keys, (_MOST_ROWS,))
        found: list[tuple[str, LoadedRecord | None, RecordState]] = []
        for key, reply in zip(keys, replies, strict=True):
            if reply[0] == b"x":
                found.append((key, None, state_of(reply[1])))
            elif reply[0] != b"-":
                record = await self._reader.large_record(key) if reply[0] == b"l" else record_of(reply)
                if record is not None:
                    found.append((key, record, record.state))
        texts = await self._texts_for(
            row for _, record, _ in found if record is not None for row in record.rows.values()
        )
        return [_change(key, record, state, texts) for key, record, state in found]

    async def _texts_for(self, rows: Iterable[str]) -> dict[str, str]:
        """Return the definitions that rows need; those that are not known are read."""
        hashes = {hash for row in rows if (hash := hash_in(row)) is not None}
        texts = {hash: self._texts[hash] for hash in hashes if hash in self._texts}
        if len(texts) < len(hashes):
            unknown = await self._reader.definitions(hashes - texts.keys())
            self._know(unknown)
            texts |= unknown
        return texts

    def _know(self, texts: Mapping[str, str]) -> None:
        """Remember definitions, as long as there are not too many."""
        if len(self._texts) + len(texts) > _MOST_TEXTS:
            self._texts.clear()
        self._texts.update(texts)

    async def note(self, changes: Sequence[RecordChange], *, saved: bool) -> list[RecordChange]:
        """Note what the store has confirmed, or did not take; return what has to be taken back from it."""
        revisions = {change.key: (revision_text(change.revision) if saved else "-",) for change in changes}
        replies = await self._each(_SAVED, list(revisions), (self._removal_ms, self._keys.partitions), revisions)
        if not saved:
            return []
        return [_taken_back(change) for change, kept in zip(changes, replies, strict=True) if not kept]

    # --- from the store to Redis -------------------------------------------------------

    async def fetch(self, wanted: Mapping[str, str]) -> tuple[dict[str, LoadedRecord], list[str]]:
        """Read records from the store and put them into Redis.

        Args:
            wanted: the records, each with what was said when it was not in Redis.

        Returns:
            Those that are in Redis now, and the keys of those that have to be looked at again.

        Raises:
            StoreUnavailable: when the store does not answer.
            CacheUnavailable: when Redis does not.
        """
        found: dict[str, LoadedRecord] = {}
        again = [key for key, said in wanted.items() if said == IN_DOUBT]
        if again:
            await self._comparison.compare(again)
            wanted = {key: said for key, said in wanted.items() if said != IN_DOUBT}
        loaded = await self._load_from_store(list(wanted)) if wanted else {}
        for key, evictions in wanted.items():
            if key not in loaded:
                self._notes.note_ticket(key, evictions)
        present = list(loaded)
        texts = {key: with_texts(record) for key, record in loaded.items()}
        filling = {key: [wanted[key], *from_store(texts[key])] for key in present}
        replies = await self._each(_FILL, present, of_each=filling)
        for key, filled in zip(present, replies, strict=True):
            if filled:
                found[key] = texts[key]
            else:
                again.append(key)
        return found, again

    async def _load_from_store(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        try:
            loaded = await self._store.load(keys)
        except StoreUnavailable as error:
            error.keys = frozenset(keys)
            raise
        await self._bring_definitions(loaded)
        return loaded

    async def _bring_definitions(self, records: Mapping[str, LoadedRecord]) -> None:
        """Put the definitions that rows need into Redis, where other processes look for them."""
        where: dict[str, set[int]] = {}
        for key, record in records.items():
            partition = self._keys.partition(key)
            for row in record.rows.values():
                hash = hash_in(row_text(row))
                if hash and hash not in self._texts:
                    where.setdefault(hash, set()).add(partition)
        if where:
            texts = await self._store.definitions(where)
            await self._reader.put_definitions(texts, where)
            self._know(texts)

    def forget(self) -> None:
        """Forget which definitions are known: Redis has lost them."""
        self._texts.clear()

    async def evict_in_turn(self, idle: float) -> None:
        """Look for idle records if it is time to, and nobody else has just done so."""
        pause = max(_SHORTEST_PAUSE, int(idle * 1000 / _LOOKS))
        name = self._keys.number[:-1] + b"v"
        if await self._client.ask(Call(None, -1, (), (b"SET", name, b"1", b"NX", b"PX", pause))):
            await self.evict(idle)

    async def evict(self, idle: float) -> int:
        """Let records go that the store has and that nobody asked for in a while.

        Args:
            idle: seconds.

        Returns:
            How many went.
        """
        gone = 0
        async for names in self._reader.names(self._keys.pattern("r")):
            page = [key for _, generation, key in map(Keys.parse, names) if generation == self._keys.generation]
            for start in range(0, len(page), _PAGE):
                gone += sum(await self._each(_EVICT, page[start : start + _PAGE], (int(idle), self._ids_ms)))
        return gone


def _change(key: str, record: LoadedRecord | None, state: RecordState, texts: Mapping[str, str]) -> RecordChange:
    rows = {} if record is None else {name: TextRow(name, text) for name, text in record.rows.items()}
    hashes = {row.definition_hash for row in rows.values()}
    return RecordChange(
        key=key,
        revision=state.revision or Revision(0, 0),
        serial=state.serial,
        deadline=state.deadline,
        puts=rows,
        drops=() if record is None else record.drops,
        whole=record is None or record.whole,
        removed=record is None,
        seen=() if record is None else record.seen,
        events=(),
        definitions={hash: texts[hash] for hash in hashes if hash in texts},
    )


def _taken_back(change: RecordChange) -> RecordChange:
    """Return the removal of what was saved although everything had been flushed."""
    incarnation, counter = change.revision
    return RecordChange(
        key=change.key,
        revision=Revision(incarnation, counter + 1),
        serial=change.serial,
        deadline=None,
        puts={},
        drops=(),
        whole=True,
        removed=True,
        seen=(),
        events=(),
        definitions={},
    )
