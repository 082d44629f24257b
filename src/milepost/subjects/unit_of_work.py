"""A subject as a unit of work: a loaded copy, what was changed on it, and how that is committed."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any, Self

from milepost.records import OutboxEvent
from milepost.subjects.changes import Edit
from milepost.subjects.commands import ChangeSubject, DeleteSubject, Loaded, ReadSubject
from milepost.subjects.keeper import Keeper, Pending
from milepost.subjects.rows import SubjectRow, key_of

__all__ = ["Change", "UnitOfWork"]


class UnitOfWork:
    """Changes of a subject's rows: immediate on the loaded copy, and committed together.

    Args:
        name: the subject's name.
        keeper: has work done.
        loaded: what is stored.
        held: whether somebody else commits it: the handler that it is the ``ctx.subject`` of.
    """

    def __init__(self, name: str, keeper: Keeper, loaded: Loaded, *, held: bool = False) -> None:
        self._pending: list[Edit] = []
        self._sendings: list[_Sending] = []
        self._name = name
        self._key = key_of(name)
        self._keeper = keeper
        self._held = held
        self._base = loaded
        self._rows: dict[str, SubjectRow] = dict(loaded.rows)

    @property
    def name(self) -> str:
        """The subject's name."""
        return self._name

    @property
    def has_changes(self) -> bool:
        """Whether there are changes that are not stored."""
        return bool(self._pending or self._sendings)

    @property
    def announces(self) -> bool:
        """Whether there are changes that are not stored and of which others may be told."""
        return any(not edit.muted for edit in self._pending)

    def __repr__(self) -> str:
        return f"<subject {self._name}>"

    def __str__(self) -> str:
        return self._name

    def __del__(self) -> None:
        if self._pending:
            names = ", ".join(sorted({edit.name for edit in self._pending}))
            message = f"the changes of subject {self._name!r} were never stored: {names}"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.store()
        else:
            self.discard()

    async def store(self) -> None:
        """Commit all changes in one atomic step, and wait until its events are delivered.

        Where it raises, the changes are still there, to be stored again or discarded.

        Raises:
            Exception: what a function raises on the newest value; nothing was changed.
            CommitConflict: when other writers won every race for too long; nothing was changed.
            BackendUnavailable: when the cache or the store does not answer; nothing was changed.
            CommitUncertain: when it cannot be learned whether it was applied.
            ManagerClosed: when the manager was closed.
        """
        await self.store_with(())

    async def store_with(self, emits: Sequence[OutboxEvent], event_id: bytes | None = None) -> bool:
        """Commit all changes, and events with them; otherwise like :meth:`store`.

        Args:
            emits: what the handler emitted that made the changes.
            event_id: where a commit with this id was applied before, with what was emitted then, nothing is done.

        Returns:
            Whether the events are committed; they are not where nothing was changed.
        """
        await self._settle()
        if not self._pending:
            return False
        edits, self._pending = self._pending, []
        sending = self._send(ChangeSubject(edits, self._keeper.cause(), event_id, emits))
        await self._finish(sending)
        return sending.work.took_emits

    def discard(self) -> None:
        """Take back all changes that are not stored."""
        self._pending = []
        self._show()

    async def reload(self) -> None:
        """Load what is stored now; changes that are not stored are applied to it.

        Raises:
            ManagerClosed: when the manager was closed.
            BackendUnavailable: when the cache or the store does not answer.
        """
        await self._settle()
        self._base = await self._keeper.run(self._key, ReadSubject())
        self._show()

    async def flush(self) -> None:
        """Delete the subject with all its properties, at once; changes that are not stored go with it.

        Raises:
            ManagerClosed: when the manager was closed.
            CommitConflict: when other writers won every race for too long; nothing was changed.
            BackendUnavailable: when the cache or the store does not answer; nothing was changed.
        """
        await self._settle()
        gone = list(self._pending)
        self._base = await self._keeper.run(self._key, DeleteSubject(self._keeper.cause()))
        self._pending = [edit for edit in self._pending if edit not in gone]
        self._show()

    # --- the loaded copy ----------------------------------------------------------------------

    def _row(self, row: str) -> SubjectRow | None:
        found = self._rows.get(row)
        if found is None and row in self._base.broken and not any(edit.row == row for edit in self._pending):
            raise self._base.broken[row]
        return found

    def _change(self, edit: Edit, use_cache: bool) -> Change:
        old = self._rows.get(edit.row) if edit.deletes else self._row(edit.row)
        new = edit.applied(old)
        change = Change((_value(new), _value(old)))
        change.subject, change.edit = self, edit
        self._pending.append(edit)
        self._place(edit.row, new)
        if not use_cache:
            now = [other for other in self._pending if other.row == edit.row]
            self._pending = [other for other in self._pending if other.row != edit.row]
            change.sending = self._send(ChangeSubject(now, self._keeper.cause()))
        return change

    def _place(self, row: str, new: SubjectRow | None) -> None:
        if new is None:
            self._rows.pop(row, None)
        else:
            self._rows[row] = new

    def _show(self) -> None:
        """Make the loaded copy anew: what is stored, and on it what is not yet."""
        self._rows = dict(self._base.rows)
        unstored = [edit for sending in self._sendings for edit in sending.work.edits] + self._pending
        for edit in unstored:
            try:
                self._place(edit.row, edit.applied(self._rows.get(edit.row)))
            except Exception:  # noqa: S112 -- a function that fails on the newest value: `store` will tell
                continue

    # --- sending ------------------------------------------------------------------------------

    def _send(self, work: ChangeSubject) -> _Sending:
        """Begin to commit edits; whoever waits for it may be cancelled, it goes on."""
        sending = _Sending(work)
        self._sendings.append(sending)
        try:
            done = self._keeper.run_now(self._key, work)
            if done is None:
                pending = self._keeper.submit(self._key, work)
                sending.ended = asyncio.get_running_loop().create_future()
                pending.future.add_done_callback(lambda future: self._concluded(sending, pending))
                return sending
        except Exception as error:
            self._end(sending, None, error)
        else:
            sending.delivery = done[1]
            self._end(sending, done[0], None)
        return sending

    def _concluded(self, sending: _Sending, pending: Pending) -> None:
        if not pending.future.cancelled():
            sending.delivery = pending.future.result()
        self._end(sending, pending.value, pending.error)

    def _end(self, sending: _Sending, loaded: Loaded | None, error: Exception | None) -> None:
        self._sendings.remove(sending)
        sending.error = error
        if loaded is None or error is not None:
            self._pending = [*sending.work.edits, *self._pending]
        else:
            self._base = loaded
        self._show()
        if sending.ended is not None and not sending.ended.done():
            sending.ended.set_result(None)

    async def _settle(self) -> None:
        """Wait for what was begun before."""
        while self._sendings:
            await self._finish(self._sendings[0])

    async def _finish(self, sending: _Sending) -> None:
        if sending.ended is not None:  # not the commit's own future, which is done before it is taken over here
            await asyncio.shield(sending.ended)
        if sending.error is not None:
            raise sending.error
        await self._keeper.delivered(sending.delivery)

    async def commit_of(self, change: Change) -> tuple[Any, Any]:
        """Commit what a change waits for; return ``(new, old)`` as it was committed."""
        if change.sending is not None:
            await self._finish(change.sending)
        elif self._held:
            return change[0], change[1]
        elif any(edit is change.edit for edit in self._pending):
            await self.store()
        else:
            await self._settle()
        return change.edit.result or (change[0], change[1])


class Change(tuple[Any, Any]):
    """What ``set`` and ``delete`` return: ``(new, old)``, as the loaded copy has it.

    Awaiting it commits all changes of the subject at once (only this property, with ``use_cache=False``), and gives
    ``(new, old)`` as it was committed. In a handler, ``ctx.subject`` is committed when the handler succeeds, and
    awaiting commits nothing before.
    """

    subject: UnitOfWork
    edit: Edit
    sending: _Sending | None = None

    def __await__(self) -> Generator[Any, None, tuple[Any, Any]]:
        return self.subject.commit_of(self).__await__()


class _Sending:
    """Edits on their way to the authority."""

    __slots__ = ("delivery", "ended", "error", "work")

    def __init__(self, work: ChangeSubject) -> None:
        self.work = work
        self.ended: asyncio.Future[None] | None = None
        """Done when what became of them is taken over; None where that was at once."""
        self.delivery: Any = None
        self.error: Exception | None = None


def _value(row: SubjectRow | None) -> Any:
    return None if row is None else row.value()
