"""Records that processes hold, offered to a Redis that may have lost them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from milepost.backends.following import FollowingAuthority
from milepost.backends.redis.calls import RecordCalls
from milepost.backends.redis.encoding import revision_text
from milepost.backends.redis.keys import to_bytes
from milepost.backends.redis.offering import restore
from milepost.backends.redis.places import Places
from milepost.backends.redis.reading import Reader
from milepost.records import Record, Standing

__all__ = ["mend"]

_AT_ONCE: Final = 500


async def mend(
    places: Places,
    calls: RecordCalls,
    reader: Reader,
    store: FollowingAuthority | None,
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
        replies = await restore(places, calls, offers, "process")
        restored += replies.count(1)
        lost += replies.count(-1)
    return restored, lost


async def _stored(store: FollowingAuthority, keys: Sequence[str]) -> dict[str, Standing]:
    """Return where the store has records that are not in Redis: they are read from there when they are wanted."""
    return await store.standings(keys) if keys else {}


def _needing(places: Places, records: Sequence[Record]) -> dict[str, set[int]]:
    """Return the partitions in which rows need definitions, by their hashes."""
    where: dict[str, set[int]] = {}
    for record in records:
        partition = places.keys.partition(record.key)
        for row in record.rows.values():
            where.setdefault(row.definition_hash, set()).add(partition)
    return where


def _is_as_new(stored: Standing | None, record: Record) -> bool:
    """Whether the store has a record as new as a process held it; a removal is newer than all of its incarnation."""
    if stored is None:
        return False
    there, removed = stored
    mine = record.revision
    if there.incarnation != record.incarnation:
        return there.incarnation > record.incarnation
    return removed or (mine is not None and there >= mine)


def _offer(record: Record, stored: Standing | None) -> list[Any]:
    """Return what ``restore.lua`` is told of a record, of which the store has something older or nothing."""
    if record.revision is None:
        counter = 1 if stored is None else stored.revision.counter + 1
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
