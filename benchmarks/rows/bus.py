"""The bus in memory: one handler of many matches, and a few middlewares around one; beside KRules.

What is measured is publishing and handling: a turn ends when every event has been handled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from benchmarks.figures import Figure, Row, Target
from benchmarks.krules_peer import MISSING_NOTE, krules_bus, krules_is_installed
from benchmarks.measuring import Effort, rates
from milepost import EventBus, EventContext

__all__ = ["MATCHING", "MIDDLEWARE"]

_EVENTS: Final = 20_000
_HANDLERS: Final = 1000
_MIDDLEWARES: Final = 3
_SUBJECTS: Final = [f"order:{n}" for n in range(100)]

Contender = Callable[[], Awaitable[int]]


class _Contest:
    """Buses that handle the same events, and counts of what they handled."""

    def __init__(self) -> None:
        self.contenders: dict[str, Contender] = {}
        self.buses: list[EventBus] = []
        self._checks: list[Callable[[], None]] = []

    def add_milepost(self, name: str, patterns: list[str], middlewares: int, events: int) -> None:
        """Let a bus of milepost take part."""
        bus = EventBus()
        handled = published = 0

        async def handler(ctx: EventContext) -> None:
            nonlocal handled
            handled += 1

        async def go_on(ctx: EventContext, next: Callable[[], Awaitable[Any]]) -> None:
            await next()

        for pattern in patterns:
            bus.register(handler, pattern)
        for _ in range(middlewares):
            bus.add_middleware(go_on)

        async def turn() -> int:
            nonlocal published
            emit = bus.emit
            for n in range(events):
                await emit("order.paid", _SUBJECTS[n % 100], {"total": n})
            await bus.settle()
            published += events
            return events

        def check() -> None:
            assert handled == published

        self.buses.append(bus)
        self.contenders[name] = turn
        self._checks.append(check)

    def add_krules(self, patterns: list[str], middlewares: int, events: int) -> None:
        """Let a bus of KRules take part, where it is installed."""
        if not krules_is_installed():
            return
        handled = published = 0

        async def handler(ctx: Any) -> None:
            nonlocal handled
            handled += 1

        bus = krules_bus(patterns, handler, middlewares)

        async def turn() -> int:
            nonlocal published
            for n in range(events):
                await bus.emit("order.paid", _SUBJECTS[n % 100], {"total": n})
            published += events
            return events

        def check() -> None:
            assert handled == published

        self.contenders["krules"] = turn
        self._checks.append(check)

    async def measure(self, repeats: int) -> dict[str, float]:
        """Let all take turns; return their rates."""
        measured = await rates(self.contenders, repeats)
        for check in self._checks:
            check()
        for bus in self.buses:
            await bus.aclose()
        return measured


def _patterns(handlers: int) -> list[str]:
    """Return patterns of which the last one matches."""
    return [*(f"device.{n}.*" for n in range(handlers - 1)), "order.*"]


async def _measure_matching(effort: Effort) -> list[Figure]:
    events = effort.size(_EVENTS)
    contest = _Contest()
    contest.add_milepost("one", _patterns(1), 0, events)
    contest.add_milepost("many", _patterns(_HANDLERS), 0, events)
    contest.add_krules(_patterns(_HANDLERS), 0, max(1, events // 100))
    measured = await contest.measure(effort.repeats)
    note = "" if "krules" in measured else MISSING_NOTE
    return [
        Figure("krules 3.3.0", "events/s", measured["many"], measured.get("krules"), Target("at least", 100), note),
        Figure(
            f"time per event, 1 to {_HANDLERS:,} handlers",
            "us",
            1e6 / measured["many"],
            1e6 / measured["one"],
            Target("at most", 1.5),
        ),
    ]


async def _measure_middleware(effort: Effort) -> list[Figure]:
    events = effort.size(_EVENTS)
    contest = _Contest()
    contest.add_milepost("milepost", _patterns(1), _MIDDLEWARES, events)
    contest.add_krules(_patterns(1), _MIDDLEWARES, events)
    measured = await contest.measure(effort.repeats)
    note = "" if "krules" in measured else MISSING_NOTE
    return [
        Figure("krules 3.3.0", "events/s", measured["milepost"], measured.get("krules"), Target("at least", 2), note)
    ]


MATCHING: Final = Row(
    "bus-matching", "bus, 1 handler of 1,000 matches the event", lambda effort: asyncio.run(_measure_matching(effort))
)
MIDDLEWARE: Final = Row(
    "bus-middleware", "bus, 3 middlewares, 1 handler", lambda effort: asyncio.run(_measure_middleware(effort))
)
