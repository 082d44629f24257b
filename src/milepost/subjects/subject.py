"""``Subject``: a named entity with properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milepost.subjects.changes import Deletion, checked_extra, edit_of
from milepost.subjects.commands import ReadSubject
from milepost.subjects.keeper import Keeper
from milepost.subjects.rows import EXTENDED, PROPERTY, check_subject_name, key_of, property_row
from milepost.subjects.unit_of_work import Change, UnitOfWork

__all__ = ["Subject", "SubjectKeeper"]

_Values = dict[str, Any]


class Subject(UnitOfWork):
    """A named entity with properties, loaded.

    ::

        user = await manager.subject("user-123")
        user.set("email", "a@example.com")
        user.set("logins", lambda n: n + 1, default=0)
        await user.store()

    It is a unit of work: reads and writes are immediate on the loaded copy, and :meth:`store` commits all changes
    in one atomic step. Functions are applied again to the newest value then, so no increment is ever lost.
    Values are what JSON can carry, and decimals, times, tuples and sets; they are copied on their way in and out.

    Changes that are never stored raise a ``ResourceWarning``; :meth:`discard` takes them back. As a context
    manager it stores them at the end of the block, and discards them where the block raises.

    Args:
        name: its name.
        keeper: has work done.
        loaded: what is stored.
        held: whether somebody else commits it: the handler that it is the ``ctx.subject`` of.
    """

    # --- properties -------------------------------------------------------------------------

    def get(self, name: str, default: Any = None) -> Any:
        """Return a property's value; a copy, if it can be changed.

        Args:
            name: the property.
            default: what to return where it is absent.

        Raises:
            UndecodableError: when it is stored and cannot be read.
        """
        return self._get(PROPERTY, name, default)

    def set(
        self,
        name: str,
        value: Any,
        muted: bool = False,
        extra: Mapping[str, Any] | None = None,
        default: Any = None,
        use_cache: bool = True,
    ) -> Change:
        """Give a property a value.

        Args:
            name: the property.
            value: the value; or a function of the value before, or of nothing, that returns it. It must not act on
                the world: it is called again when another process was faster.
            muted: do not emit an event.
            extra: metadata of the event, JSON values.
            default: what a function of one argument gets where the property is absent.
            use_cache: False commits this property at once, with what was done to it before, and leaves the others.

        Returns:
            ``(new, old)``; may be awaited, which commits at once.

        Raises:
            TypeError: for a name that is no text, or a function of more than one argument.
            ValueError: for an empty name, or a value that cannot be stored.
            UndecodableError: when it is stored and cannot be read.
        """
        edit = edit_of(PROPERTY, name, value, default=default, muted=muted, extra=extra)
        return self._change(edit, use_cache)

    def delete(
        self, name: str, muted: bool = False, extra: Mapping[str, Any] | None = None, use_cache: bool = True
    ) -> Change:
        """Delete a property; one that is absent is no error. Otherwise like :meth:`set`."""
        return self._change(Deletion(property_row(PROPERTY, name), muted, checked_extra(extra)), use_cache)

    def has(self, name: str) -> bool:
        """Whether there is a property of this name."""
        row = property_row(PROPERTY, name)
        return row in self._rows or row in self._base.broken

    def keys(self) -> list[str]:
        """Return the names of the properties, sorted."""
        return self._names(PROPERTY)

    def dict(self) -> _Values:
        """Return all properties, extended ones apart.

        Raises:
            UndecodableError: when one of them cannot be read.
        """
        return {name: self._get(PROPERTY, name, None) for name in self._names(PROPERTY)}

    # --- extended properties ----------------------------------------------------------------

    def get_ext(self, name: str, default: Any = None) -> Any:
        """Return an extended property's value; otherwise like :meth:`get`."""
        return self._get(EXTENDED, name, default)

    def set_ext(self, name: str, value: Any, default: Any = None, use_cache: bool = True) -> Change:
        """Give an extended property a value: one that never emits an event. Otherwise like :meth:`set`."""
        return self._change(edit_of(EXTENDED, name, value, default=default), use_cache)

    def delete_ext(self, name: str, use_cache: bool = True) -> Change:
        """Delete an extended property; otherwise like :meth:`delete`."""
        return self._change(Deletion(property_row(EXTENDED, name), True, None), use_cache)

    def ext(self) -> _Values:
        """Return all extended properties.

        Raises:
            UndecodableError: when one of them cannot be read.
        """
        return {name: self._get(EXTENDED, name, None) for name in self._names(EXTENDED)}

    # --- both --------------------------------------------------------------------------------

    def _get(self, kind: str, name: str, default: Any) -> Any:
        row = self._row(property_row(kind, name))
        return default if row is None else row.value()

    def _names(self, kind: str) -> list[str]:
        rows = {*self._rows, *self._base.broken}  # sorted: stores do not keep an order
        return sorted(row[len(kind) :] for row in rows if row.startswith(kind))


class SubjectKeeper(Keeper):
    """A keeper that hands out subjects."""

    def load_now(self, name: str) -> Subject | None:
        """Load the subject of a handler on the spot; None where a store must be asked first."""
        done = self.run_now(key_of(check_subject_name(name)), ReadSubject())
        return None if done is None else Subject(name, self, done[0], held=True)

    async def load(self, name: str, *, held: bool = True) -> Subject:
        """Load a subject as it is stored now; one that is stored nowhere is empty.

        Args:
            name: its name.
            held: whether a handler commits it.

        Raises:
            TypeError: when the name is no text.
            ValueError: when it is empty.
            BackendUnavailable: when the cache or the store does not answer.
            ManagerClosed: when the manager was closed.
        """
        loaded = await self.run(key_of(check_subject_name(name)), ReadSubject())
        return Subject(name, self, loaded, held=held)
