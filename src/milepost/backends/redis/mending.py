"""Records that processes hold, offered to a Redis that may have lost them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from milepost.backends.redis.calls import RecordCalls
from milepost.backends.redis.encoding import revision_text
from milepost.backends.redis.following import each_record
from milepost.backends.redis.keys import to_bytes
from milepost.backends.redis.places import Places
from milepost.backends.redis.reading import Reader
from milepost.backends.redis.scripts import script
from milepost.records import Authority, Record, Revision

__all__ = ["mend"]

_RESTORE: Final = script("restore.lua")
_AT_ONCE: Final = 500


async def mend(
    places: Places,
    calls: RecordCalls,
    reader: Reader,
    store: Authority | None,
    records: Sequence[Record],
    definitions: Mapping[str, str],
) -> tuple[int, int]:
    """Bring back the records of which neither Redis nor the store knows something as new.

    Args:
        places: where the partitions stand.
        calls: calls scripts that work on records.
        reader: reads from Redis.
        store: follows; None where none does.
        records: what a process held.
        definitions: the definitions that their rows need.

    Returns:
        How many were brought back, and how many had gone on from an older state.
    """
    if definitions:
        await reader.put_definitions(definitions, _needing(places, records))
    restored = lost = 0
    for start in range(0, len(records), _AT_ONCE):
        page = {record.key: record for record in records[start : start + _AT_ONCE]}
        stored = await _stored(store, await reader.not_here(list(page))) if store is not None else {}
        offers = {
            key: _offer(record, stored.get(key))
            for key, record in page.items()
            if not _is_as_new(stored.get(key), record)
        }
        replies = await each_record(places, calls, _RESTORE, list(offers), of_each=offers)
        restored += replies.count(1)
        lost += replies.count(-1)
    return restored, lost


def _needing(places: Places, records: Sequence[Record]) -> dict[str, set[int]]:
    """Return the partitions in which rows need definitions, by their hashes."""
    where: dict[str, set[int]] = {}
    for record in records:
        partition = places.keys.partition(record.key)
        for row in record.rows.values():
            where.setdefault(row.definition_hash, set()).add(partition)
    return where


async def _stored(store: Authority, keys: Sequence[str]) -> dict[str, Revision]:
    """Return what the store has of records, which are read from there when they are wanted."""
    loaded = await store.load(keys) if keys else {}
    return {key: found.state.revision for key, found in loaded.items() if found.state.revision is not None}


def _is_as_new(stored: Revision | None, record: Record) -> bool:
    """Whether the store has a record as new as a process held it; a removal is newer than all of its incarnation."""
    if stored is None:
        return False
    mine = record.revision
    return stored.incarnation > record.incarnation if mine is None else stored >= mine


def _offer(record: Record, stored: Revision | None) -> list[Any]:
    """Return what ``restore.lua`` is told of a record, of which the store has something older or nothing."""
    if record.revision is None:
        counter = 1 if stored is None else stored.counter + 1
        return [f"{record.incarnation}.{counter} 0 - - x", 0, 0]
    deadline = "-" if record.deadline is None else repr(float(record.deadline))
    rows = [piece for name, row in record.rows.items() for piece in (to_bytes(name), row.encoded())]
    seen = tuple(record.seen or ())
    return [
        f"{revision_text(record.revision)} {record.serial} {deadline} -",
        len(seen),
        len(record.rows),
        *seen,
        *rows,
    ]
