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
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any

from milepost._tasks import Tasks
from milepost.bus.failed import FailedDelivery
from milepost.bus.listeners import Listener, Listeners
from milepost.bus.parcels import Parcel
from milepost.bus.subscriptions import Subscription
from milepost.events.types import Event
from milepost.queues import BoundedQueue

__all__ = ["Delivery", "Dispatcher", "delivered"]

_log = logging.getLogger("milepost")

_inside_listener: ContextVar[bool] = ContextVar("milepost_inside_listener", default=False)

# A listener that raises CancelledError on the spot, from a future of its own for one, cancels nobody else.
_RAISED_BY_LISTENERS = (Exception, asyncio.CancelledError, GeneratorExit)

KEPT_FAILURES = 1000


Delivery = asyncio.Future[None] | None
"""What to wait for until a commit's events are delivered; None where they are."""


async def delivered(delivery: Delivery) -> None:
    """Wait for a delivery, unless the caller is itself a listener: it would wait for itself.

    Others may wait for the same delivery, so a cancelled caller does not cancel it.
    """
    if delivery is not None and not _inside_listener.get():
        await asyncio.shield(delivery)


class Dispatcher(Listeners):
    """Delivers the events of one manager.

    Args:
        tasks: where deliveries run that have to wait.
        on_wants_changed: told when somebody begins or ceases to listen to PROGRESSED.
    """

    def __init__(self, tasks: Tasks, on_wants_changed: Callable[[], None] = lambda: None) -> None:
        super().__init__(on_wants_changed)
        self._tasks = tasks
        self._lines: dict[str, deque[Parcel]] = {}
        self._workers: set[asyncio.Task[Any]] = set()
        self._background: dict[Listener, asyncio.Task[Any]] = {}
        self.failures: deque[FailedDelivery] = deque(maxlen=KEPT_FAILURES)
        self.emitted = 0
        """Deliveries begun: one for each event and each who wants it; delivered, dropped, failed or waiting."""
        self.failed = 0

    @property
    def waiting(self) -> int:
        """How many deliveries have not ended."""
        lines = sum(len(line) for line in self._lines.values())
        return lines + sum(len(listener.queue) for listener in self._all_listeners() if listener.queue is not None)

    def publish(self, key: str, events: Sequence[Event]) -> Delivery:
        """Deliver a commit's events.

        Args:
            key: the group; its deliveries stay in order.
            events: what happened, in order.

        Returns:
            What to wait for with :func:`delivered` until they are delivered; None if they are.
        """
        if self._bus is not None:
            self._bus.hear(events)
        parcel = Parcel([(event, target) for event in events for target in self._targets(key, event)])
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

    def _targets(self, key: str, event: Event) -> list[Listener | Subscription[Any]]:
        code, about = event.type, event.subject or key
        targets: list[Listener | Subscription[Any]] = list(self._listeners.get(code, ()))
        targets += [subscription for subscription in self._subscriptions if subscription.wants(code, about)]
        return targets

    def _deliver_now(self, parcel: Parcel) -> Awaitable[Any] | None:
        """Deliver until one has to be waited for; return that."""
        stops = parcel.stops
        while stops:
            event, target = stops[0]
            pending = self._deliver(event, target)
            if pending is not None:
                return pending
            stops.popleft()
        return None

    def _deliver(self, event: Event, target: Listener | Subscription[Any]) -> Awaitable[Any] | None:
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

    def _call(self, event: Event, listener: Listener) -> Awaitable[Any] | None:
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

    async def _work_off(self, key: str, line: deque[Parcel]) -> None:
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

    def _abandon(self, line: deque[Parcel]) -> None:
        """Count what is left in a line as dropped, and let nobody wait for it."""
        while line:
            parcel = line.popleft()
            self._dropped += len(parcel)
            parcel.arrived()

    async def _wait_for(self, pending: Awaitable[Any], event: Event, target: Any) -> None:
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

    async def _run_in_background(self, listener: Listener, queue: BoundedQueue[Event]) -> None:
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

    def _fail(self, event: Event, target: Listener, error: BaseException) -> None:
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
