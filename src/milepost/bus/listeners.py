"""Who listens to a manager: callbacks, queues, subscriptions, and the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from milepost.bus.subscriptions import Subscription
from milepost.errors import ManagerClosed
from milepost.events.codes import EVENT_TRACKER_PROGRESSED
from milepost.events.types import Event
from milepost.queues import BoundedQueue, Overflow

__all__ = ["Hearing", "Listener", "ListenerHandle", "Listeners"]

BACKGROUND_SIZE = 1000


class Hearing(Protocol):
    """What the bus is to the dispatcher."""

    on_handlers_changed: Callable[[], None]

    def wants(self, event_type: str) -> bool:
        """Whether somebody on the bus would notice an event of this type."""
        ...

    def hear(self, events: Sequence[Event]) -> None:
        """Take events that were committed."""
        ...


class Listener:
    """A callback and what it wants to hear."""

    __slots__ = ("call", "code", "name", "queue")

    def __init__(self, code: str, call: Callable[[Any], Any], name: str, queue: BoundedQueue[Event] | None) -> None:
        self.code = code
        self.call = call
        self.name = name
        self.queue = queue
        """Where it runs in the background: what waits for it."""


class ListenerHandle:
    """What ``add_listener`` returns."""

    def __init__(self, remove: Callable[[], None], counts: Callable[[], tuple[int, int]]) -> None:
        self._remove = remove
        self._counts = counts

    def remove(self) -> None:
        """Stop listening; doing it twice is harmless."""
        self._remove()

    @property
    def dropped(self) -> int:
        """How many events were dropped for want of room."""
        return self._counts()[1]

    @property
    def delivered(self) -> int:
        """How many events were put into the queue, or taken by the background listener."""
        return self._counts()[0]


class Listeners:
    """All who listen to one manager.

    Args:
        on_wants_changed: told when somebody begins or ceases to listen to PROGRESSED.
    """

    def __init__(self, on_wants_changed: Callable[[], None]) -> None:
        self._on_wants_changed = on_wants_changed
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._subscriptions: tuple[Subscription[Any], ...] = ()
        self._bus: Hearing | None = None
        self.delivered = 0
        self._dropped = 0
        self.wants_progressed = False
        self._closed = False

    @property
    def dropped(self) -> int:
        """How many deliveries were dropped for want of room."""
        open_queues = [subscription.queue for subscription in self._subscriptions]
        open_queues += [listener.queue for listener in self._all_listeners() if listener.queue is not None]
        return self._dropped + sum(queue.dropped for queue in open_queues)

    def _all_listeners(self) -> Iterable[Listener]:
        return (listener for listeners in self._listeners.values() for listener in listeners)

    def add_listener(self, code: str, callback: Callable[[Any], Any], *, background: bool) -> ListenerHandle:
        """Call ``callback`` for every event of a code."""
        if not callable(callback):
            raise TypeError(f"callback must be callable, got {callback!r}")
        queue: BoundedQueue[Event] | None = None
        if background:
            queue = BoundedQueue(BACKGROUND_SIZE, Overflow.DROP_OLDEST)
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        listener = Listener(code, callback, name, queue)
        self._listeners[code] = (*self._listeners.get(code, ()), listener)
        self._note_wants()

        def counts() -> tuple[int, int]:
            return (0, 0) if queue is None else (queue.delivered, queue.dropped)

        return ListenerHandle(lambda: self._remove_listener(listener), counts)

    def _remove_listener(self, listener: Listener) -> None:
        left = tuple(other for other in self._listeners.get(listener.code, ()) if other is not listener)
        if len(left) == len(self._listeners.get(listener.code, ())):
            return
        self._listeners[listener.code] = left
        if listener.queue is not None:
            listener.queue.close()
            self._dropped += listener.queue.dropped
        self._note_wants()

    def add_queue(self, code: str, queue: asyncio.Queue[Any]) -> ListenerHandle:
        """Put every event of a code into a queue of the user's; where it is full, drop and count."""
        if not isinstance(queue, asyncio.Queue):
            raise TypeError(f"queue must be an asyncio.Queue, got {queue!r}")
        delivered = dropped = 0

        def feed(event: Event) -> None:
            nonlocal delivered, dropped
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                dropped += 1
                self._dropped += 1
                self.delivered -= 1  # it is counted as dropped instead
            else:
                delivered += 1

        handle = self.add_listener(code, feed, background=False)
        return ListenerHandle(handle.remove, lambda: (delivered, dropped))

    def subscribe(self, subscription: Subscription[Any]) -> None:
        """Let a subscription hear from now on.

        Raises:
            ManagerClosed: when there is nothing to hear any more.
        """
        if self._closed:
            raise ManagerClosed
        self._subscriptions = (*self._subscriptions, subscription)
        self._note_wants()

    def unsubscribe(self, subscription: Subscription[Any]) -> None:
        """Let a subscription hear no more."""
        left = tuple(other for other in self._subscriptions if other is not subscription)
        if len(left) < len(self._subscriptions):
            self._dropped += subscription.queue.dropped
        self._subscriptions = left
        self._note_wants()

    def connect(self, bus: Hearing) -> None:
        """Let the bus hear everything from now on."""
        self._bus = bus
        bus.on_handlers_changed = self._note_wants
        self._note_wants()

    def _note_wants(self) -> None:
        code = EVENT_TRACKER_PROGRESSED
        before = self.wants_progressed
        self.wants_progressed = (
            bool(self._listeners.get(code))
            or any(subscription.wants_code(code) for subscription in self._subscriptions)
            or (self._bus is not None and self._bus.wants(code))
        )
        if before != self.wants_progressed:
            self._on_wants_changed()
