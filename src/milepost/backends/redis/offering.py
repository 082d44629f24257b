"""Records on their way into Redis: from the store, or from what processes hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from milepost.backends.redis.calls import RecordCalls
from milepost.backends.redis.encoding import revision_text
from milepost.backends.redis.keys import to_bytes
from milepost.backends.redis.places import Places
from milepost.backends.redis.scripts import Call, Script, script
from milepost.records import LoadedRecord

__all__ = ["each_record", "from_store", "restore", "row_text", "with_texts"]

_RESTORE: Final = script("restore.lua")


async def each_record(
    places: Places,
    record_calls: RecordCalls,
    what: Script,
    records: Sequence[str],
    arguments: Sequence[Any] = (),
    of_each: Mapping[str, Sequence[Any]] | None = None,
) -> list[Any]:
    """Call a script that takes records, with arguments for all and for each of them; return a reply for each.

    Raises:
        CacheUnavailable: when a server does not answer.
    """
    groups = record_calls.groups(places.keys, records)
    calls: list[Call] = []
    for group in groups:
        keys = [records[n] for n in group]
        own = () if of_each is None else [item for key in keys for item in of_each[key]]
        calls.append(record_calls.each(what, places.keys, keys, (*arguments, *own)))
    return record_calls.apart(groups, len(records), await places.client.ask_all(calls))


async def restore(
    places: Places,
    record_calls: RecordCalls,
    offers: Mapping[str, Sequence[Any]],
    source: Literal["store", "process"],
) -> list[int]:
    """Offer records to a Redis that has lost data; return what ``restore.lua`` says of each.

    Raises:
        CacheUnavailable: when a server does not answer.
    """
    return await each_record(places, record_calls, _RESTORE, list(offers), (source,), offers)


def from_store(record: LoadedRecord) -> list[Any]:
    """Return what ``fill.lua`` and ``restore.lua`` are told of a record that the store has, its rows as text."""
    state = record.state
    assert state.revision is not None
    deadline = "-" if state.deadline is None else repr(float(state.deadline))
    numbers = f"{revision_text(state.revision)} {state.serial} {deadline} {state.revision.counter}"
    rows = [piece for name, text in record.rows.items() for piece in (to_bytes(name), text)]
    return [numbers, len(record.seen), len(record.rows), *record.seen, *rows]


def row_text(row: Any) -> str:
    """Return a row as text; a store may hand out rows of the engine's own."""
    return row if isinstance(row, str) else str(row.encoded())


def with_texts(record: LoadedRecord) -> LoadedRecord:
    """Return a record whose rows are text."""
    return record._replace(rows={name: row_text(row) for name, row in record.rows.items()})
