"""Values as the log keeps them: copies that later changes do not reach, plain, redacted and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from uuid import UUID

from milepost.codec import canonical, to_jsonable
from milepost.errors import InvalidDefinition

if TYPE_CHECKING:
    from milepost.changes.tracking import Tracking

__all__ = [
    "ATOMIC",
    "HIDDEN",
    "MISSING",
    "WHOLE",
    "Kept",
    "Plain",
    "document",
    "freeze",
    "frozen",
    "jsonable",
    "kept",
    "live",
    "redacted",
    "same",
]


class _Marker:
    """A value that is no user's."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name


MISSING: Final = _Marker("MISSING")
"""There was, or is, nothing at this place."""
WHOLE: Final = _Marker("WHOLE")
"""The location of a change that is not about one place."""
HIDDEN: Final = "***"
"""What is shown of a redacted field."""

ATOMIC: Final[frozenset[type]] = frozenset(
    {str, int, float, bool, NoneType, bytes, complex, Decimal, datetime, date, time, timedelta, UUID, range, _Marker}
)
"""Types whose values hold nothing that could change. A lookup here is all that most writes pay."""


class Plain:
    """The base of tracked containers: what can be copied without its tracking."""

    __slots__ = ()

    _tracking: Tracking

    def _tracking_plain(self, memo: dict[int, Any]) -> Any:
        """Return a deep plain copy: dicts, lists and sets with nothing tracked in them."""
        raise NotImplementedError

    def _tracking_like(self, contents: Any) -> Self:
        """Return another container of this type, with these settings and plain contents."""
        raise NotImplementedError


class Kept(NamedTuple):
    """A value that may change after it was logged: the object, and what it was."""

    value: Any
    was: Any


def kept(value: Any) -> Any:
    """Return what the log keeps of a value: itself where it cannot change, else a :class:`Kept`."""
    if value.__class__ in ATOMIC:
        return value
    try:
        copy = freeze(value)
    except RecursionError:  # nested deeper than Python can follow: it is held as it is
        return value
    return value if copy is value else Kept(value, copy)


def frozen(value: Any) -> Any:
    """Return what a logged value was at the time. The caller must not change it."""
    return value.was if value.__class__ is Kept else value


def live(value: Any) -> Any:
    """Return the object that was logged, whatever has become of it."""
    return value.value if value.__class__ is Kept else value


def freeze(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return a deep copy of dicts, lists, sets and tuples; values of other types are shared.

    Tracked containers become plain ones. What is in several places becomes several copies; what holds
    itself does so in the copy.

    Args:
        value: the value.
        memo: the copies of what this value is in, by the id of the original.
    """
    kind = value.__class__
    if kind in ATOMIC:
        return value
    if memo is None:
        memo = {}
    known = memo.get(id(value))
    if known is not None:
        return known
    if isinstance(value, Plain):
        return value._tracking_plain(memo)
    if kind is dict:
        copied: dict[Any, Any] = {}
        memo[id(value)] = copied
        for key, item in value.items():
            copied[key] = item if item.__class__ in ATOMIC else freeze(item, memo)
        del memo[id(value)]
        return copied
    if kind is list:
        items: list[Any] = []
        memo[id(value)] = items
        items.extend(item if item.__class__ in ATOMIC else freeze(item, memo) for item in value)
        del memo[id(value)]
        return items
    if kind is set:
        return set(value)
    if kind is bytearray:
        return bytearray(value)
    if kind is tuple:
        parts = tuple(freeze(item, memo) for item in value)
        return parts if any(new is not old for new, old in zip(parts, value, strict=True)) else value
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values are of one type and equal. Values that cannot be compared are not the same."""
    if one is other:
        return True
    try:
        return bool(one.__class__ is other.__class__ and one == other)
    except Exception:  # a user's __eq__
        return False


def redacted(value: Any, names: frozenset[str]) -> Any:
    """Return a value with the fields of these names hidden, at every depth of dicts, lists and tuples."""
    if value.__class__ in ATOMIC or not names:
        return value
    if isinstance(value, dict):
        return {key: HIDDEN if key in names else redacted(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item, names) for item in value]
    if value.__class__ is tuple:
        return tuple(redacted(item, names) for item in value)
    return value


def _leaf(value: Any) -> Any:
    try:
        return to_jsonable(value, "value")
    except InvalidDefinition:
        if isinstance(value, int) and not isinstance(value, bool):
            return int(value)  # JSON itself has no largest integer
    try:
        return {"$repr": repr(value)}
    except Exception as error:  # a user's __repr__
        return {"$repr": f"<{type(value).__name__} whose repr raises {type(error).__name__}>"}


def _is_text(value: Any) -> bool:
    """Whether a value is text that can be encoded."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def jsonable(value: Any, within: tuple[int, ...] = ()) -> Any:
    """Return a value as JSON can carry it, its types kept as tags (``{"$decimal": "1.50"}``).

    What JSON has no form for becomes ``{"$repr": ...}``; so does what holds itself.
    """
    if id(value) in within:
        return {"$repr": "..."}
    inner = (*within, id(value))
    if isinstance(value, Mapping):
        pairs = [(key, jsonable(item, inner)) for key, item in value.items()]
        if all(_is_text(key) for key, _ in pairs) and not (len(pairs) == 1 and pairs[0][0].startswith("$")):
            return {str(key): item for key, item in pairs}
        return {"$dict": [[jsonable(key, inner), item] for key, item in pairs]}
    if isinstance(value, list):
        return [jsonable(item, inner) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [jsonable(item, inner) for item in value]}
    if isinstance(value, range):
        return f"{value.start}:{value.stop}" + (f":{value.step}" if value.step != 1 else "")
    if isinstance(value, Set):
        items = [jsonable(item, inner) for item in value]
        return {"$frozenset" if isinstance(value, frozenset) else "$set": sorted(items, key=canonical)}
    return _leaf(value)


def document(value: Any, hidden: frozenset[str] = frozenset(), within: tuple[int, ...] = ()) -> Any:
    """Return a value as an ordinary JSON document, for patches: keys are text, tuples and sets are arrays.

    A set's array is in a fixed order of its own. Fields with hidden names are left out.
    """
    if id(value) in within:
        return {"$repr": "..."}
    inner = (*within, id(value))
    if isinstance(value, Mapping):
        return {
            key if _is_text(key) else repr(key): document(item, hidden, inner)
            for key, item in value.items()
            if not (isinstance(key, str) and key in hidden)
        }
    if isinstance(value, list | tuple):
        return [document(item, hidden, inner) for item in value]
    if isinstance(value, Set):
        return sorted((document(item, hidden, inner) for item in value), key=canonical)
    return _leaf(value)
