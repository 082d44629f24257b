"""What is done to a property: a value, a function of the value before, or nothing left of it.

A function is applied to the copy that a subject has loaded, and again to the newest value when it is committed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, ClassVar, Final

from milepost.codec import from_jsonable, to_jsonable
from milepost.subjects.rows import EXTENDED, SubjectRow, plain, property_row

__all__ = ["Deletion", "Edit", "Function", "Replacement", "checked_extra", "edit_of"]

_BY_PLACE: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Edit:
    """One change of one property.

    Args:
        row: the row that the property is kept in.
        muted: whether nobody is told.
        extra: metadata of the event.
    """

    __slots__ = ("extra", "muted", "result", "row")

    deletes: ClassVar[bool] = False
    """Whether it does not matter what the row holds, and whether it can be read."""

    def __init__(self, row: str, muted: bool, extra: Mapping[str, Any] | None) -> None:
        self.row = row
        self.muted = muted or row.startswith(EXTENDED)
        self.extra = extra
        self.result: tuple[Any, Any] | None = None
        """The new and the old value, once it is committed."""

    @property
    def name(self) -> str:
        """The property's name."""
        return self.row[len(EXTENDED) :]

    def applied(self, before: SubjectRow | None) -> SubjectRow | None:
        """Return the row that comes of the row before."""
        raise NotImplementedError


class Replacement(Edit):
    """The property gets a value, whatever it had."""

    __slots__ = ("_after",)

    def __init__(self, row: str, value: Any, muted: bool, extra: Mapping[str, Any] | None) -> None:
        super().__init__(row, muted, extra)
        self._after = SubjectRow.of(row, value, f"property {self.name!r}")

    def applied(self, before: SubjectRow | None) -> SubjectRow | None:
        return self._after


class Deletion(Edit):
    """The property goes away."""

    __slots__ = ()

    deletes: ClassVar[bool] = True

    def applied(self, before: SubjectRow | None) -> SubjectRow | None:
        return None


class Function(Edit):
    """The property gets what a function makes of the value before."""

    __slots__ = ("_default", "_function", "_takes_value")

    def __init__(
        self, row: str, function: Callable[..., Any], default: Any, muted: bool, extra: Mapping[str, Any] | None
    ) -> None:
        super().__init__(row, muted, extra)
        self._function = function
        self._default = to_jsonable(default, f"the default of property {self.name!r}")
        self._takes_value = _takes_value(function)

    def applied(self, before: SubjectRow | None) -> SubjectRow | None:
        if self._takes_value:
            made = self._function(from_jsonable(self._default) if before is None else before.value())
        else:
            made = self._function()
        if inspect.isawaitable(made):
            if inspect.iscoroutine(made):
                made.close()
            raise TypeError(f"the function for property {self.name!r} must not be async: it runs within a commit")
        return SubjectRow.of(self.row, made, f"property {self.name!r}")


def _takes_value(function: Callable[..., Any]) -> bool:
    """Whether a function takes the value before.

    Raises:
        TypeError: when it takes more than that.
    """
    if isinstance(function, FunctionType) and not hasattr(function, "__wrapped__"):
        code = function.__code__  # what most are says so itself, in a tenth of the time
        if code.co_argcount <= 1 and not code.co_kwonlyargcount and not code.co_flags & inspect.CO_VARARGS:
            return code.co_argcount == 1
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some built-in functions do not say
        return True
    required = [p for p in parameters if p.default is p.empty and p.kind in (*_BY_PLACE, p.KEYWORD_ONLY)]
    if len(required) > 1 or any(p.kind is p.KEYWORD_ONLY for p in required):
        raise TypeError(f"a function for a property takes the value before, or nothing, got {function!r}")
    return any(p.kind in (*_BY_PLACE, p.VAR_POSITIONAL) for p in parameters)


def edit_of(
    kind: str,
    name: Any,
    value: Any,
    *,
    default: Any = None,
    muted: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> Edit:
    """Return what ``set`` is asked to do.

    Args:
        kind: ``PROPERTY`` or ``EXTENDED``.
        name: the property's name.
        value: a value, or a function of the value before.
        default: what a function gets for an absent property.
        muted: whether nobody is told.
        extra: metadata of the event.

    Raises:
        TypeError: for a name that is no text, or a function of more than one argument.
        ValueError: for an empty name, or a value that cannot be stored.
    """
    row = property_row(kind, name)
    if callable(value):
        return Function(row, value, default, muted, checked_extra(extra))
    return Replacement(row, value, muted, checked_extra(extra))


def checked_extra(extra: Any) -> dict[str, Any] | None:
    """Return metadata as plain JSON values.

    Raises:
        TypeError: when it is no mapping.
        ValueError: when it holds what JSON cannot say.
    """
    if extra is None:
        return None
    if not isinstance(extra, Mapping):
        raise TypeError(f"extra must be a mapping, got {extra!r}")
    return {str(key): plain(to_jsonable(item, f"extra[{key!r}]")) for key, item in extra.items()}
