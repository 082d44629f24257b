"""Calling users' methods with just the keyword arguments that they declare."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

__all__ = ["accepted"]


@lru_cache(maxsize=1024)
def _wanted(function: Callable[..., Any], positional: int) -> frozenset[str] | None:
    """Return the names of the keywords that a function takes; None where it takes all."""
    names: set[str] = set()
    for parameter in list(inspect.signature(function).parameters.values())[positional:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            return None
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.add(parameter.name)
    return frozenset(names)


def accepted(function: Callable[..., Any], positional: int, context: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of ``context`` that a method accepts.

    Args:
        function: the method, as found on its class.
        positional: how many arguments it gets by position, ``self`` among them.
        context: what is on offer.
    """
    if not context:
        return context
    wanted = _wanted(function, positional)
    if wanted is None:
        return context
    return {name: value for name, value in context.items() if name in wanted}
