"""Telling listeners and queues what happened, after the commit and in commit order per group.

Listeners that do not suspend are called on the spot. The first that does moves the rest of
the group's deliveries into a task of the dispatcher's own, so that a cancelled caller
takes nobody's event with it. Every delivery is fenced: a listener that raises is logged,
counted and handed to the failed deliveries, and harms neither ``track`` nor its neighbours.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any, Protocol

from milepost._tasks import Tasks
from milepost.bus.failed import FailedDelivery
from milepost.bus.subscriptions import Subscription
from milepost.errors import ManagerClosed
from milepost.events.codes import EVENT_TRACKER_PROGRESSED
from milepost.events.types import TrackerEvent
from milepost.queues import BoundedQueue, Overflow

__all__ = ["Delivery", "Dispatcher", "ListenerHandle", "delivered"]

_log = logging.getLogger("milepost")

_inside_listener: ContextVar[bool] = ContextVar("milepost_inside_listener", default=False)

# A listener that raises CancelledError on the spot, from a future of its own for one, cancels nobody else.
_RAISED_BY_LISTENERS = (Exception, asyncio.CancelledError, GeneratorExit)

KEPT_FAILURES = 1000
BACKGROUND_SIZE = 1000


Delivery = asyncio.Future[None] | None
"""What to wait for until a commit's events are delivered; None where they are."""


async def delivered(delivery: Delivery) -> None:
    """Wait for a delivery, unless the caller is itself a listener: it would wait for itself.

    Others may wait for the same delivery, so a cancelled caller does not cancel it.
    """
    if delivery is not None and not _inside_listener.get():
        await asyncio.shield(delivery)


class Hearing(Protocol):
    """What the bus is to the dispatcher."""

    on_handlers_changed: Callable[[], None]

    def wants(self, event_type: str) -> bool:
        """Whether somebody on the bus would notice an event of this type."""
        ...

    def hear(self, events: Sequence[TrackerEvent]) -> None:
        """Take events that were committed."""
        ...


class Listener:
    """A callback and what it wants to hear."""

    __slots__ = ("call", "code", "name", "queue")

    def __init__(
        self, code: str, call: Callable[[Any], Any], name: str, queue: BoundedQueue[TrackerEvent] | None
    ) -> None:
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


class Dispatcher:
    """Delivers the events of one manager.

    Args:
        tasks: where deliveries run that have to wait.
        on_wants_changed: told when somebody begins or ceases to listen to PROGRESSED.
    """

    def __init__(self, tasks: Tasks, on_wants_changed: Callable[[], None] = lambda: None) -> None:
        self._tasks = tasks
        self._on_wants_changed = on_wants_changed
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._subscriptions: tuple[Subscription[Any], ...] = ()
        self._lines: dict[str, deque[_Parcel]] = {}
        self._workers: set[asyncio.Task[Any]] = set()
        self._background: dict[Listener, asyncio.Task[Any]] = {}
        self.failures: deque[FailedDelivery] = deque(maxlen=KEPT_FAILURES)
        self.emitted = 0
        """Deliveries begun: one for each event and each who wants it; delivered, dropped, failed or waiting."""
        self.delivered = 0
        self.failed = 0
        self._dropped = 0
        self.wants_progressed = False
        self._closed = False
        self._bus: Hearing | None = None

    @property
    def dropped(self) -> int:
        """How many deliveries were dropped for want of room."""
        open_queues = [subscription.queue for subscription in self._subscriptions]
        open_queues += [listener.queue for listener in self._all_listeners() if listener.queue is not None]
        return self._dropped + sum(queue.dropped for queue in open_queues)

    @property
    def waiting(self) -> int:
        """How many deliveries have not ended."""
        lines = sum(len(line) for line in self._lines.values())
        return lines + sum(len(listener.queue) for listener in self._all_listeners() if listener.queue is not None)

    def _all_listeners(self) -> Iterable[Listener]:
        return (listener for listeners in self._listeners.values() for listener in listeners)

    # --- who listens -------------------------------------------------------------------

    def add_listener(self, code: str, callback: Callable[[Any], Any], *, background: bool) -> ListenerHandle:
        """Call ``callback`` for every event of a code."""
        if not callable(callback):
            raise TypeError(f"callback must be callable, got {callback!r}")
        queue: BoundedQueue[TrackerEvent] | None = None
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

        def feed(event: TrackerEvent) -> None:
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

    # --- telling them ------------------------------------------------------------------

    def publish(self, key: str, events: Sequence[TrackerEvent]) -> Delivery:
        """Deliver a commit's events.

        Args:
            key: the group; its deliveries stay in order.
            events: what happened, in order.

        Returns:
            What to wait for with :func:`delivered` until they are delivered; None if they are.
        """
        if self._bus is not None:
            self._bus.hear(events)
        parcel = _Parcel([(event, target) for event in events for target in self._targets(key, event)])
        if not parcel.stops:
            return None
        self.emitted += len(parcel.stops)
        line = self._lines.get(key)
        if line is None:
            pending = self._deliver_now(parcel)
            if pending is None:
                return None
            parcel.wait_for(pending)
            line = self._lines[key] = deque()
            line.append(parcel)
            worker = self._tasks.spawn(self._work_off(key, line), f"deliveries of {key}")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        else:
            line.append(parcel)
        return parcel.future()

    def _targets(self, key: str, event: TrackerEvent) -> list[Listener | Subscription[Any]]:
        code = event.type
        targets: list[Listener | Subscription[Any]] = list(self._listeners.get(code, ()))
        targets += [subscription for subscription in self._subscriptions if subscription.wants(code, key)]
        return targets

    def _deliver_now(self, parcel: _Parcel) -> Awaitable[Any] | None:
        """Deliver until one has to be waited for; return that."""
        stops = parcel.stops
        while stops:
            event, target = stops[0]
            pending = self._deliver(event, target)
            if pending is not None:
                return pending
            stops.popleft()
        return None

    def _deliver(self, event: TrackerEvent, target: Listener | Subscription[Any]) -> Awaitable[Any] | None:
        if isinstance(target, Subscription):
            self.delivered += 1
            before = target.queue.dropped
            room = target.queue.put(event)
            self.delivered -= target.queue.dropped - before
            return room
        if target.queue is not None:
            target.queue.put(event)
            if target not in self._background:
                work = self._run_in_background(target, target.queue)
                self._background[target] = self._tasks.spawn(work, f"listener {target.name}")
            return None
        return self._call(event, target)

    def _call(self, event: TrackerEvent, listener: Listener) -> Awaitable[Any] | None:
        """Call a listener; return what is to be waited for until it has ended."""
        try:
            answer = listener.call(event)
        except _RAISED_BY_LISTENERS as error:
            self._fail(event, listener, error)
            return None
        if isawaitable(answer):
            return answer
        self.delivered += 1
        return None

    async def _work_off(self, key: str, line: deque[_Parcel]) -> None:
        """Deliver what stands in line for a group, parcel by parcel, until there is nothing left."""
        _inside_listener.set(True)
        try:
            while line:
                parcel = line[0]
                while parcel.stops:
                    event, target = parcel.stops[0]
                    pending = parcel.pending if parcel.pending is not None else self._deliver(event, target)
                    if pending is not None:
                        parcel.wait_for(pending)
                        await self._wait_for(pending, event, target)
                    parcel.leave_stop()
                parcel.arrived()
                line.popleft()
        finally:
            self._abandon(line)
            self._lines.pop(key, None)

    def _abandon(self, line: deque[_Parcel]) -> None:
        """Count what is left in a line as dropped, and let nobody wait for it."""
        while line:
            parcel = line.popleft()
            self._dropped += len(parcel)
            parcel.arrived()

    async def _wait_for(self, pending: Awaitable[Any], event: TrackerEvent, target: Any) -> None:
        try:
            await pending
        except Exception as error:
            self._fail(event, target, error)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            self._fail(event, target, RuntimeError("the listener cancelled itself"))
        else:
            if isinstance(target, Listener):
                self.delivered += 1

    async def _run_in_background(self, listener: Listener, queue: BoundedQueue[TrackerEvent]) -> None:
        _inside_listener.set(True)
        while True:
            try:
                event = await queue.get()
            except StopAsyncIteration:
                self._background.pop(listener, None)
                return
            try:
                pending = self._call(event, listener)
                if pending is not None:
                    await self._wait_for(pending, event, listener)
            finally:
                queue.task_done()

    def _fail(self, event: TrackerEvent, target: Listener, error: BaseException) -> None:
        self.failed += 1
        shown = "".join(traceback.format_exception(error))
        self.failures.append(FailedDelivery(event, target.name, 1, error, shown))
        _log.error("the listener %s failed on %s of %s", target.name, event.type, event.subject, exc_info=error)

    def refuse_from_listener(self, call: str) -> None:
        """Raise if the present task is one that delivers: it would wait for itself.

        Raises:
            RuntimeError: then.
        """
        current = asyncio.current_task()
        if current in self._workers or current in self._background.values():
            raise RuntimeError(f"{call} waits for listeners to end, so a listener cannot await it")

    async def settle(self) -> None:
        """Wait until everything that was published has been delivered."""
        while True:
            lines = [line[-1].future() for line in self._lines.values() if line]
            if lines:
                await asyncio.wait([asyncio.shield(arrival) for arrival in lines])
                continue
            queues = [item.queue for item in self._all_listeners() if item.queue is not None and item.queue.unfinished]
            if not queues:
                return
            for queue in queues:
                await queue.join()

    def give_up(self) -> None:
        """Count what was not delivered before the end as dropped, and let nobody wait for it."""
        for line in self._lines.values():
            self._abandon(line)
        self._lines.clear()

    def close(self) -> None:
        """End every subscription after what it holds."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.queue.close()
        for listener in self._all_listeners():
            if listener.queue is not None:
                listener.queue.close()


class _Parcel:
    """A commit's deliveries: which event goes to whom, and who waits for their end."""

    __slots__ = ("_future", "_placed", "pending", "stops")

    def __init__(self, stops: Iterable[tuple[TrackerEvent, Any]]) -> None:
        self.stops = deque(stops)
        self.pending: Awaitable[Any] | None = None
        """What the first stop waits for."""
        self._placed = False
        self._future: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Return how many deliveries have not ended; an event that waits for room has its place in the queue."""
        return len(self.stops) - self._placed

    def wait_for(self, pending: Awaitable[Any]) -> None:
        """Note that the first stop takes its time."""
        self.pending = pending
        self._placed = isinstance(self.stops[0][1], Subscription)

    def leave_stop(self) -> None:
        """Note that the first stop has ended."""
        self.pending = None
        self._placed = False
        self.stops.popleft()

    def future(self) -> asyncio.Future[None]:
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
        return self._future

    def arrived(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
