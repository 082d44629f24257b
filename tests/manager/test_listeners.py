"""Listeners: called after the commit, awaited by ``track``, fenced from each other."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Any

import pytest

from milepost import (
    EVENT_TRACKER_ADDED,
    EVENT_TRACKER_PROGRESSED,
    CountLimiter,
    CountTracker,
    TrackerAdded,
    TrackerAllCompleted,
    TrackerEvent,
    TrackerLimited,
    TrackerProgressed,
    TrackingManager,
    UnknownEventError,
)
from milepost.testing import ManualClock
from tests.conftest import Place


async def test_plain_and_async_callables_listen(manager: TrackingManager) -> None:
    """A function, a coroutine function, a method, a partial and an object that can be called all listen."""
    heard: list[str] = []

    async def coroutine(event: TrackerEvent) -> None:
        await asyncio.sleep(0)
        heard.append("coroutine")

    class Callable:
        def method(self, event: TrackerEvent) -> None:
            heard.append("method")

        async def __call__(self, event: TrackerEvent) -> None:
            heard.append("object")

    manager.add_listener(EVENT_TRACKER_ADDED, lambda event: heard.append("function"))
    manager.add_listener(TrackerAdded, coroutine)
    manager.add_listener(TrackerAdded, Callable().method)
    manager.add_listener(TrackerAdded, Callable())
    manager.add_listener(TrackerAdded, functools.partial(lambda word, event: heard.append(word), "partial"))
    await manager.add_tracker("g", CountTracker("n", 1))
    assert heard == ["function", "coroutine", "method", "object", "partial"]


async def test_listeners_hear_of_their_code_only(manager: TrackingManager) -> None:
    """A listener hears the events of its code or class, from every group, and no others."""
    completed: list[tuple[str, str]] = []
    manager.add_listener(TrackerAllCompleted, lambda event: completed.append((event.group_id, event.name)))
    for group in ("a", "b"):
        await manager.add_tracker(group, CountTracker("n", [1, 2], limiters=[CountLimiter(5)]))
        for _ in range(2):
            await manager.track(group, {})
    assert completed == [("a", "n"), ("b", "n")]


async def test_on_event_decorates(manager: TrackingManager) -> None:
    """``@manager.on_event(code)`` registers a function and leaves it as it is; a class works as well."""

    @manager.on_event("tracker.added")
    def by_code(event: TrackerEvent) -> str:
        heard.append(f"code {event.name}")
        return "unchanged"

    @manager.on_event(TrackerAdded)
    async def by_class(event: TrackerAdded) -> None:
        heard.append(f"class {event.name}")

    heard: list[str] = []
    await manager.add_tracker("g", CountTracker("n", 1))
    assert heard == ["code n", "class n"]
    assert by_code(TrackerAdded(id="1", type="tracker.added", time=0, data={"name": "x"})) == "unchanged"


async def test_a_handle_removes_its_listener(manager: TrackingManager) -> None:
    """``handle.remove()`` stops a listener; twice is harmless, and a neighbour of the same function goes on."""
    heard: list[str] = []

    def listen(event: TrackerEvent) -> None:
        heard.append(event.name)

    first, _ = manager.add_listener(TrackerAdded, listen), manager.add_listener(TrackerAdded, listen)
    await manager.add_tracker("g", CountTracker("a", 1))
    first.remove()
    first.remove()
    await manager.add_tracker("g", CountTracker("b", 1))
    assert heard == ["a", "a", "b"]


async def test_track_returns_when_listeners_are_done(manager: TrackingManager) -> None:
    """``track`` awaits its listeners; what they saw was committed already."""
    seen: list[Any] = []

    async def slow(event: TrackerAllCompleted) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        tracker = await manager.get_tracker(event.group_id, event.name)
        seen.append(tracker is not None and tracker.completed)

    manager.add_listener(TrackerAllCompleted, slow)
    await manager.add_tracker("g", CountTracker("n", 1))
    await manager.track("g", {})
    assert seen == [True]


async def test_who_caused_no_event_waits_for_no_listener(manager: TrackingManager) -> None:
    """A call waits for the listeners of its own events; one that caused none does not wait for another's."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(event: TrackerEvent) -> None:
        begun.set()
        await may_end.wait()

    manager.add_listener(TrackerAllCompleted, slow)
    await manager.add_tracker("g", CountTracker("n", 1))
    completing = asyncio.ensure_future(manager.track("g", {}))
    others = [asyncio.ensure_future(manager.track("g", {})), asyncio.ensure_future(manager.get_trackers("g"))]
    await begun.wait()
    done, _ = await asyncio.wait(others, timeout=2)
    assert not completing.done()
    may_end.set()
    await asyncio.gather(completing, *others)
    assert len(done) == 2


async def test_a_background_listener_does_not_delay_track(manager: TrackingManager) -> None:
    """With ``background=True`` ``track`` does not wait; ``settle`` does."""
    may_go, heard = asyncio.Event(), []

    async def slow(event: TrackerEvent) -> None:
        await may_go.wait()
        heard.append(event.name)

    handle = manager.add_listener(TrackerAdded, slow, background=True)
    await manager.add_tracker("g", CountTracker("a", 1))
    await manager.add_tracker("g", CountTracker("b", 1))
    assert heard == []
    may_go.set()
    await manager.settle()
    assert heard == ["a", "b"]
    assert (handle.delivered, handle.dropped) == (2, 0)


async def test_a_listener_that_raises_harms_nobody(manager: TrackingManager, caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises is logged with its traceback, counted and kept; ``track`` and neighbours go on."""
    heard: list[str] = []

    def broken(event: TrackerEvent) -> None:
        raise LookupError("broken listener")

    async def broken_too(event: TrackerEvent) -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError("broken coroutine")

    manager.add_listener(TrackerAdded, broken)
    manager.add_listener(TrackerAdded, broken_too)
    manager.add_listener(TrackerAdded, lambda event: heard.append(event.name))
    with caplog.at_level(logging.ERROR, "milepost"):
        added = await manager.add_tracker("g", CountTracker("n", 1))
    assert added.name == "n"
    assert heard == ["n"]
    assert [type(failed.error) for failed in manager.failed_deliveries] == [LookupError, ZeroDivisionError]
    failed = manager.failed_deliveries[0]
    assert (failed.attempts, failed.event.type) == (1, "tracker.added")
    assert "broken" in failed.listener
    assert "broken listener" in failed.traceback
    assert "Traceback" in failed.traceback
    assert manager.status().failed == 2
    errors = [record for record in caplog.records if record.exc_info]
    assert len(errors) == 2
    assert (await manager.track("g", {})).completed


async def test_a_background_listener_that_raises_goes_on(manager: TrackingManager) -> None:
    """A background listener hears the next event although it raised on this one."""
    heard: list[str] = []

    async def picky(event: TrackerEvent) -> None:
        heard.append(event.name)
        if event.name == "a":
            raise ValueError("not this one")

    manager.add_listener(TrackerAdded, picky, background=True)
    for name in "ab":
        await manager.add_tracker("g", CountTracker(name, 1))
    await manager.settle()
    assert heard == ["a", "b"]
    assert len(manager.failed_deliveries) == 1


async def test_a_listener_that_cancels_itself_is_a_failed_delivery(manager: TrackingManager) -> None:
    """A listener that ends with CancelledError does not cancel ``track``."""

    async def cancels(event: TrackerEvent) -> None:
        raise asyncio.CancelledError

    manager.add_listener(TrackerAdded, cancels)
    await manager.add_tracker("g", CountTracker("n", 1))
    assert len(manager.failed_deliveries) == 1


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
async def test_a_plain_listener_that_raises_what_ends_tasks_harms_nobody(
    error: type[BaseException], background: bool, manager: TrackingManager
) -> None:
    """A cancelled future read in a listener raises CancelledError: neither ``track`` nor a neighbour is cancelled."""
    heard: list[TrackerEvent] = []

    def raises(event: TrackerEvent) -> None:
        raise error

    manager.add_listener(TrackerAdded, raises, background=background)
    manager.add_listener(TrackerAdded, heard.append)
    await manager.add_tracker("g", CountTracker("n", 1))
    await manager.settle()
    assert (len(heard), len(manager.failed_deliveries), manager.status().failed) == (1, 1, 1)


async def test_events_of_a_group_come_in_commit_order(manager: TrackingManager) -> None:
    """Listeners hear the events of one group in the order of its commits, however slow they are."""
    heard: list[int] = []

    async def uneven(event: TrackerProgressed) -> None:
        for _ in range(int(event.tracker.progress) % 3):
            await asyncio.sleep(0)
        heard.append(int(event.tracker.progress))

    manager.add_listener(EVENT_TRACKER_PROGRESSED, uneven)
    await manager.add_tracker("g", CountTracker("n", 1000))
    await asyncio.gather(*(manager.track("g", {}) for _ in range(40)))
    assert heard == list(range(1, 41))


async def test_progressed_is_built_only_where_somebody_listens(manager: TrackingManager) -> None:
    """Without a listener PROGRESSED is not among a result's events; with one it is, first; and no more after."""
    await manager.add_tracker("g", CountTracker("n", [2, 9]))
    assert (await manager.track("g", {})).events == ()
    handle = manager.add_listener(EVENT_TRACKER_PROGRESSED, lambda event: None)
    result = await manager.track("g", {})
    assert [event.code for event in result.events] == ["tracker.progressed", "tracker.stage_completed"]
    handle.remove()
    assert (await manager.track("g", {})).events == ()


async def test_listening_works_before_the_start_and_without_a_loop(clock: ManualClock) -> None:
    """Listeners can be registered on a manager that was not started, outside any loop."""
    heard: list[str] = []

    def register() -> TrackingManager:
        manager = TrackingManager(clock=clock)
        manager.add_listener(TrackerAdded, lambda event: heard.append(event.name))
        manager.on_event(TrackerLimited)(lambda event: heard.append("limited"))
        return manager

    manager = await asyncio.to_thread(register)
    await manager.add_tracker("g", CountTracker("n", 9, limiters=[CountLimiter(1)]))
    await manager.track("g", {})
    assert heard == ["n", "limited"]
    await manager.aclose()


@pytest.mark.parametrize("code", ["tracker.nothing", "", "tracker.*", 3, None, TrackerEvent, CountTracker])
async def test_an_unknown_code_is_refused(code: Any, in_memory: TrackingManager) -> None:
    """A code that does not exist raises UnknownEventError, a ValueError, and the message lists those that do."""
    for register in (in_memory.on_event, lambda code: in_memory.add_listener(code, print)):
        with pytest.raises(UnknownEventError, match=r"unknown event .*tracker\.added.*tracker\.stage_completed"):
            register(code)


async def test_a_callback_must_be_callable(in_memory: TrackingManager) -> None:
    """Something that cannot be called is refused when it is registered."""
    with pytest.raises(TypeError, match="callback must be callable, got 'nothing'"):
        in_memory.add_listener(TrackerAdded, "nothing")


async def test_listeners_are_not_shared_between_managers(clock: ManualClock, tmp_path: Any) -> None:
    """In-process listeners hear what their own manager did, not what another one did to the same file."""
    place, heard = Place("sqlite through", clock, tmp_path), []
    async with place.manager() as one, place.manager() as other:
        other.add_listener(TrackerAdded, heard.append)
        await one.add_tracker("g", CountTracker("n", 1))
        await other.get_trackers("g")
        await other.settle()
    assert heard == []
