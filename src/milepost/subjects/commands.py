"""What can be done to a subject, as work for the committer.

Work computes first and changes the draft only when nothing can go wrong any more, so one that raises has done nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from milepost.records import OutboxEvent, Record
from milepost.subjects.changes import Edit
from milepost.subjects.draft import Cause, SubjectDraft
from milepost.subjects.rows import PROPERTY, SubjectRow, same

__all__ = ["ChangeSubject", "DeleteSubject", "Loaded", "ReadSubject", "SubjectWork"]


class Loaded(NamedTuple):
    """A subject's record as it is, or will be once the work is committed."""

    rows: dict[str, SubjectRow]
    broken: Mapping[str, Exception]
    """Why rows cannot be read that are there."""
    revision: tuple[int, int] | None
    """None where there is nothing stored."""


class SubjectWork:
    """Something to be done to a subject."""

    def draft(self, record: Record, book: Any, now: float, incarnation: int, window: int) -> SubjectDraft:
        """Return a draft for this and for what else is done to the subject."""
        return SubjectDraft(record, now, incarnation)

    def apply(self, draft: SubjectDraft) -> Any:
        """Change the draft; return what the caller gets."""
        raise NotImplementedError


def loaded(draft: SubjectDraft) -> Loaded:
    """Return the record as the draft has it."""
    revision: tuple[int, int] | None = draft.record.revision
    return Loaded(draft.rows(), draft.broken(), revision if draft.is_empty else draft.next_revision)


class ReadSubject(SubjectWork):
    """Read it."""

    def apply(self, draft: SubjectDraft) -> Loaded:
        return loaded(draft)


@dataclass(slots=True)
class ChangeSubject(SubjectWork):
    """Apply edits, all or none.

    Args:
        edits: in order.
        cause: the event in whose handler it is done.
        event_id: with the same one it is done once.
        emits: what the handler emitted that has done it; it goes into the same commit, if there is one.
    """

    edits: Sequence[Edit]
    cause: Cause | None = None
    event_id: bytes | None = None
    emits: Sequence[OutboxEvent] = ()
    took_emits: bool = False
    """Whether the emits are in the commit, or in the one with which it was done before."""

    def apply(self, draft: SubjectDraft) -> Loaded:
        self.took_emits = self.event_id is not None
        if self.event_id is not None and draft.knows(self.event_id):
            return loaded(draft)
        changes = draft.changes
        before, after, results = self._work_out(draft)
        for edit, result in zip(self.edits, results, strict=True):
            edit.result = result
        for row, new in after.items():
            if new is None:
                draft.drop(row)
            elif not same(before[row], new):
                draft.put(new)
        self._tell(draft, before, after)
        if self.event_id is not None:
            draft.seen[self.event_id] = None
        if self.emits and (self.took_emits or draft.changes != changes):
            self.took_emits = True
            draft.take(self.emits)
        return loaded(draft)

    def _work_out(
        self, draft: SubjectDraft
    ) -> tuple[dict[str, SubjectRow | None], dict[str, SubjectRow | None], list[tuple[Any, Any]]]:
        """Return the rows concerned before and after, and what each edit makes of which value."""
        before: dict[str, SubjectRow | None] = {}
        after: dict[str, SubjectRow | None] = {}
        results: list[tuple[Any, Any]] = []
        for edit in self.edits:
            row = edit.row
            if row not in before:
                before[row] = after[row] = None if edit.deletes and row in draft.broken() else draft.get(row)
            old = after[row]
            new = after[row] = edit.applied(old)
            results.append((_value(new), _value(old)))
        return before, after, results

    def _tell(
        self, draft: SubjectDraft, before: Mapping[str, SubjectRow | None], after: Mapping[str, SubjectRow | None]
    ) -> None:
        """Announce what really changed, unless all that was done to it was muted."""
        for row, new in after.items():
            old = before[row]
            heard = [edit for edit in self.edits if edit.row == row and not edit.muted]
            if not heard or same(old, new):
                continue
            extra: dict[str, Any] = {}
            for edit in heard:
                extra.update(edit.extra or {})
            draft.tell_change(row[len(PROPERTY) :], old, new, extra, self.cause)


@dataclass(slots=True)
class DeleteSubject(SubjectWork):
    """Delete all of it, and announce each property that went away and then the subject."""

    cause: Cause | None = None

    def apply(self, draft: SubjectDraft) -> Loaded:
        rows = draft.rows()
        broken = draft.broken()
        for name in (*rows, *broken):
            draft.drop(name)
        for name, row in rows.items():
            if name.startswith(PROPERTY):
                draft.tell_change(name[len(PROPERTY) :], row, None, None, self.cause)
        if rows or broken:
            draft.tell_deleted(rows, self.cause)
        return loaded(draft)


def _value(row: SubjectRow | None) -> Any:
    return None if row is None else row.value()
