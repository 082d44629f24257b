"""What the suites write: rows, events and commits that mean nothing, and a reading of what became of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final, NamedTuple

from milepost.data_stores.base import RecordChange
from milepost.records import Authority, Commit, LoadedRecord, Outcome, Record, Revision

__all__ = [
    "DEFINITION",
    "INCARNATION",
    "SOME_DEFINITIONS",
    "Reading",
    "SuiteEvent",
    "SuiteProperty",
    "SuiteRow",
    "change_to",
    "commit_to",
    "event_id",
    "events_of",
    "outbox_ids",
    "read",
    "rows_of",
    "send",
]

DEFINITION: Final = "d" * 22
"""The hash of the definition that rows need, where a test has nothing to say about definitions."""

SOME_DEFINITIONS: Final = {DEFINITION: '{"kind":"suite"}'}

INCARNATION: Final = 1_700_000_000_000_000
"""The incarnation of records that are made for the first time."""

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """A row: what it holds is text to an adapter."""

    name: str
    body: str
    definition_hash: str = DEFINITION

    def encoded(self) -> str:
        """Return the row as ASCII text."""
        return json.dumps([self.definition_hash, self.body])


@dataclass(frozen=True, slots=True)
class SuiteProperty:
    """A row that needs no definition, such as a subject's property."""

    name: str
    text: str
    definition_hash: str = ""

    def encoded(self) -> str:
        """Return the row as ASCII text."""
        return self.text


@dataclass(frozen=True, slots=True)
class SuiteEvent:
    """An event for the outbox."""

    id: str
    type: str = "suite.happened"
    time: datetime = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
    subject: str | None = None
    root: str | None = None

    def encoded(self) -> str:
        """Return the event as JSON text."""
        return json.dumps({"id": self.id, "type": self.type, "time": self.time.isoformat()})


class Reading(NamedTuple):
    """A record as an adapter has it, with rows as text, to be compared whole."""

    revision: Revision | None
    rows: dict[str, str]
    seen: tuple[bytes, ...] = ()
    serial: int = 0
    deadline: float | None = None


ABSENT: Final = Reading(None, {})


def rows_of(bodies: Mapping[str, str], definition: str = DEFINITION) -> dict[str, SuiteRow]:
    """Return rows by name."""
    return {name: SuiteRow(name, body, definition) for name, body in bodies.items()}


def events_of(*ids: str) -> list[SuiteEvent]:
    """Return events with these ids."""
    return [SuiteEvent(id) for id in ids]


def event_id(n: int | str) -> bytes:
    """Return the 16 bytes that some event id is remembered by."""
    return hashlib.blake2b(str(n).encode(), digest_size=16).digest()


def commit_to(
    key: str,
    base: Revision | None = None,
    bodies: Mapping[str, str] | None = None,
    *,
    epoch: int,
    incarnation: int | None = None,
    definition: str = DEFINITION,
    **fields: Any,
) -> Commit:
    """Return a commit with an id of its own.

    Args:
        key: the record.
        base: the revision it is computed from.
        bodies: what rows to put hold, by name.
        epoch: the epoch it is computed in.
        incarnation: by default the base's, or that of a record made for the first time.
        definition: the hash of the definition that the rows need.
        **fields: as for ``Commit``.
    """
    if incarnation is None:
        incarnation = INCARNATION if base is None else base.incarnation
    fields.setdefault("id", next(_numbers).to_bytes(16, "big"))
    fields.setdefault("definitions", (definition,) if bodies and base is None else ())
    return Commit(key, epoch, base, incarnation, puts=rows_of(bodies or {}, definition), **fields)


def change_to(
    key: str, revision: Revision, bodies: Mapping[str, str] | None = None, definition: str = DEFINITION, **fields: Any
) -> RecordChange:
    """Return what a cache tells a store that follows it; ``fields`` as for ``RecordChange``."""
    rest: dict[str, Any] = {
        "serial": 0,
        "deadline": None,
        "drops": (),
        "whole": False,
        "removed": False,
        "seen": (),
        "events": (),
        "definitions": SOME_DEFINITIONS,
        **fields,
    }
    return RecordChange(key=key, revision=revision, puts=rows_of(bodies or {}, definition), **rest)


async def send(
    authority: Authority, key: str, base: Revision | None = None, bodies: Mapping[str, str] | None = None, **fields: Any
) -> Outcome:
    """Commit to one record in the present epoch, and return what the adapter answers."""
    fields.setdefault("epoch", await authority.epoch())
    (outcome,) = await authority.commit([commit_to(key, base, bodies, **fields)])
    return outcome


def reading_of(loaded: LoadedRecord | None) -> Reading:
    """Return what was loaded, with rows as text."""
    if loaded is None:
        return ABSENT
    rows = {name: row if isinstance(row, str) else row.encoded() for name, row in loaded.rows.items()}
    return Reading(loaded.state.revision, rows, tuple(loaded.seen), loaded.state.serial, loaded.state.deadline)


def reading_of_record(record: Record) -> Reading:
    """Return a record in memory as an adapter that holds it should have it."""
    if record.revision is None:
        return ABSENT
    rows = {name: row.encoded() for name, row in record.rows.items()}
    return Reading(record.revision, rows, tuple(record.seen or ()), record.serial, record.deadline)


async def read(authority: Authority, key: str) -> Reading:
    """Return a record as the adapter has it now."""
    return reading_of((await authority.load([key])).get(key))


async def outbox_ids(authority: Authority, **window: int) -> list[str]:
    """Return the ids of kept events in order; ``window`` is ``after`` and ``limit``."""
    return [json.loads(text)["id"] for _, text in await authority.outbox(**window)]


def encoded(rows: Iterable[SuiteRow]) -> dict[str, str]:
    """Return rows as adapters that keep text have them."""
    return {row.name: row.encoded() for row in rows}


def texts(bodies: Mapping[str, str], definition: str = DEFINITION) -> dict[str, str]:
    """Return the text of rows that hold these, by name."""
    return encoded(rows_of(bodies, definition).values())


def merged(base: Reading, conflict: LoadedRecord) -> Reading:
    """Return what a replica becomes that is told of a conflict."""
    now = reading_of(conflict)
    if conflict.whole:
        return now
    kept = {name: text for name, text in base.rows.items() if name not in conflict.drops}
    return now._replace(rows={**kept, **now.rows})


Rows = Mapping[str, str]
Keys = Sequence[str]
