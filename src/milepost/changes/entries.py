"""An entry of the change log: a small immutable value, made into text or JSON when somebody asks."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from milepost._clock import utc
from milepost.changes.snapshots import Delta, Node, snapshot_at
from milepost.changes.stacks import Stack, stack_text
from milepost.changes.values import HIDDEN, MISSING, WHOLE, freeze, frozen, jsonable, redacted
from milepost.codec import dumps

if TYPE_CHECKING:
    from milepost.changes.tracking import Tracking

__all__ = ["ChangeLogEntry", "Row", "numbers"]


class _Numbers:
    """The numbers of entries: of one process's the later are greater, and no other process has them."""

    __slots__ = ("next",)

    next: Callable[[], int]

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin a run of numbers; also after a fork."""
        self.next = count(secrets.randbits(80) << 48).__next__


numbers: Final = _Numbers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=numbers.begin)


class Row(NamedTuple):
    """What a log holds for one change; users get it as a :class:`ChangeLogEntry`."""

    number: int
    time: float
    action: str
    location: Any
    """A key, an index, a range of indices, an item, or ``WHOLE``."""
    old: Any
    """``MISSING``, an atomic value, or a ``Kept``."""
    new: Any
    actor: str
    origin: Tracking
    """The tracking of the container that was changed."""
    prefix: tuple[Any, ...]
    """The way from the container that has the log to the one that was changed."""
    also: tuple[tuple[Any, ...], ...]
    """Further ways, where it is held in several places."""
    node: Node | None
    stack: Stack | None
    parts: tuple[Row, ...] | None
    """The changes of a batch."""
    about: int
    """The number of the row that this one undoes or does again; 0 for any other."""

    def deltas(self) -> Iterator[Delta]:
        """Iterate over what the changes do to a plain copy of the container that has the log."""
        for step in self.steps():
            for way in (step.prefix, *step.also):
                yield way, step.location, step.old, step.new

    def steps(self) -> Iterator[Row]:
        """Iterate over the single changes."""
        if self.parts is None:
            yield self
        else:
            for part in self.parts:
                yield from part.steps()


class ChangeLogEntry:
    """One change of a tracked container.

    Entries are equal when they are about the same change. The values in them are copies, as they
    were when the change was made; redacted fields show ``"***"``.
    """

    __slots__ = ("_redact", "_row")

    def __init__(self, row: Row, redact: frozenset[str] = frozenset()) -> None:
        self._row = row
        self._redact = redact

    @property
    def id(self) -> str:
        """The entry's id, 32 hexadecimal digits; of one process's entries the later has the greater."""
        return f"{self._row.number:032x}"

    @property
    def uuid(self) -> str:
        """An older spelling of :attr:`id`."""
        return self.id

    @property
    def container_id(self) -> str:
        """The id of the container that was changed."""
        return self._row.origin.id

    @property
    def tracked_item_uuid(self) -> str:
        """An older spelling of :attr:`container_id`."""
        return self.container_id

    @property
    def container(self) -> str:
        """The name of the container that was changed, or its type's name."""
        return self._row.origin.name or self.type

    @property
    def type(self) -> str:
        """The name of the changed container's type, such as ``"TrackedDict"``."""
        return self._row.origin.kind

    @property
    def time(self) -> datetime:
        """When the change was made, in UTC."""
        return utc(self._row.time)

    @property
    def created_time(self) -> datetime:
        """An older spelling of :attr:`time`."""
        return self.time

    @property
    def action(self) -> str:
        """What was done: ``add``, ``update``, ``remove``, ``clear``, ``sort``, ``reverse``, ``batch``, ``undo``,
        ``redo``, or ``init``.
        """
        return self._row.action

    @property
    def location(self) -> Any:
        """The key, index, range of indices, attribute or item; None where the change is about all of it."""
        location = self._row.location
        return None if location is WHOLE else location

    @property
    def path(self) -> tuple[Any, ...]:
        """The way from the container whose log this is to the place of the change."""
        row = self._row
        return row.prefix if row.location is WHOLE else (*row.prefix, row.location)

    @property
    def old(self) -> Any:
        """The value before; None where there was none. Of a change in many places, all of them."""
        return self._shown(self._row.old)

    @property
    def new(self) -> Any:
        """The value after; None where there is none."""
        return self._shown(self._row.new)

    @property
    def old_value(self) -> Any:
        """The same as :attr:`old`."""
        return self.old

    @property
    def new_value(self) -> Any:
        """The same as :attr:`new`."""
        return self.new

    @property
    def actor(self) -> str:
        """Who made the change; empty where nobody was named."""
        return self._row.actor

    @property
    def snapshot(self) -> Any:
        """What the container that has this log held after the change, plain; None unless snapshots are captured."""
        return None if self._row.node is None else redacted(snapshot_at(self._row.node), self._redact)

    @property
    def snapshot_before(self) -> Any:
        """The same, before the change."""
        node = self._row.node
        return None if node is None else redacted(snapshot_at(node, before=True), self._redact)

    @property
    def stack(self) -> list[str]:
        """Where the change was made, a line for each frame; empty unless stacks are captured."""
        return [] if self._row.stack is None else stack_text(self._row.stack)

    @property
    def changes(self) -> tuple[ChangeLogEntry, ...]:
        """The changes that a batch is made of; of any other entry, itself."""
        if self._row.parts is None:
            return (self,)
        return tuple(ChangeLogEntry(part, self._redact) for part in self._row.parts)

    @property
    def extra(self) -> dict[str, Any]:
        """What there is to say as a dict: ``type``, ``action``, ``location``, ``path``, ``value``, ``old``, ``new``.

        ``value`` is the new value, or the one that was removed. Where snapshots are captured there
        are ``data_pre_change`` and ``data_post_change`` too.
        """
        old, new = self.old, self.new
        said = {
            "type": self.type,
            "action": self.action,
            "location": self.location,
            "path": self.path,
            "value": old if self._row.new is MISSING else new,
            "old": old,
            "new": new,
        }
        if self._row.node is not None:
            said["data_pre_change"] = self.snapshot_before
            said["data_post_change"] = self.snapshot
        return said

    def _shown(self, value: Any) -> Any:
        value = frozen(value)
        if value is MISSING:
            return None
        if not self._redact:
            return freeze(value)
        row = self._row
        if any(isinstance(key, str) and key in self._redact for key in (*row.prefix, row.location)):
            return HIDDEN
        return redacted(freeze(value), self._redact)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON can carry it; values of types that JSON lacks are tagged."""
        row = self._row
        said: dict[str, Any] = {
            "id": self.id,
            "container_id": self.container_id,
            "container": self.container,
            "type": self.type,
            "time": self.time.isoformat(),
            "action": self.action,
            "location": jsonable(self.location),
            "path": [jsonable(key) for key in self.path],
            "actor": self.actor,
        }
        if row.parts is None:
            if row.old is not MISSING:
                said["old"] = jsonable(self.old)
            if row.new is not MISSING:
                said["new"] = jsonable(self.new)
        else:
            said["changes"] = [entry.to_dict() for entry in self.changes]
        if row.node is not None:
            said["snapshot"] = jsonable(self.snapshot)
        if row.stack is not None:
            said["stack"] = self.stack
        return said

    def to_json(self) -> str:
        """Return the entry as one line of JSON."""
        return dumps(self.to_dict())

    def __str__(self) -> str:
        row = self._row
        where = "".join(f"[{_shown_range(key) if isinstance(key, range) else repr(key)}]" for key in self.path)
        what = f"{self.time:%Y-%m-%d %H:%M:%S.%f} {self.container}{where} {self.action}"
        if row.parts is not None:
            what += f" of {len(row.parts)} changes"
        elif row.old is MISSING:
            what += f": {self.new!r}"
        elif row.new is MISSING:
            what += f": {self.old!r}"
        else:
            what += f": {self.old!r} -> {self.new!r}"
        return what + (f" by {row.actor}" if row.actor else "")

    def __repr__(self) -> str:
        return f"<ChangeLogEntry {self}>"

    def __eq__(self, other: object) -> bool:
        return self._row.number == other._row.number if isinstance(other, ChangeLogEntry) else NotImplemented

    def __lt__(self, other: ChangeLogEntry) -> bool:
        if not isinstance(other, ChangeLogEntry):
            return NotImplemented
        return (self._row.time, self._row.number) < (other._row.time, other._row.number)

    def __copy__(self) -> ChangeLogEntry:
        return self

    def __deepcopy__(self, memo: object) -> ChangeLogEntry:
        return self

    def __hash__(self) -> int:
        return hash(self._row.number)


def _shown_range(span: range) -> str:
    return f"{span.start}:{span.stop}" + (f":{span.step}" if span.step != 1 else "")
