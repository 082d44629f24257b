"""Middleware: what wraps the run of a handler, or the handling of an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from typing import Any, Literal

from milepost.bus.context import EventContext
from milepost.bus.handlers import is_async
from milepost.errors import InvalidDefinition

__all__ = ["Middleware", "Next", "Scope", "as_middleware", "through"]

Next = Callable[[], Awaitable[Any]]
Middleware = Callable[[EventContext, Next], Awaitable[Any]]
Scope = Literal["handler", "event"]


def as_middleware(function: Callable[[EventContext, Next], Any]) -> Middleware:
    """Return a middleware that can be awaited, also where it was written as a plain function.

    Raises:
        InvalidDefinition: when it cannot be called.
    """
    if not callable(function):
        raise InvalidDefinition(f"a middleware must be callable, got {function!r}")
    if is_async(function):
        return function

    async def awaited(ctx: EventContext, next: Next) -> None:
        answer = function(ctx, next)
        if isawaitable(answer):
            await answer

    return awaited


def through(layers: tuple[Middleware, ...], ctx: EventContext, innermost: Next) -> Awaitable[Any]:
    """Call the first of layers, which wraps the others, which wrap the innermost call."""
    for layer in layers[:0:-1]:
        innermost = partial(layer, ctx, innermost)
    return layers[0](ctx, innermost)
