"""Hearing of what happened: listeners, queues and subscriptions, as a manager offers them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from milepost.bus.dispatcher import Dispatcher
from milepost.bus.failed import FailedDelivery
from milepost.bus.listeners import ListenerHandle
from milepost.bus.subscriptions import Subscription, codes_of
from milepost.events.types import EngineEvent, TrackerEvent, code_of
from milepost.queues import Overflow

if TYPE_CHECKING:
    from milepost.bus.bus import EventBus

__all__ = ["Announcer"]

E = TypeVar("E", bound=EngineEvent)
C = TypeVar("C", bound=Callable[..., Any])


class Announcer:
    """The part of a manager that others listen to. Works before the start and without a loop.

    Args:
        dispatcher: delivers.
        make_bus: makes the bus when it is first asked for.
    """

    def __init__(self, dispatcher: Dispatcher, make_bus: Callable[[], EventBus]) -> None:
        self._dispatcher = dispatcher
        self._make_bus = make_bus
        self._bus: EventBus | None = None

    @property
    def bus(self) -> EventBus:
        """The event bus: tracker events arrive on it, and the application's own."""
        if self._bus is None:
            self._bus = self._make_bus()
            self._dispatcher.connect(self._bus)
        return self._bus

    @overload
    def add_listener(
        self, code: type[E], callback: Callable[[E], Any], *, background: bool = False
    ) -> ListenerHandle: ...

    @overload
    def add_listener(
        self, code: str, callback: Callable[[Any], Any], *, background: bool = False
    ) -> ListenerHandle: ...

    def add_listener(
        self,
        code: str | type[EngineEvent],
        callback: Callable[[Any], Any],
        *,
        background: bool = False,
    ) -> ListenerHandle:
        """Call ``callback`` for every event of a kind, after its commit.

        Args:
            code: a code such as ``EVENT_TRACKER_LIMITED`` or ``SUBJECT_PROPERTY_CHANGED``, or an event class.
            callback: plain or async, takes the event. One that raises harms nobody; it is logged,
                counted and kept in ``failed_deliveries``.
            background: do not let ``track`` wait for it; it gets a bounded queue of its own.

        Returns:
            A handle with ``remove()``.

        Raises:
            UnknownEventError: for a code that does not exist.
            TypeError: when the callback cannot be called.
        """
        return self._dispatcher.add_listener(code_of(code), callback, background=background)

    @overload
    def on_event(
        self, code: type[E], *, background: bool = False
    ) -> Callable[[Callable[[E], Any]], Callable[[E], Any]]: ...

    @overload
    def on_event(self, code: str, *, background: bool = False) -> Callable[[C], C]: ...

    def on_event(self, code: str | type[EngineEvent], *, background: bool = False) -> Any:
        """Decorate a listener; otherwise like :meth:`add_listener`."""
        known = code_of(code)

        def register(callback: Any) -> Any:
            self._dispatcher.add_listener(known, callback, background=background)
            return callback

        return register

    @overload
    def subscribe(
        self,
        first: type[E],
        /,
        *wanted: type[E],
        group: str = "*",
        size: int = 1000,
        overflow: Overflow | Literal["drop_oldest", "drop_newest", "block", "error"] = Overflow.DROP_OLDEST,
    ) -> Subscription[E]: ...

    @overload
    def subscribe(
        self,
        *wanted: str,
        group: str = "*",
        size: int = 1000,
        overflow: Overflow | Literal["drop_oldest", "drop_newest", "block", "error"] = Overflow.DROP_OLDEST,
    ) -> Subscription[TrackerEvent]: ...

    @overload
    def subscribe(
        self,
        *wanted: str | type[EngineEvent],
        group: str = "*",
        size: int = 1000,
        overflow: Overflow | Literal["drop_oldest", "drop_newest", "block", "error"] = Overflow.DROP_OLDEST,
    ) -> Subscription[Any]: ...

    def subscribe(
        self,
        *wanted: str | type[EngineEvent],
        group: str = "*",
        size: int = 1000,
        overflow: Overflow | str = Overflow.DROP_OLDEST,
    ) -> Subscription[Any]:
        """Return a bounded queue of events, an async context manager and iterator.

        Args:
            *wanted: patterns of codes (``"tracker.*"``, ``"subject.*"``), codes or event classes; none for all
                tracker events.
            group: a pattern of group ids, or of subjects' names.
            size: how many events it holds.
            overflow: what happens to an event for which there is no room.

        Raises:
            UnknownEventError: for a pattern or code that no event can match.
            InvalidDefinition: when the size or the policy is none.
        """
        return Subscription(
            codes_of(wanted), group, self._dispatcher.subscribe, self._dispatcher.unsubscribe, size, overflow
        )

    def add_queue(self, code: str | type[EngineEvent], queue: asyncio.Queue[Any]) -> ListenerHandle:
        """Feed events of a kind to an ``asyncio.Queue``; where it is full they are dropped and counted.

        Args:
            code: a code or an event class.
            queue: the queue.

        Raises:
            UnknownEventError: for a code that does not exist.
            TypeError: when the queue is none.
        """
        return self._dispatcher.add_queue(code_of(code), queue)

    def _announce(self, event: EngineEvent) -> None:
        """Tell listeners, subscriptions and the bus of something that no commit caused; nobody waits for it."""
        _ = self._dispatcher.publish("", [event])

    @property
    def failed_deliveries(self) -> list[FailedDelivery]:
        """The last deliveries that failed, up to a thousand, the oldest first."""
        return list(self._dispatcher.failures)
