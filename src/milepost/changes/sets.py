"""``TrackedSet``: a set that logs what is done to it."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any, Self, TypeVar

from milepost._clock import Clock
from milepost.changes.copying import Copied
from milepost.changes.notifying import Observer
from milepost.changes.tracking import Heard, Link, Tracking, gate, tell
from milepost.changes.values import MISSING, WHOLE, kept

__all__ = ["TrackedSet"]

T = TypeVar("T")


class TrackedSet(Copied, set[T]):
    """A set that logs every change: ``TrackedSet({"draft"})``. It does what a set does.

    An operation on many items is one entry, whose ``old`` are the items that left and whose ``new``
    those that came. ``|=`` and its like take any set, a dict's keys too, and stay in place.

    Args:
        iterable: the items.
        history: how many entries the log holds; older ones are dropped and counted.
        tracking_name: what entries call this container.
        tracking_auto_convert: without effect: what is hashable is never converted.
        tracking_capture_snapshots: give each entry a snapshot of the contents.
        tracking_capture_stack: note where in the program each change is made.
        tracking_redact: names of fields that are never shown.
        tracking_observers: observers from the start; those that ask for it hear of the ``init``.
        tracking_clock: what tells the time of entries.

    Raises:
        InvalidDefinition: for a setting that is none.
    """

    __slots__ = ("_tracking",)  # a set has a place for weak references already

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Self:
        self = set.__new__(cls)
        self._tracking = Tracking(cls.__name__)
        return self

    def __init__(
        self,
        iterable: Iterable[T] = (),
        /,
        *,
        history: int | None = None,
        tracking_name: str | None = None,
        tracking_auto_convert: bool | None = None,
        tracking_capture_snapshots: bool | None = None,
        tracking_capture_stack: bool | None = None,
        tracking_redact: Iterable[str] = (),
        tracking_observers: Iterable[Observer] = (),
        tracking_clock: Clock | None = None,
    ) -> None:
        if self._tracking.ready:
            self._become("update", set(iterable))
        else:
            set.__init__(self, iterable)
        self._tracking_setup(
            history=history,
            name=tracking_name,
            auto_convert=tracking_auto_convert,
            capture_snapshots=tracking_capture_snapshots,
            capture_stack=tracking_capture_stack,
            redact=tracking_redact,
            observers=tracking_observers,
            clock=tracking_clock,
        )

    def add(self, item: T, /) -> None:
        """Add an item; no entry where it is there."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        heard = None
        with gate:
            size = len(self)
            set.add(self, item)
            if len(self) > size:
                heard = tracking.record(self, "add", item, MISSING, kept(item))
        if heard:
            tell(heard)

    def discard(self, item: object, /) -> None:
        """Remove an item if it is there."""
        self._remove(item)

    def remove(self, item: T, /) -> None:
        """Remove an item; ``KeyError`` when it is not there."""
        if not self._remove(item):
            raise KeyError(item)

    def _remove(self, item: Any) -> bool:
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            size = len(self)
            set.discard(self, item)
            if len(self) == size:
                return False
            if isinstance(item, set):  # the frozenset that is equal was meant
                item = frozenset(item)
            heard = tracking.record(self, "remove", item, kept(item), MISSING)
        if heard:
            tell(heard)
        return True

    def pop(self) -> T:
        """Remove and return some item; ``KeyError`` when there is none."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            item = set.pop(self)
            heard = tracking.record(self, "remove", item, kept(item), MISSING)
        if heard:
            tell(heard)
        return item

    def clear(self) -> None:
        """Remove everything."""
        self._become("clear", set())

    def update(self, *others: Iterable[Any]) -> None:
        """Add the items of others; one entry."""
        if self._tracking.locked:
            self._tracking.refuse()
        self._exchange("add", set(), set().union(*others))

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove the items of others; one entry."""
        if self._tracking.locked:
            self._tracking.refuse()
        self._exchange("remove", set().union(*others), set())

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep the items that others have too; one entry."""
        if self._tracking.locked:
            self._tracking.refuse()
        self._become("update", set.intersection(self, *others))

    def symmetric_difference_update(self, other: Iterable[T], /) -> None:
        """Keep what either this or the other has, but not both; one entry."""
        if self._tracking.locked:
            self._tracking.refuse()
        items = set(other)
        self._exchange("update", items, items)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]  # wider than a set says
        if not isinstance(other, Set):
            return NotImplemented
        self.update(other)
        return self

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]  # wider than a set says
        if not isinstance(other, Set):
            return NotImplemented
        self.difference_update(other)
        return self

    def __iand__(self, other: Any) -> Any:  # type: ignore[misc]  # wider than a set says
        if not isinstance(other, Set):
            return NotImplemented
        self.intersection_update(other)
        return self

    def __ixor__(self, other: Any) -> Any:  # type: ignore[misc]  # wider than a set says
        if not isinstance(other, Set):
            return NotImplemented
        self.symmetric_difference_update(other)
        return self

    def _become(self, action: str, items: set[Any]) -> None:
        self._exchange(action, set.difference(self, items), items)

    def _exchange(self, action: str, leave: set[Any], come: set[Any]) -> None:
        """Remove and add items and log it, where that changes anything."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            old = leave.intersection(self)  # from set to set no item is hashed again
            new = come.difference(self)
            if not old and not new:
                return
            self._tracking_edit(WHOLE, old, new)
            heard: Heard | None = tracking.record(self, action, WHOLE, kept(old), kept(new))
        if heard:
            tell(heard)

    def copy(self, *, untracked: bool = True) -> Any:
        """Return a copy.

        Args:
            untracked: a plain set; else a tracked one with the same settings and a log of its own.
        """
        return set(self) if untracked else self._tracking_like(self)

    def _tracking_plain(self, memo: dict[int, Any]) -> set[Any]:
        return set(self)

    def _tracking_settle_children(self) -> None:
        """Nothing that is hashable is a tracked container that holds anything."""

    def _tracking_values(self) -> Iterable[Any]:
        return ()

    def _tracking_keys_of(self, child: Any, link: Link) -> list[Any]:
        return []

    def _tracking_edit(self, location: Any, old: Any, new: Any) -> None:
        if location is WHOLE:
            set.difference_update(self, old)
            set.update(self, new)
        elif new is MISSING:
            set.discard(self, location)
        else:
            set.add(self, new)

    def _tracking_fill(self, contents: Iterable[Any]) -> None:
        set.update(self, contents)

    def _tracking_shallow(self) -> set[T]:
        return set(self)
