"""``TrackedAttributes``: an object that logs what is done to its attributes."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, Self, cast

from milepost._clock import Clock
from milepost.changes.dicts import TrackedDict
from milepost.changes.notifying import Observer
from milepost.changes.remembering import Remembering
from milepost.changes.tracking import Link, Tracking

__all__ = ["TrackedAttributes"]


class TrackedAttributes(Remembering):
    """An object whose attributes are tracked; for itself, or as a base class.

    Its ``__dict__`` is a tracked dict, so that ``vars(obj)["name"] = ...`` is logged too. Properties,
    methods and class attributes are as ever; what a property stores is tracked, the property is not, and
    neither are names like ``__class__``.

    Args:
        history: how many entries the log holds; older ones are dropped and counted.
        tracking_name: what entries call this object.
        tracking_auto_convert: make plain dicts, lists and sets that are put in here tracked ones.
        tracking_capture_snapshots: give each entry a snapshot of the attributes.
        tracking_capture_stack: note where in the program each change is made.
        tracking_redact: names of attributes and fields that are never shown.
        tracking_observers: observers from the start; those that ask for it hear of the ``init``.
        tracking_clock: what tells the time of entries.
        attributes: the attributes to begin with.

    Raises:
        InvalidDefinition: for a setting that is none.
    """

    __slots__ = ("__dict__", "__weakref__")

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Self:
        self = object.__new__(cls)
        names = TrackedDict[str, Any]()
        names._tracking.kind = cls.__name__
        names._tracking.face = weakref.ref(self)
        object.__setattr__(self, "__dict__", names)
        return self

    def __init__(
        self,
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
        **attributes: Any,
    ) -> None:
        names = self._tracking_holder()
        if attributes:
            names._tracking_fill(attributes)
        names._tracking_setup(
            history=history,
            name=tracking_name,
            auto_convert=tracking_auto_convert,
            capture_snapshots=tracking_capture_snapshots,
            capture_stack=tracking_capture_stack,
            redact=tracking_redact,
            observers=tracking_observers,
            clock=tracking_clock,
        )

    @property
    def _tracking(self) -> Tracking:  # type: ignore[override]
        return self._tracking_holder()._tracking

    def _tracking_holder(self) -> TrackedDict[str, Any]:
        names: TrackedDict[str, Any] = cast(Any, self.__dict__)
        return names

    def __setattr__(self, name: str, value: Any) -> None:
        names = self._tracking_holder()
        if name == "__dict__":
            with names.batch():
                names.clear()
                names.update(value)
        elif _is_pythons(name) or hasattr(_in_class(self, name), "__set__"):
            object.__setattr__(self, name, value)
        else:
            names[name] = value

    def __delattr__(self, name: str) -> None:
        names = self._tracking_holder()
        if name in names and not hasattr(_in_class(self, name), "__delete__"):
            del names[name]
        else:
            object.__delattr__(self, name)

    def __copy__(self) -> Self:
        return self._tracking_like(dict(self._tracking_holder()))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = self._tracking_blank()
        memo[id(self)] = twin
        names = twin._tracking_holder()
        names._tracking_fill(copy.deepcopy(dict(self._tracking_holder()), memo))
        names._tracking_setup(capture_snapshots=self.tracking_capture_snapshots)
        return twin

    def __reduce_ex__(self, protocol: Any, /) -> Any:
        return _rebuilt, (type(self), self._tracking_holder())

    def copy(self, *, untracked: bool = True) -> Any:
        """Return a shallow copy.

        Args:
            untracked: a ``SimpleNamespace`` with plain copies of what is tracked in it; else a tracked
                object of this type with the same settings, a log of its own, and the same values.
        """
        if untracked:
            return SimpleNamespace(**self._tracking_holder().copy())
        return copy.copy(self)

    def _tracking_plain(self, memo: dict[int, Any]) -> dict[str, Any]:
        return self._tracking_holder()._tracking_plain(memo)

    def _tracking_blank(self) -> Self:
        twin: Self = _with_names(type(self), self._tracking_holder()._tracking_blank())
        return twin

    def _tracking_like(self, contents: Any) -> Self:
        twin: Self = _with_names(type(self), self._tracking_holder()._tracking_like(contents))
        return twin

    def _tracking_settle_children(self) -> None:
        self._tracking_holder()._tracking_settle_children()

    def _tracking_values(self) -> Iterable[Any]:
        return self._tracking_holder().values()

    def _tracking_keys_of(self, child: Any, link: Link) -> list[Any]:
        return self._tracking_holder()._tracking_keys_of(child, link)

    def _tracking_edit(self, location: Any, old: Any, new: Any) -> None:
        self._tracking_holder()._tracking_edit(location, old, new)


def _is_pythons(name: str) -> bool:
    """Whether a name is one of Python's own, such as ``__class__``."""
    return name.startswith("__") and name.endswith("__")


def _in_class(obj: object, name: str) -> Any:
    """Return what the class has under a name: a property, for one, comes before the object's own attributes."""
    for cls in type(obj).__mro__:
        if name in cls.__dict__:
            return cls.__dict__[name]
    return None


def _with_names(cls: type[TrackedAttributes], names: TrackedDict[str, Any]) -> Any:
    made = object.__new__(cls)
    names._tracking.kind = cls.__name__
    names._tracking.face = weakref.ref(made)
    object.__setattr__(made, "__dict__", names)
    return made


_rebuilt = _with_names
