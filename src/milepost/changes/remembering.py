"""What users do with a container that remembers: read its history, lock it, take changes back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from milepost._clock import epoch_seconds
from milepost.changes.batches import Batch
from milepost.changes.containers import TrackedContainer
from milepost.changes.edits import edit, reach
from milepost.changes.entries import ChangeLogEntry, Row
from milepost.changes.patches import json_patch
from milepost.changes.tracking import gate
from milepost.changes.undoing import Undoing, restored
from milepost.changes.values import document, freeze, frozen

__all__ = ["Remembering"]


class Remembering(TrackedContainer):
    """The base of ``TrackedDict``, ``TrackedList``, ``TrackedSet`` and ``TrackedAttributes``.

    What tracking adds has names that begin with ``tracking_``, but for ``last_change``, ``changes_since``,
    ``lock``, ``unlock``, ``undo``, ``redo``, ``batch``, ``diff`` and ``copy``.
    """

    __slots__ = ()

    # History

    def tracking_changes(self, most_recent: int | None = None) -> list[ChangeLogEntry]:
        """Return the entries of the log, the oldest first: this container's changes and its children's.

        Args:
            most_recent: return at most this many, the latest ones.

        Raises:
            ValueError: when that is no whole number of at least 0.
        """
        rows = self._tracking.rows()
        if most_recent is not None:
            if isinstance(most_recent, bool) or not isinstance(most_recent, int) or most_recent < 0:
                raise ValueError(f"most_recent must be a whole number of at least 0, got {most_recent!r}")
            rows = rows[max(0, len(rows) - most_recent) :]
        return [self._tracking.entry(row) for row in rows]

    def last_change(self) -> ChangeLogEntry | None:
        """Return the latest entry; None where there is none."""
        log = self._tracking.log
        with gate:
            return self._tracking.entry(log[-1]) if log else None

    def changes_since(self, since: ChangeLogEntry | datetime | None) -> list[ChangeLogEntry]:
        """Return the entries from an entry or a moment on, that one included.

        Args:
            since: an entry, an aware datetime, or None for all.

        Raises:
            TypeError: for anything else.
            ValueError: for a datetime without a time zone.
        """
        return [self._tracking.entry(row) for row in _since(self._tracking.rows(), since)]

    def diff(self, since: ChangeLogEntry | datetime | None = None) -> list[dict[str, Any]]:
        """Return a JSON Patch (RFC 6902) that makes what was before :meth:`changes_since` into what is now.

        Keys that are not text are their ``repr``, tuples and sets are arrays, values that JSON lacks
        are tagged as in :meth:`ChangeLogEntry.to_dict`. Redacted fields are not in it.

        Args:
            since: an entry, an aware datetime, or None for all that is in the log.

        Raises:
            TypeError: for anything else.
            ValueError: for a datetime without a time zone.
        """
        with gate:
            rows = _since(self._tracking.rows(), since)
            now = freeze(self)
            was = freeze(now)
        for row in reversed(rows):
            for prefix, location, old, new in reversed(list(row.deltas())):
                edit(reach(was, prefix), location, frozen(new), freeze(frozen(old)))
        names = self._tracking.redact
        return json_patch(document(was, hidden=names), document(now, hidden=names))

    @property
    def tracking_dropped(self) -> int:
        """How many entries the log had to let go because it holds no more than ``history``."""
        return self._tracking.dropped

    @property
    def tracking_id(self) -> str:
        """This container's id, 32 hexadecimal digits."""
        return self._tracking.id

    @property
    def tracking_name(self) -> str:
        """What entries call this container; empty for its type's name."""
        return self._tracking.name

    # Locks

    @property
    def tracking_locked(self) -> bool:
        """Whether changes are refused."""
        return self._tracking.locked

    def lock(self) -> None:
        """Refuse every change, here and in all tracked containers that this one holds, with ``ContainerLocked``."""
        with gate:
            for container in self._tracking_tree():
                container._tracking.locked = True

    def unlock(self) -> None:
        """Allow changes again, here and in all tracked containers that this one holds."""
        with gate:
            for container in self._tracking_tree():
                container._tracking.locked = False

    # Taking back

    def batch(self) -> Batch:
        """Make changes all or nothing: ``with tracked.batch(): ...``.

        They become one entry, whose ``changes`` they are. When the block raises, they are taken back
        and neither the log nor an observer hears of them. Batches nest.

        Raises:
            ContainerLocked: on entering, when the container is locked.
        """
        return Batch(self._tracking_holder())

    def undo(self) -> ChangeLogEntry | None:
        """Take back the latest change that was not taken back, a child's among them.

        Contents become what they were, a dict's keys but for their order. That is a change itself, logged as
        ``undo``.

        Returns:
            The entry of what was taken back; None where there is nothing, or the log no longer has it.

        Raises:
            ContainerLocked: when the container is locked.
        """
        undoing = self._tracking_undoing()
        if not undoing.done:
            return None
        row = undoing.done[-1]
        self._tracking_again("undo", row, [(step, step.new, step.old) for step in reversed(list(row.steps()))])
        return self._tracking.entry(row)

    def redo(self) -> ChangeLogEntry | None:
        """Do again what was taken back last, unless something else has been changed since.

        Returns:
            The entry of what was done again; None where there is nothing.

        Raises:
            ContainerLocked: when the container is locked.
        """
        undoing = self._tracking_undoing()
        if not undoing.undone:
            return None
        row = undoing.undone[-1]
        self._tracking_again("redo", row, [(step, step.old, step.new) for step in row.steps()])
        return self._tracking.entry(row)

    def _tracking_undoing(self) -> Undoing:
        tracking = self._tracking
        with gate:
            if tracking.locked:
                tracking.refuse()
            if tracking.undoing is None:
                tracking.undoing = Undoing(tracking.rows(), tracking.history)
                tracking.settle()
        return tracking.undoing

    def _tracking_again(self, action: str, row: Row, steps: list[tuple[Row, Any, Any]]) -> None:
        holder = self._tracking_holder()
        with Batch(holder, action, row.number):
            for step, old, new in steps:
                target: Any = holder
                for key in step.prefix:
                    target = target[key]._tracking_holder()
                target._tracking_change(
                    action, step.location, restored(step.location, old), restored(step.location, new)
                )


def _since(rows: list[Row], since: ChangeLogEntry | datetime | None) -> list[Row]:
    if since is None:
        return rows
    if isinstance(since, ChangeLogEntry):
        for n, row in enumerate(rows):
            if row.number == since._row.number:
                return rows[n:]
        return [row for row in rows if row.time >= since._row.time]
    if not isinstance(since, datetime):
        raise TypeError(f"since must be an entry, an aware datetime or None, got {since!r}")
    moment = epoch_seconds(since, "since")
    return [row for row in rows if row.time >= moment]
