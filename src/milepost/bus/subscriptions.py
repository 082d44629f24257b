"""Events as an async iterator, through a bounded queue."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from milepost._patterns import pattern_to_regex
from milepost.events.types import LISTENED, TRACKER_EVENTS, EngineEvent, TrackerEvent, code_of
from milepost.queues import BoundedQueue, Overflow

__all__ = ["Subscription", "codes_of"]

E_co = TypeVar("E_co", bound=EngineEvent, covariant=True)


def codes_of(wanted: tuple[str | type[EngineEvent], ...]) -> frozenset[str]:
    """Return the codes that patterns, codes and event classes stand for; those of all tracker events for none.

    Raises:
        UnknownEventError: for one that can match no event.
    """
    codes: set[str] = set()
    for item in wanted or (TrackerEvent,):
        matching = (
            {code for code in LISTENED if pattern_to_regex(item).fullmatch(code)} if isinstance(item, str) else set()
        )
        if not matching and item is TrackerEvent:
            matching = set(TRACKER_EVENTS)
        codes |= matching or {code_of(item)}
    return frozenset(codes)


class Subscription(Generic[E_co]):
    """Events from the moment it is entered until it is left.

    ::

        async with manager.subscribe(TrackerLimited, group="user:*") as events:
            async for event in events:
                ...

    ``delivered`` and ``dropped`` count events; iteration ends when the manager is closed.
    """

    def __init__(
        self,
        codes: frozenset[str],
        group: str,
        register: Callable[[Subscription[E_co]], None],
        unregister: Callable[[Subscription[E_co]], None],
        size: int,
        overflow: Overflow | str,
    ) -> None:
        if not isinstance(group, str):
            raise TypeError(f"group must be a pattern, got {group!r}")
        self._codes = codes
        self._group = None if group == "*" else pattern_to_regex(group)
        self._entered = False
        self._register = register
        self._unregister = unregister
        self.queue: BoundedQueue[Any] = BoundedQueue(size, overflow)

    def wants_code(self, code: str) -> bool:
        """Whether events of a code are wanted, from some group."""
        return code in self._codes

    def wants(self, code: str, key: str) -> bool:
        """Whether an event of a code from a group is wanted."""
        return code in self._codes and (self._group is None or self._group.fullmatch(key) is not None)

    @property
    def delivered(self) -> int:
        """How many events were taken from it."""
        return self.queue.delivered

    @property
    def dropped(self) -> int:
        """How many events it had no room for."""
        return self.queue.dropped

    @property
    def waiting(self) -> int:
        """How many events are there to be taken."""
        return len(self.queue)

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a subscription can be entered once; subscribe again")
        self._register(self)
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._unregister(self)
        self.queue.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E_co:
        return await self.get()

    async def get(self) -> E_co:
        """Return the next event.

        Raises:
            StopAsyncIteration: when the manager was closed and no event is left.
            QueueOverflow: with ``Overflow.ERROR``, when it ran full.
        """
        if not self._entered:
            raise RuntimeError("enter the subscription first: async with manager.subscribe(...) as events")
        event: E_co = await self.queue.get()
        return event

    def get_nowait(self) -> E_co:
        """Return the next event.

        Raises:
            LookupError: when there is none.
        """
        event: E_co = self.queue.get_nowait()
        return event
