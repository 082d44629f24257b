"""The tracking of one container: its log, its settings, who listens, and which containers hold it.

Whatever threads do to containers happens under one lock, the gate, so that contents, logs and paths agree.
Observers are called outside it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn
from uuid import uuid4

from milepost._clock import Clock, SystemClock
from milepost.changes.actors import current_actor
from milepost.changes.entries import ChangeLogEntry, Row, numbers
from milepost.changes.notifying import Observers
from milepost.changes.snapshots import Snapshots
from milepost.changes.stacks import capture_stack
from milepost.changes.undoing import Undoing
from milepost.changes.values import MISSING, WHOLE, Plain, kept, live
from milepost.errors import ContainerLocked, InvalidDefinition

if TYPE_CHECKING:
    from milepost.changes.batches import Batch
    from milepost.changes.containers import TrackedContainer

__all__ = ["DEFAULT_HISTORY", "Heard", "Link", "Tracking", "gate", "tell"]

DEFAULT_HISTORY: Final = 10_000

gate: Final = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=gate.acquire, after_in_parent=gate.release, after_in_child=gate.release)

Heard = list[tuple["Tracking", Row]]
"""Whose observers are to be told of which rows."""


class Link:
    """That a container is held by another one."""

    __slots__ = ("count", "hint", "parent")

    def __init__(self, parent: TrackedContainer, hint: Any) -> None:
        self.parent = weakref.ref(parent)
        self.hint = hint
        """Where it was last seen there."""
        self.count = 1
        """In how many places it is there."""


class Tracking:
    """What tracking knows of one container.

    ``busy`` says whether a change is more than a row for this container's own log, so that most
    writes have one thing to ask.
    """

    __slots__ = (
        "_id",
        "appended",
        "auto_convert",
        "batch",
        "busy",
        "captures_stacks",
        "clock",
        "face",
        "fresh",
        "history",
        "kind",
        "links",
        "locked",
        "log",
        "name",
        "now",
        "observers",
        "ready",
        "redact",
        "snapshots",
        "undoing",
    )  # fmt: skip

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.ready = False
        self.fresh = False
        """Whether it was made by a conversion that no observer has heard of."""
        self.busy = False
        self.locked = False
        self.name = ""
        self.auto_convert = False
        self.captures_stacks = False
        self.history = DEFAULT_HISTORY
        self.redact: frozenset[str] = frozenset()
        self.clock: Clock = _CLOCK
        self.now = _CLOCK.time
        self.log: deque[Row] | None = None
        self.appended = 0
        self.observers: Observers | None = None
        self.snapshots: Snapshots | None = None
        self.undoing: Undoing | None = None
        self.batch: Batch | None = None
        self.links: dict[int, Link] | None = None
        self.face: weakref.ref[Any] | None = None
        """What users hold, where that is not the container that holds the values."""
        self._id = ""

    @property
    def id(self) -> str:
        """The container's id, 32 hexadecimal digits."""
        if not self._id:
            with gate:
                self._id = self._id or uuid4().hex
        return self._id

    @property
    def dropped(self) -> int:
        """How many entries the log had to let go."""
        return self.appended - len(self.log or ())

    def rows(self) -> list[Row]:
        """Return what is in the log."""
        with gate:
            return list(self.log or ())

    def entry(self, row: Row) -> ChangeLogEntry:
        """Return a row as users see it."""
        return ChangeLogEntry(row, self.redact)

    def refuse(self) -> NoReturn:
        """Refuse a change.

        Raises:
            ContainerLocked: always.
        """
        raise ContainerLocked(self.name or self.kind)

    def settle(self) -> None:
        """Find out again whether this container is busy."""
        self.busy = bool(
            self.links
            or self.captures_stacks
            or self.snapshots is not None
            or self.batch is not None
            or self.undoing is not None
            or (self.observers is not None and self.observers.registered)
        )

    def record(self, holder: TrackedContainer, action: str, location: Any, old: Any, new: Any) -> Heard | None:
        """Log a change that was made, here and in every ancestor. The caller holds the gate.

        Args:
            holder: the container.
            action: what was done.
            location: where; see :func:`milepost.changes.edits.edit`.
            old: what was there, as kept.
            new: what is there, as kept.

        Returns:
            Who has to be told, once the gate is released.
        """
        number, actor = numbers.next(), current_actor()
        row = _make(Row, (number, self.now(), action, location, old, new, actor, self, (), (), None, None, None, 0))
        if self.busy:
            return self._spread(holder, row)
        log = self.log
        if log is None:
            log = self.log = deque(maxlen=self.history)
        log.append(row)
        self.appended += 1
        return None

    def enter(self, row: Row) -> Row:
        """Put a row into this container's own log; return it, with its snapshot."""
        if self.snapshots is not None:
            row = row._replace(node=self.snapshots.advance(row.deltas()))
        if self.log is None:
            self.log = deque(maxlen=self.history)
        self.log.append(row)
        self.appended += 1
        if self.undoing is not None:
            self.undoing.note(row)
        return row

    def _spread(self, holder: TrackedContainer, row: Row) -> Heard | None:
        owned = [
            (
                owner,
                row._replace(
                    prefix=ways[0], also=tuple(ways[1:]), stack=capture_stack() if owner.captures_stacks else None
                ),
            )
            for owner, ways in self.owners(holder)
        ]
        batch = next((owner.batch for owner, _ in owned if owner.batch is not None), None)
        if batch is not None:
            batch.note(holder, owned)
            return None
        heard = hear((owner, owner.enter(mine)) for owner, mine in owned)
        return [*_births(owned), *heard] if heard else None

    def owners(self, holder: TrackedContainer) -> list[tuple[Tracking, list[tuple[Any, ...]]]]:
        """Return every container whose log is concerned by a change of this one, with the ways from there to here."""
        found: dict[int, tuple[Tracking, list[tuple[Any, ...]]]] = {}
        climbing: list[tuple[Tracking, TrackedContainer, tuple[Any, ...], tuple[int, ...]]] = [(self, holder, (), ())]
        for tracking, container, way, below in climbing:  # which grows meanwhile
            if id(tracking) in below:  # it holds itself
                continue
            found.setdefault(id(tracking), (tracking, []))[1].append(way)
            if tracking.links:
                child = container if tracking.face is None else tracking.face()
                for parent, key in tracking.places(child):
                    climbing.append((parent._tracking, parent, (key, *way), (*below, id(tracking))))
        return list(found.values())

    def places(self, child: Any) -> Iterator[tuple[TrackedContainer, Any]]:
        """Iterate over the containers that hold this one, with the key or index that it has there."""
        for number, link in list((self.links or {}).items()):
            parent = link.parent()
            keys = [] if parent is None else parent._tracking_keys_of(child, link)
            if parent is None or not keys:
                assert self.links is not None
                del self.links[number]
                self.settle()
                continue
            link.hint = keys[0]
            for key in keys:
                yield parent, key

    def held_by(self, parent: TrackedContainer, key: Any) -> None:
        """Note that a container has got this one, at a key."""
        if self.links is None:
            self.links = {}
        link = self.links.get(id(parent))
        if link is not None and link.parent() is parent:
            link.count += 1
            link.hint = key
        else:
            self.links[id(parent)] = Link(parent, key)
        self.busy = True

    def moved_in(self, parent: TrackedContainer, key: Any) -> None:
        """Note where a container has this one now."""
        link = None if self.links is None else self.links.get(id(parent))
        if link is not None:
            link.hint = key

    def let_go_by(self, parent: TrackedContainer) -> None:
        """Note that a container no longer has this one, in one place."""
        link = None if self.links is None else self.links.get(id(parent))
        if link is None or link.parent() is not parent:
            return
        link.count -= 1
        if not link.count:
            assert self.links is not None
            del self.links[id(parent)]
            self.settle()

    def hide(self, names: Iterable[str]) -> None:
        """Redact more fields."""
        self.redact |= frozenset(names)

    def born(self, contents: Any, prefix: tuple[Any, ...] = ()) -> Row:
        """Return the row that says what a new container holds. It goes to observers that ask for it, into no log."""
        self.fresh = False
        return Row(
            numbers.next(), self.now(), "init", WHOLE, MISSING, kept(contents), current_actor(), self,
            prefix, (), None, None, None, 0,
        )  # fmt: skip

    def limit(self, history: Any) -> None:
        """Set how many entries the log holds.

        Raises:
            InvalidDefinition: when that is no whole number of at least 0.
        """
        if isinstance(history, bool) or not isinstance(history, int) or history < 0:
            raise InvalidDefinition(f"history must be a whole number of at least 0, got {history!r}")
        self.history = history
        if self.log is not None:
            self.log = deque(self.log, maxlen=history)


_CLOCK: Final = SystemClock()
_make: Final = tuple.__new__


def hear(entered: Iterable[tuple[Tracking, Row]]) -> Heard | None:
    """Return those that have observers."""
    heard = [(owner, row) for owner, row in entered if owner.observers is not None and owner.observers.registered]
    return heard or None


def _births(owned: list[tuple[Tracking, Row]]) -> Heard:
    """Return the rows that announce children made by a conversion, for the observers that ask for them."""
    listening = [(owner, row) for owner, row in owned if owner.observers is not None and owner.observers.hear_init()]
    if not listening:
        return []
    new, location = live(owned[0][1].new), owned[0][1].location
    arrived: list[tuple[Any, Any]] = [(location, new)]
    if location is WHOLE or isinstance(location, range):
        first = location.start if isinstance(location, range) else 0
        arrived = list(new.items()) if isinstance(new, dict) else list(enumerate(new, first))
    births: Heard = []
    for key, child in arrived:
        if isinstance(child, Plain) and child._tracking.fresh:
            births += [(owner, child._tracking.born(child, (*row.prefix, key))) for owner, row in listening]
    return births


def tell(heard: Heard) -> None:
    """Call observers; not while holding the gate."""
    for owner, row in heard:
        if owner.observers is not None:
            owner.observers.tell(owner.entry(row))
