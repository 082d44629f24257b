"""``TrackedList``: a list that logs what is done to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import index as as_index
from typing import Any, Final, Self, SupportsIndex, TypeVar

from milepost._clock import Clock
from milepost.changes.containers import TrackedContainer
from milepost.changes.copying import Copied
from milepost.changes.edits import edit_list
from milepost.changes.notifying import Observer
from milepost.changes.tracking import Heard, Link, Tracking, gate, tell
from milepost.changes.values import ATOMIC, MISSING, WHOLE, freeze, kept

__all__ = ["TrackedList"]

T = TypeVar("T")

_at: Final = list.__getitem__


class TrackedList(Copied, list[T]):
    """A list that logs every change: ``TrackedList([1, 2], tracking_auto_convert=True)``.

    It does what a list does. What is written in C for lists alone, such as ``heapq``, goes around it.

    Args:
        iterable: the items.
        history: how many entries the log holds; older ones are dropped and counted.
        tracking_name: what entries call this container.
        tracking_auto_convert: make plain dicts, lists and sets that are put in here tracked ones.
        tracking_capture_snapshots: give each entry a snapshot of the contents.
        tracking_capture_stack: note where in the program each change is made.
        tracking_redact: names of fields that are never shown.
        tracking_observers: observers from the start; those that ask for it hear of the ``init``.
        tracking_clock: what tells the time of entries.

    Raises:
        InvalidDefinition: for a setting that is none.
    """

    __slots__ = ("__weakref__", "_tracking")

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Self:
        self = list.__new__(cls)
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
            self[:] = iterable
        else:
            list.__init__(self, iterable)
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

    def append(self, item: T, /) -> None:
        """Add an item at the end."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            heard = self._insert(len(self), item)
        if heard:
            tell(heard)

    def insert(self, index: SupportsIndex, item: T, /) -> None:
        """Add an item before an index."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        place = as_index(index)
        with gate:
            size = len(self)
            heard = self._insert(max(0, place + size) if place < 0 else min(place, size), item)
        if heard:
            tell(heard)

    def _insert(self, place: int, item: Any) -> Heard | None:
        item = self._tracking_take(item)
        list.insert(self, place, item)
        self._tracking_adopt(item, place)
        return self._tracking.record(self, "add", place, MISSING, kept(item))

    def extend(self, iterable: Iterable[T], /) -> None:
        """Add items at the end; one entry. When the iterable fails halfway, nothing has been added."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        items = [item for item in iterable]  # noqa: C416  list() believes a __length_hint__ that extend() does not
        with gate:
            size = len(self)
            heard = self._splice("add", range(size, size + len(items)), [], items)
        if heard:
            tell(heard)

    def __iadd__(self, iterable: Iterable[T], /) -> Self:  # type: ignore[override,misc]
        self.extend(iterable)
        return self

    def __imul__(self, times: SupportsIndex, /) -> Self:
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        heard = None
        with gate:
            size = len(self)
            repeated = list.__mul__(self, times)
            if len(repeated) < size:
                heard = self._splice("clear", WHOLE, list(self), [])
            else:
                heard = self._splice("add", range(size, len(repeated)), [], repeated[size:])
        if heard:
            tell(heard)
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        if isinstance(key, slice):
            self._set_slice(key, value)
            return
        with gate:
            old = _at(self, key)
            place = as_index(key)
            place = place + len(self) if place < 0 else place
            value = self._tracking_take(value)
            was = kept(old)
            list.__setitem__(self, place, value)
            if value is not old:
                self._tracking_release(old)
                self._tracking_adopt(value, place)
            heard = tracking.record(self, "update", place, was, kept(value))
        if heard:
            tell(heard)

    def _set_slice(self, key: slice, value: Any) -> None:
        if not hasattr(type(value), "__iter__") and not hasattr(type(value), "__getitem__"):
            list.__setitem__(self, key, value)  # raises what a list raises
        items = list(value)
        with gate:
            span = _span(key, len(self))
            old = [_at(self, place) for place in span]
            if span.step != 1 and len(items) != len(old):
                list.__setitem__(self, key, items)  # raises what a list raises
            heard = self._splice("update" if old and items else "add" if items else "remove", span, old, items)
        if heard:
            tell(heard)

    def __delitem__(self, key: Any) -> None:
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            if isinstance(key, slice):
                span = _span(key, len(self))
                span = span if span.step > 0 else span[::-1]
                heard = self._splice("remove", span, [_at(self, place) for place in span], [])
            else:
                _at(self, key)
                heard, _ = self._take_out(as_index(key))
        if heard:
            tell(heard)

    def _take_out(self, place: int) -> tuple[Heard | None, Any]:
        place = place + len(self) if place < 0 else place
        old = _at(self, place)
        was = kept(old)
        list.__delitem__(self, place)
        self._tracking_release(old)
        return self._tracking.record(self, "remove", place, was, MISSING), old

    def pop(self, index: SupportsIndex = -1, /) -> Any:
        """Remove and return the item at an index; ``IndexError`` when there is none."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        place = as_index(index)
        with gate:
            if not -len(self) <= place < len(self):
                return list.pop(self, place)  # raises what a list raises
            heard, item = self._take_out(place)
        if heard:
            tell(heard)
        return item

    def remove(self, value: T, /) -> None:
        """Remove the first item that is equal; ``ValueError`` when there is none."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            place = next((n for n, item in enumerate(self) if item is value or item == value), -1)
            if place < 0 or place >= len(self):
                raise ValueError("list.remove(x): x not in list")
            heard, _ = self._take_out(place)
        if heard:
            tell(heard)

    def clear(self) -> None:
        """Remove everything."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            heard = self._splice("clear", WHOLE, list(self), [])
        if heard:
            tell(heard)

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Sort in place, stable. No entry where that moves nothing."""
        self._arrange("sort", lambda: list.sort(self, key=key, reverse=reverse))  # type: ignore[arg-type,type-var]

    def reverse(self) -> None:
        """Reverse in place. No entry where that moves nothing."""
        self._arrange("reverse", lambda: list.reverse(self))

    def _arrange(self, action: str, move: Callable[[], None]) -> None:
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        heard = None
        with gate:
            before = list(self)
            was = kept(before)
            try:
                move()
            finally:  # a sort that fails leaves the items in some order
                if len(before) != len(self) or any(new is not old for new, old in zip(self, before, strict=True)):
                    for place, item in enumerate(self):
                        if item.__class__ not in ATOMIC and isinstance(item, TrackedContainer):
                            item._tracking.moved_in(self, place)
                    heard = tracking.record(self, action, WHOLE, was, kept(list(self)))
        if heard:
            tell(heard)

    def copy(self, *, untracked: bool = True) -> Any:
        """Return a shallow copy.

        Args:
            untracked: a plain list, and plain copies of what is tracked in it; else a tracked one
                with the same settings, a log of its own, and the same items.
        """
        if untracked:
            return [self._tracking_untracked(item) for item in self]
        return self._tracking_like(self)

    def _splice(self, action: str, location: Any, old: list[Any], items: list[Any]) -> Heard | None:
        """Put items in the place of others and log it, where there are any."""
        if not old and not items:
            return None
        new = [self._tracking_take(item) for item in items]
        was = kept(old)
        self._tracking_edit(location, old, new)
        return self._tracking.record(self, action, location, was, kept(new))

    def _tracking_plain(self, memo: dict[int, Any]) -> list[Any]:
        copied: list[Any] = []
        memo[id(self)] = copied
        copied.extend(item if item.__class__ in ATOMIC else freeze(item, memo) for item in self)
        del memo[id(self)]
        return copied

    def _tracking_settle_children(self) -> None:
        with gate:
            for place, item in enumerate(self):
                if item.__class__ in ATOMIC:
                    continue
                taken = self._tracking_take(item)
                if taken is not item:
                    list.__setitem__(self, place, taken)
                if taken is not item or not self._tracking.ready:
                    self._tracking_adopt(taken, place)

    def _tracking_values(self) -> Iterable[Any]:
        return self

    def _tracking_keys_of(self, child: Any, link: Link) -> list[Any]:
        if link.count == 1:
            place = self._near(child, link.hint)
            return [] if place is None else [place]
        return [place for place, item in enumerate(self) if item is child]

    def _near(self, child: Any, hint: int) -> int | None:
        """Return the index of an item, looked for outwards from where it was: a list mostly shifts by little."""
        size = len(self)
        hint = min(hint, size)
        for distance in range(max(hint, size - hint) + 1):
            if hint + distance < size and _at(self, hint + distance) is child:
                return hint + distance
            if distance <= hint and hint - distance < size and _at(self, hint - distance) is child:
                return hint - distance
        return None

    def _tracking_edit(self, location: Any, old: Any, new: Any) -> None:
        composite = location is WHOLE or isinstance(location, range)
        for item in old if composite else () if old is MISSING else (old,):
            self._tracking_release(item)
        edit_list(_Bare(self), location, old, new)
        first = 0 if location is WHOLE else location.start if isinstance(location, range) else location
        for offset, item in enumerate(new if composite else () if new is MISSING else (new,)):
            self._tracking_adopt(item, first + offset)  # the index is a hint: paths are looked up

    def _tracking_fill(self, contents: Iterable[Any]) -> None:
        list.extend(self, contents)
        self._tracking_settle_children()

    def _tracking_shallow(self) -> list[T]:
        return list(self)


class _Bare:
    """A list's own methods, past the tracking."""

    __slots__ = ("_items",)

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __setitem__(self, key: Any, value: Any) -> None:
        list.__setitem__(self._items, key, value)

    def __delitem__(self, key: Any) -> None:
        list.__delitem__(self._items, key)

    def insert(self, index: int, item: Any) -> None:
        list.insert(self._items, index, item)


def _span(key: slice, size: int) -> range:
    """Return the indices that a slice means."""
    start, stop, step = key.indices(size)
    span = range(start, stop, step)
    if step == 1 and stop < start:
        return range(start, start)
    return span
