"""What all tracked containers can do beyond what they are: history, observers, locks, undo, batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Self

from milepost._clock import Clock, epoch_seconds
from milepost.changes.batches import Batch
from milepost.changes.edits import edit, reach
from milepost.changes.entries import ChangeLogEntry, Row
from milepost.changes.nesting import adopt, convert, inherited
from milepost.changes.notifying import Observer, Observers
from milepost.changes.patches import json_patch
from milepost.changes.snapshots import Snapshots
from milepost.changes.tracking import Link, gate, tell
from milepost.changes.undoing import Undoing, restored
from milepost.changes.values import ATOMIC, Plain, document, freeze, frozen, kept
from milepost.errors import InvalidDefinition

__all__ = ["TrackedContainer"]


class TrackedContainer(Plain):
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

    # Observers

    def tracking_add_observer(self, observer: Observer, priority: int = 50) -> None:
        """Call an observer with every entry of this container's log, after the change.

        What it returns is awaited where it can be: in a task of the running loop, else of the one that
        ran when it was added. An observer that raises is logged and counted, and harms nothing.

        Args:
            observer: a plain or async callable of one argument.
            priority: lower ones are called first, equal ones in the order of adding.

        Raises:
            TypeError: when the observer is not callable, or the priority is no whole number.
        """
        tracking = self._tracking
        with gate:
            if tracking.observers is None:
                tracking.observers = Observers()
            tracking.observers.add(observer, priority)
            tracking.settle()

    def tracking_remove_observer(self, observer: Observer) -> bool:
        """Stop calling an observer; return whether it was there."""
        tracking = self._tracking
        with gate:
            found = tracking.observers is not None and tracking.observers.remove(observer)
            tracking.settle()
        return found

    @property
    def tracking_observer_failures(self) -> int:
        """How often an observer of this container raised."""
        observers = self._tracking.observers
        return 0 if observers is None else observers.failures

    # What is captured

    @property
    def tracking_capture_snapshots(self) -> bool:
        """Whether entries have snapshots."""
        return self._tracking.snapshots is not None

    @tracking_capture_snapshots.setter
    def tracking_capture_snapshots(self, wanted: bool) -> None:
        tracking = self._tracking
        with gate:
            if not wanted:
                tracking.snapshots = None
            elif tracking.snapshots is None:
                tracking.snapshots = Snapshots(freeze(self))
            tracking.settle()

    @property
    def tracking_capture_stack(self) -> bool:
        """Whether entries say where in the program the change was made."""
        return self._tracking.captures_stacks

    @tracking_capture_stack.setter
    def tracking_capture_stack(self, wanted: bool) -> None:
        with gate:
            self._tracking.captures_stacks = bool(wanted)
            self._tracking.settle()

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

    # What the kinds of containers share

    def _tracking_setup(
        self,
        *,
        history: Any = None,
        name: str | None = None,
        auto_convert: bool | None = None,
        capture_snapshots: bool | None = None,
        capture_stack: bool | None = None,
        redact: Iterable[str] = (),
        observers: Iterable[Observer] = (),
        clock: Clock | None = None,
    ) -> None:
        """Take the settings. What is None stays as it is."""
        tracking = self._tracking
        if history is not None:
            tracking.limit(history)
        if name is not None:
            if not isinstance(name, str):
                raise InvalidDefinition(f"tracking_name must be text, got {name!r}")
            tracking.name = name
        if isinstance(redact, str):
            raise InvalidDefinition(f"tracking_redact must be a collection of names, got the text {redact!r}")
        tracking.hide(redact)
        if clock is not None:
            tracking.clock, tracking.now = clock, clock.time
        if auto_convert is not None:
            tracking.auto_convert = bool(auto_convert)
        self._tracking_settle_children()
        tracking.ready = True
        if capture_snapshots is not None:
            self.tracking_capture_snapshots = capture_snapshots
        if capture_stack is not None:
            self.tracking_capture_stack = capture_stack
        for observer in observers:
            self.tracking_add_observer(observer)
        if tracking.observers is not None and tracking.observers.hear_init():
            tracking.observers.tell(tracking.entry(tracking.born(self)))

    def _tracking_take(self, value: Any) -> Any:
        """Return a value as this container stores it: converted where that was asked for."""
        if value.__class__ in ATOMIC or not self._tracking.auto_convert:
            return value
        return convert(value, inherited(self._tracking))

    def _tracking_adopt(self, value: Any, key: Any) -> None:
        """Note that a value has come; a tracked one reports here from now on."""
        if value.__class__ not in ATOMIC and isinstance(value, TrackedContainer):
            adopt(self, value, key)

    def _tracking_release(self, value: Any) -> None:
        """Note that a value has gone; a tracked one reports here no longer."""
        if value.__class__ not in ATOMIC and isinstance(value, TrackedContainer):
            value._tracking.let_go_by(self)

    def _tracking_before_removal(self) -> None:
        """Let a batch note the order of things, where there is one."""
        tracking = self._tracking
        if tracking.busy:
            for owner, _ in tracking.owners(self):
                if owner.batch is not None:
                    owner.batch.note_order(self)
                    return

    def _tracking_tree(self) -> Iterator[TrackedContainer]:
        """Iterate over this container and all tracked ones in it, each once."""
        pending: list[TrackedContainer] = [self._tracking_holder()]
        seen: set[int] = set()
        while pending:
            container = pending.pop()
            if id(container) not in seen:
                seen.add(id(container))
                yield container
                pending += [
                    child._tracking_holder()
                    for child in container._tracking_values()
                    if isinstance(child, TrackedContainer)
                ]

    def _tracking_holder(self) -> TrackedContainer:
        """Return the container that holds the values."""
        return self

    def _tracking_change(self, action: str, location: Any, old: Any, new: Any) -> None:
        """Change this container as :func:`milepost.changes.edits.edit` does, and log it."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            self._tracking_edit(location, old, new)
            heard = tracking.record(self, action, location, kept(old), kept(new))
        if heard:
            tell(heard)

    @abstractmethod
    def _tracking_settle_children(self) -> None:
        """Convert and adopt what is already here."""

    @abstractmethod
    def _tracking_values(self) -> Iterable[Any]:
        """Return the values in which tracked containers may be."""

    @abstractmethod
    def _tracking_keys_of(self, child: Any, link: Link) -> list[Any]:
        """Return where a child is."""

    @abstractmethod
    def _tracking_edit(self, location: Any, old: Any, new: Any) -> None:
        """Change this container as :func:`milepost.changes.edits.edit` does, without logging it."""

    @abstractmethod
    def _tracking_blank(self) -> Self:
        """Return an empty container of this type, with these settings."""

    def _tracking_reorder(self, order: list[Any]) -> None:
        """Put keys into an order again."""


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
