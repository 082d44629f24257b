"""``TrackedDict``: a dict that logs what is done to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self, TypeVar, cast

from milepost._clock import Clock
from milepost.changes.copying import Copied
from milepost.changes.notifying import Observer
from milepost.changes.tracking import Link, Tracking, gate, tell
from milepost.changes.values import ATOMIC, MISSING, WHOLE, freeze, kept

__all__ = ["TrackedDict"]

K = TypeVar("K")
V = TypeVar("V")

_get: Final = dict.get
_set: Final = dict.__setitem__
_delete: Final = dict.__delitem__


class TrackedDict(Copied, dict[K, V]):
    """A dict that logs every change: ``TrackedDict({"status": "new"}, tracking_auto_convert=True)``.

    It does what a dict does, and takes what ``dict`` takes, but for the names below; an item with such a name
    goes into the mapping.

    Args:
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
        self = dict.__new__(cls)
        self._tracking = Tracking(cls.__name__)
        return self

    def __init__(
        self,
        /,
        *args: Any,
        history: int | None = None,
        tracking_name: str | None = None,
        tracking_auto_convert: bool | None = None,
        tracking_capture_snapshots: bool | None = None,
        tracking_capture_stack: bool | None = None,
        tracking_redact: Iterable[str] = (),
        tracking_observers: Iterable[Observer] = (),
        tracking_clock: Clock | None = None,
        **kwargs: Any,
    ) -> None:
        if self._tracking.ready:
            self.update(*args, **kwargs)
        else:
            dict.__init__(self, *args, **kwargs)
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

    @classmethod
    def fromkeys(cls, iterable: Iterable[Any], value: Any = None, /) -> Any:
        """Return a new one with these keys, all with the same value; nothing is logged."""
        made = cls()
        if cls.__setitem__ is TrackedDict.__setitem__ and type(made) is cls and not made:
            made._tracking_fill(dict.fromkeys(iterable, value))
        else:
            for key in iterable:
                made[key] = value
        return made

    def __setitem__(self, key: K, value: V) -> None:
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            old = _get(self, key, MISSING)
            if value.__class__ in ATOMIC and old.__class__ in ATOMIC:
                _set(self, key, value)
                heard = tracking.record(self, "add" if old is MISSING else "update", key, old, value)
            else:
                heard = self._put(key, value, old)
        if heard:
            tell(heard)

    def _put(self, key: Any, value: Any, old: Any) -> Any:
        value = self._tracking_take(value)
        was = kept(old)
        _set(self, key, value)
        if value is not old:
            self._tracking_release(old)
            self._tracking_adopt(value, key)
        return self._tracking.record(self, "add" if old is MISSING else "update", key, was, kept(value))

    def __delitem__(self, key: K) -> None:
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            old = _get(self, key, MISSING)
            if old is MISSING:
                _delete(self, key)  # raises what a dict raises
            heard = self._take_out(key, old)
        if heard:
            tell(heard)

    def _take_out(self, key: Any, old: Any) -> Any:
        self._tracking_before_removal()
        was = kept(old)
        _delete(self, key)
        self._tracking_release(old)
        return self._tracking.record(self, "remove", key, was, MISSING)

    def pop(self, key: Any, default: Any = MISSING, /) -> Any:
        """Remove a key and return its value, or the default; ``KeyError`` without either."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        heard = None
        with gate:
            value = _get(self, key, MISSING) if self else MISSING
            if value is MISSING:
                if default is MISSING:
                    raise KeyError(key)
                return default
            heard = self._take_out(key, value)
        if heard:
            tell(heard)
        return value

    def popitem(self) -> tuple[K, V]:
        """Remove and return the last pair; ``KeyError`` when there is none."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            self._tracking_before_removal()
            key, value = dict.popitem(self)
            self._tracking_release(value)
            heard = tracking.record(self, "remove", key, kept(value), MISSING)
        if heard:
            tell(heard)
        return key, value

    def setdefault(self, key: Any, default: Any = None, /) -> Any:
        """Return the value at a key, after putting the default there if there was none."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        heard = None
        with gate:
            value: Any = _get(self, key, MISSING)
            if value is MISSING:
                heard = self._put(key, default, MISSING)
                value = _get(self, key)
        if heard:
            tell(heard)
        return value

    def update(self, /, *args: Any, **kwargs: Any) -> None:
        """Put many values; one entry. When the argument fails halfway, nothing has been put."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        staged: dict[Any, Any] = {}
        staged.update(*args, **kwargs)
        if not staged:
            return
        with gate:
            new = {key: self._tracking_take(value) for key, value in staged.items()}
            old = {key: _get(self, key) for key in new if key in self}
            was = kept(old)
            self._tracking_edit(WHOLE, old, new)
            heard = tracking.record(self, "update", WHOLE, was, kept(new))
        if heard:
            tell(heard)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def clear(self) -> None:
        """Remove everything."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            if not self:
                return
            self._tracking_before_removal()
            old = dict(self)
            was = kept(old)
            self._tracking_edit(WHOLE, old, {})
            heard = tracking.record(self, "clear", WHOLE, was, kept({}))
        if heard:
            tell(heard)

    def copy(self, *, untracked: bool = True) -> Any:
        """Return a shallow copy.

        Args:
            untracked: a plain dict, and plain copies of what is tracked in it; else a tracked one
                with the same settings, a log of its own, and the same values.
        """
        if untracked:
            return {key: self._tracking_untracked(value) for key, value in self.items()}
        return self._tracking_like(self)

    def _tracking_plain(self, memo: dict[int, Any]) -> dict[Any, Any]:
        if id(self) in memo:  # an object that holds itself comes here by way of its attributes
            return cast(dict[Any, Any], memo[id(self)])
        copied: dict[Any, Any] = {}
        memo[id(self)] = copied
        for key, value in self.items():
            copied[key] = value if value.__class__ in ATOMIC else freeze(value, memo)
        del memo[id(self)]
        return copied

    def _tracking_settle_children(self) -> None:
        with gate:
            for key, value in self.items():
                if value.__class__ in ATOMIC:
                    continue
                taken = self._tracking_take(value)
                if taken is not value:
                    _set(self, key, taken)  # the key is there: the iteration is not disturbed
                if taken is not value or not self._tracking.ready:
                    self._tracking_adopt(taken, key)

    def _tracking_values(self) -> Iterable[Any]:
        return self.values()

    def _tracking_keys_of(self, child: Any, link: Link) -> list[Any]:
        if link.count == 1 and _get(self, link.hint) is child:
            return [link.hint]
        return [key for key, value in self.items() if value is child]

    def _tracking_edit(self, location: Any, old: Any, new: Any) -> None:
        if location is not WHOLE:
            old = {} if old is MISSING else {location: old}
            new = {} if new is MISSING else {location: new}
        for key in old:
            if key in self:
                self._tracking_release(_get(self, key))
                if key not in new:
                    _delete(self, key)
        for key, value in new.items():
            _set(self, key, value)
            self._tracking_adopt(value, key)

    def _tracking_reorder(self, order: list[Any]) -> None:
        items = {key: _get(self, key) for key in order if key in self}
        dict.clear(self)
        dict.update(self, items)

    def _tracking_fill(self, contents: Mapping[Any, Any]) -> None:
        dict.update(self, contents)
        self._tracking_settle_children()

    def _tracking_shallow(self) -> dict[K, V]:
        return dict(self)
