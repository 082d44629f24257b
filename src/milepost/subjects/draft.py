"""The next state of a subject's record while it is being worked out, and the events of its changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from milepost._clock import utc
from milepost.codec import canonical, content_hash
from milepost.drafting import BaseDraft
from milepost.events.codes import SUBJECT_DELETED, SUBJECT_PROPERTY_CHANGED, SUBJECT_PROPERTY_DELETED
from milepost.events.types import Event
from milepost.records import OutboxEvent
from milepost.subjects.rows import EXTENDED, PROPERTY, SubjectRow, name_of, plain

__all__ = ["Cause", "SubjectDraft", "change_id"]


class Cause(NamedTuple):
    """The event in whose handler something is done."""

    id: str
    root: str
    depth: int
    """How many causes an event has that this one causes."""


class SubjectDraft(BaseDraft[SubjectRow, OutboxEvent]):
    """What a subject will be once the commit is accepted."""

    tracks = False

    @property
    def name(self) -> str:
        """The subject's name."""
        return name_of(self.record.key)

    def get(self, row: str) -> SubjectRow | None:
        """Return a row as it will be.

        Raises:
            UndecodableError: when it is there and cannot be read.
        """
        found = self.puts.get(row)
        if found is None and row not in self.drops:
            broken = self.record.broken
            if broken and row in broken:
                raise broken[row]
            found = self.record.rows.get(row)
        return found

    def rows(self) -> dict[str, SubjectRow]:
        """Return all rows as they will be, those apart that cannot be read."""
        rows = {name: row for name, row in self.record.rows.items() if name not in self.drops}
        rows.update(self.puts)
        return rows

    def broken(self) -> dict[str, Exception]:
        """Return why rows cannot be read that will still be there."""
        broken = self.record.broken or {}
        return {name: error for name, error in broken.items() if name not in self.drops}

    def put(self, row: SubjectRow) -> None:
        """Write a row."""
        self.changes += 1
        self.puts[row.name] = row
        self.drops.pop(row.name, None)

    def drop(self, name: str) -> None:
        """Drop a row."""
        self.changes += 1
        self.take_out(name)

    # --- events ---------------------------------------------------------------------------

    def take(self, events: Iterable[OutboxEvent]) -> None:
        """Append events that are announced with what is done."""
        self.changes += 1
        self.events.extend(events)

    def tell_change(
        self,
        name: str,
        old: SubjectRow | None,
        new: SubjectRow | None,
        extra: Mapping[str, Any] | None,
        cause: Cause | None,
    ) -> None:
        """Append the event of a property that changed, or went away."""
        payload = {"property_name": name, "old_value": None if old is None else plain(old.form)}
        change = {"name": name, "old": None if old is None else old.form}
        if new is None:
            code = SUBJECT_PROPERTY_DELETED
        else:
            code = SUBJECT_PROPERTY_CHANGED
            payload["new_value"] = plain(new.form)
            change["new"] = new.form
        self.tell(code, name, payload, cause, extra=extra, change=change)

    def tell_deleted(self, rows: Mapping[str, SubjectRow], cause: Cause | None) -> None:
        """Append the event of a subject that went away with these rows."""
        payload = {"props": dict(_values(rows, PROPERTY)), "ext_props": dict(_values(rows, EXTENDED))}
        self.tell(SUBJECT_DELETED, "", payload, cause)

    def tell(
        self,
        code: str,
        about: str,
        payload: dict[str, Any],
        cause: Cause | None,
        *,
        extra: Mapping[str, Any] | None = None,
        change: dict[str, Any] | None = None,
    ) -> str:
        """Append an event, and return its id: a hash of what it announces, the record's next revision among it."""
        self.changes += 1
        event = Event(
            id=change_id(self.record.key, code, self.next_revision, about, len(self.events)),
            type=code,
            subject=self.name,
            time=utc(self.now),
            data=payload,
            metadata=extra,
            change=change,
            cause=None if cause is None else cause.id,
            root=None if cause is None else cause.root,
            depth=None if cause is None else cause.depth,
        )
        self.events.append(event)
        return event.id

    @property
    def next_revision(self) -> tuple[int, int]:
        """The incarnation and the counter of the record when the commit is accepted."""
        record = self.record
        return self.incarnation, record.counter + 1 if self.incarnation == record.incarnation else 1


def change_id(key: str, code: str, revision: tuple[int, int], about: str = "", number: int = 0) -> str:
    """Return the id of an event that tells of a change.

    Args:
        key: the record's key.
        code: the event's type.
        revision: the record's, when the change is committed.
        about: the property, where it is about one.
        number: how many events of the same commit come before it.
    """
    return content_hash(canonical([key, code, *revision, about, number]))


def _values(rows: Mapping[str, SubjectRow], kind: str) -> Iterator[tuple[str, Any]]:
    return ((name[len(kind) :], plain(row.form)) for name, row in rows.items() if name.startswith(kind))
