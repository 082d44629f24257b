"""Storing a model as a subject: one row for each field, and the model's own event in the same commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from milepost.codec import canonical
from milepost.errors import ModelExists, ModelNotFound, StaleModelError
from milepost.subjects.commands import SubjectWork, loaded
from milepost.subjects.draft import Cause, SubjectDraft
from milepost.subjects.rows import PROPERTY, SubjectRow, plain, same

__all__ = ["DeleteModel", "Forms", "Identity", "WriteModel", "Written", "forms_in"]

Forms = dict[str, Any]
"""A model's fields as what JSON can carry, by name."""


class Identity(NamedTuple):
    """Which model, for events and errors."""

    model: str
    """The class's name."""
    event: str
    """What the types of its events begin with."""
    id: Any


class Written(NamedTuple):
    """What became of a model."""

    forms: Forms
    revision: tuple[int, int] | None
    event: str | None
    """The id of the event that tells of it; None where nothing changed."""
    payload: dict[str, Any]


def forms_in(rows: Mapping[str, Any]) -> Forms:
    """Return the fields that rows hold."""
    return {name[len(PROPERTY) :]: row.form for name, row in rows.items() if name.startswith(PROPERTY)}


@dataclass(slots=True)
class WriteModel(SubjectWork):
    """Create or update a model.

    Args:
        identity: which.
        creates: whether it must not be there yet.
        forms: the fields.
        base: the fields as they were loaded; what differs from them was changed here.
        revision: the revision that was loaded.
        merges: whether to merge with what others have stored since, field by field.
        describe: validates fields as a whole, and returns the payload of an event.
        cause: the event in whose handler it is done.
    """

    identity: Identity
    creates: bool
    forms: Forms
    base: Forms
    revision: tuple[int, int] | None
    merges: bool
    describe: Callable[[Forms], dict[str, Any]]
    cause: Cause | None

    def apply(self, draft: SubjectDraft) -> Written:
        now = forms_in(draft.rows())
        there = "id" in now
        forms = self.forms
        if self.creates:
            if there:
                raise ModelExists(self.identity.model, self.identity.id)
        elif not there:
            raise StaleModelError(self.identity.model, self.identity.id)
        elif loaded(draft).revision != self.revision:
            forms = self._merged(now)
        payload = self.describe(forms)
        rows = [SubjectRow(PROPERTY + field, form) for field, form in forms.items()]
        changed = [(row, old) for row in rows if not same(row, old := draft.get(row.name))]
        for row, _ in changed:
            draft.put(row)
        event = None
        if changed:
            if not self.creates:
                changes = {
                    row.name[len(PROPERTY) :]: {"old": None if old is None else plain(old.form), "new": plain(row.form)}
                    for row, old in changed
                }
                payload = {**payload, "changes": changes}
            code = f"{self.identity.event}.{'created' if self.creates else 'updated'}"
            event = draft.tell(code, "", payload, self.cause)
        return Written(forms, loaded(draft).revision, event, payload)

    def _merged(self, now: Forms) -> Forms:
        """Return what is stored now with what was changed here."""
        mine = {field for field, form in self.forms.items() if _differ(form, self.base.get(field), field in self.base)}
        theirs = {field for field, form in now.items() if _differ(form, self.base.get(field), field in self.base)}
        both = [
            field
            for field in sorted(mine & theirs)
            if canonical(self.forms[field]) != canonical(now[field])  # both to the same value is no conflict
        ]
        if not self.merges or both:
            raise StaleModelError(self.identity.model, self.identity.id, both if self.merges else ())
        return {field: form if field in mine or field not in now else now[field] for field, form in self.forms.items()}


def _differ(form: Any, before: Any, was_there: bool) -> bool:
    return not was_there or canonical(form) != canonical(before)


@dataclass(slots=True)
class DeleteModel(SubjectWork):
    """Delete a model with all that is stored of it.

    Args:
        identity: which.
        revision: the revision that was loaded.
        merges: whether it may have been changed since.
        payload: of its event.
        cause: the event in whose handler it is done.
    """

    identity: Identity
    revision: tuple[int, int] | None
    merges: bool
    payload: dict[str, Any]
    cause: Cause | None

    def apply(self, draft: SubjectDraft) -> Written:
        rows = draft.rows()
        if PROPERTY + "id" not in rows:
            raise ModelNotFound(self.identity.model, self.identity.id)
        if loaded(draft).revision != self.revision and not self.merges:
            raise StaleModelError(self.identity.model, self.identity.id)
        for name in (*rows, *draft.broken()):
            draft.drop(name)
        event = draft.tell(f"{self.identity.event}.deleted", "", self.payload, self.cause)
        return Written({}, None, event, self.payload)
