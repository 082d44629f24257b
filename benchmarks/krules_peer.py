"""KRules beside milepost: its bus, where it is installed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any, Final

__all__ = ["MISSING_NOTE", "krules_bus", "krules_is_installed"]

MISSING_NOTE: Final = "krules-framework is not installed: pip install krules-framework==3.3.0"


def krules_is_installed() -> bool:
    """Whether the peer can be measured."""
    return find_spec("krules_core") is not None


def krules_bus(patterns: list[str], handler: Callable[[Any], Awaitable[None]], middlewares: int) -> Any:
    """Return a bus of KRules with a handler for each pattern, and middlewares that only go on.

    Args:
        patterns: one for each registration.
        handler: what is registered.
        middlewares: how many.
    """
    from krules_core.event_bus import EventBus

    logging.getLogger("krules_core").setLevel(logging.ERROR)
    bus = EventBus()
    for pattern in patterns:
        bus.register(handler, [pattern])

    async def go_on(ctx: Any, next: Callable[[], Awaitable[None]]) -> None:
        await next()

    for _ in range(middlewares):
        bus.add_middleware(go_on)
    return bus
