"""Decorators for a model's methods: hooks around its operations, and events around a method.

Bare, or called without an event's name, a decorator registers a hook and leaves the function as it is. With an
event's name it wraps the method, so that the event is published before or after its body, and registers nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Final, Protocol, TypeVar, overload

__all__ = [
    "Hook",
    "after_create",
    "after_delete",
    "after_save",
    "after_update",
    "after_write",
    "before_create",
    "before_delete",
    "before_save",
    "before_update",
    "before_write",
    "hooks_of",
]

F = TypeVar("F", bound=Callable[..., Any])

_MARK: Final = "__milepost_hooks__"


class _Publishing(Protocol):
    async def _publish(self, event_type: str) -> None: ...


class Hook:
    """One of the decorators.

    Args:
        when: ``"before"`` or ``"after"``.
        operation: ``"create"``, ``"update"``, ``"write"`` or ``"save"`` (each of both), or ``"delete"``.
    """

    def __init__(self, when: str, operation: str) -> None:
        self.when = when
        self.operation = operation

    def __repr__(self) -> str:
        return f"@{self.when}_{self.operation}"

    @overload
    def __call__(self, function: F, /) -> F: ...

    @overload
    def __call__(self, event: None = None, /) -> Callable[[F], F]: ...

    @overload
    def __call__(self, event: str, /) -> Callable[[Callable[..., Any]], Callable[..., Awaitable[Any]]]: ...

    def __call__(self, given: Any = None, /) -> Any:
        """Decorate a method.

        Args:
            given: the method; or an event's type, to publish that; or nothing.

        Raises:
            TypeError: for anything else.
        """
        if given is None:
            return self._register
        if isinstance(given, str):
            return functools.partial(self._wrap, given)
        if not callable(given):
            raise TypeError(f"{self!r} decorates a method, or takes an event's type, got {given!r}")
        return self._register(given)

    def _register(self, function: F) -> F:
        if not callable(function):
            raise TypeError(f"{self!r} decorates a method, got {function!r}")
        marks: tuple[Hook, ...] = getattr(function, _MARK, ())
        setattr(function, _MARK, (*marks, self))
        return function

    def _wrap(self, event: str, function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        if not event:
            raise ValueError(f"{self!r} takes an event's type, got an empty string")
        before = self.when == "before"

        @functools.wraps(function)
        async def published(model: _Publishing, /, *args: Any, **named: Any) -> Any:
            if before:
                await model._publish(event)
            answer = function(model, *args, **named)
            if isawaitable(answer):
                answer = await answer
            if not before:
                await model._publish(event)
            return answer

        return published


def hooks_of(function: Any) -> tuple[Hook, ...]:
    """Return what a function was registered for."""
    marks = getattr(function, _MARK, ())
    return marks if isinstance(marks, tuple) else ()


before_create: Final = Hook("before", "create")
after_create: Final = Hook("after", "create")
before_update: Final = Hook("before", "update")
after_update: Final = Hook("after", "update")
before_write: Final = Hook("before", "write")
after_write: Final = Hook("after", "write")
before_save: Final = Hook("before", "save")
after_save: Final = Hook("after", "save")
before_delete: Final = Hook("before", "delete")
after_delete: Final = Hook("after", "delete")
