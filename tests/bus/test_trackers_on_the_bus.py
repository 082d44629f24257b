"""Tracker events arrive on the bus, and events of the bus drive trackers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from milepost import (
    Consumer,
    CountTracker,
    Event,
    EventBus,
    EventContext,
    ManagerClosed,
    OutboxFull,
    SQLiteDataStore,
    SQLiteTransport,
    TrackerAllCompleted,
    TrackerEvent,
    TrackingManager,
)
from milepost.testing import ManualClock


async def test_tracker_events_arrive_like_all_others(manager: TrackingManager) -> None:
    """Handlers hear of milestones by pattern, with the group as the subject; listeners hear as before."""
    heard: list[tuple[str, str, int]] = []
    events: list[Event] = []
    listened: list[str] = []

    @manager.bus.on("tracker.*_completed")
    async def completed(ctx: EventContext) -> None:
        heard.append((ctx.event_type, ctx.subject.name, ctx.payload["progress"]))

    @manager.bus.event_handler("tracker.all_completed")
    async def get(event: Event) -> None:
        events.append(event)

    @manager.on_event(TrackerAllCompleted)
    def listen(event: TrackerAllCompleted) -> None:
        listened.append(event.id)

    await manager.add_tracker("user:1", CountTracker(name="logins", target=[1, 2]))
    for _ in range(2):
        await manager.track("user:1", {})
    await manager.settle()
    assert heard == [("tracker.stage_completed", "user:1", 1), ("tracker.all_completed", "user:1", 2)]
    (event,) = events
    assert isinstance(event, TrackerEvent)
    assert (event.name, event.type, [event.id]) == ("logins", "tracker.all_completed", listened)


async def test_tracker_events_are_isolated(manager: TrackingManager) -> None:
    """What a listener or a handler does to an event's payload and metadata, no other handler sees."""
    seen: list[tuple[bool, bool]] = []

    @manager.on_event(TrackerAllCompleted)
    def listen(event: TrackerAllCompleted) -> None:
        event.data["spoilt"] = True

    for name in "ab":

        @manager.bus.on("tracker.all_completed", name=name)
        async def handler(ctx: EventContext) -> None:
            seen.append(("spoilt" in ctx.event.data, "spoilt" in ctx.event.metadata))
            ctx.event.data["spoilt"] = ctx.event.metadata["spoilt"] = True

    await manager.add_tracker("user:1", CountTracker(name="logins", target=1))
    await manager.track("user:1", {})
    await manager.settle()
    assert seen == [(False, False)] * 2


async def test_a_manager_without_a_bus_makes_none(manager: TrackingManager) -> None:
    """The bus is made when it is asked for: who does not use it does not pay for it."""
    await manager.add_tracker("g", CountTracker(name="n", target=1))
    await manager.track("g", {})
    assert manager._bus is None


async def test_progress_is_announced_only_where_the_bus_listens(in_memory: TrackingManager) -> None:
    """PROGRESSED events are made from when a handler of the bus wants them until it is unregistered."""
    heard: list[int] = []

    async def listen(ctx: EventContext) -> None:
        heard.append(ctx.payload["progress"])

    await in_memory.add_tracker("g", CountTracker(name="n", target=10))
    await in_memory.track("g", {})
    in_memory.bus.on("tracker.progressed")(listen)
    await in_memory.track("g", {})
    await in_memory.settle()
    in_memory.bus.unregister(listen)
    await in_memory.track("g", {})
    await in_memory.settle()
    assert heard == [2]


async def test_feeding_trackers(manager: TrackingManager) -> None:
    """Events of the bus are tracked, each once: a duplicate id counts no second time."""
    manager.feed("order.*", group=lambda event: event.data.get("user_id"))
    await manager.add_tracker("u1", CountTracker(name="orders", target=10))
    for n in range(3):
        await manager.bus.publish(Event("order.paid", {"user_id": "u1"}, id=f"order {n}"))
    await manager.bus.emit("order.paid", None, {"user_id": None})
    await manager.bus.emit("other", None, {"user_id": "u1"})
    await manager.settle()
    await manager.track("u1", {}, event_id="order 1")
    (tracker,) = await manager.get_trackers("u1")
    assert tracker.progress == 3


async def test_feeding_by_subject_with_data_of_its_own(manager: TrackingManager) -> None:
    """By default the subject is the group; what is tracked can be made of the event."""
    handler = manager.feed("visit", data=lambda event: {"kind": event.type, **event.data})
    await manager.add_tracker("page:1", CountTracker(name="visits", target=10))
    await manager.bus.emit("visit", "page:1", {"x": 1})
    await manager.settle()
    assert (await manager.get_trackers("page:1"))[0].progress == 1
    assert manager.bus.unregister(handler.name) == 1


async def test_handlers_may_track(in_memory: TrackingManager) -> None:
    """A handler may await ``track``, also on the group that its event is about."""

    @in_memory.bus.on("tracker.all_completed")
    async def reward(ctx: EventContext) -> None:
        if ctx.payload["name"] == "steps":
            await in_memory.track(ctx.subject.name, {"kind": "reward"})

    for name in ("steps", "rewards"):
        await in_memory.add_tracker("g", CountTracker(name=name, target=1 if name == "steps" else 5))
    await in_memory.track("g", {})
    await in_memory.settle()
    rewards = await in_memory.get_tracker("g", "rewards")
    assert rewards is not None
    assert rewards.progress == 2


async def test_closing_lets_handlers_end(clock: ManualClock) -> None:
    """While the manager closes, handlers that were begun may still track; afterwards nobody may."""
    manager = TrackingManager(clock=clock)
    await manager.add_tracker("g", CountTracker(name="n", target=10))
    closing = asyncio.Event()

    @manager.bus.on("x")
    async def handler(ctx: EventContext) -> None:
        await closing.wait()
        await manager.track("other", {})
        assert (await manager.track("g", {})).dirtied

    await manager.bus.emit("x", "s")
    await asyncio.sleep(0)
    ending = asyncio.create_task(manager.aclose())
    await asyncio.sleep(0)
    closing.set()
    await ending
    assert manager.bus.failing.count == 0
    with pytest.raises(ManagerClosed):
        await manager.bus.emit("x")
    with pytest.raises(ManagerClosed):
        await manager.get_trackers("g")


async def test_a_handler_cannot_close_or_settle(in_memory: TrackingManager) -> None:
    """A handler that waited for all handlers to end would wait for itself: it is told so."""
    refused: list[str] = []

    @in_memory.bus.on("x")
    async def handler(ctx: EventContext) -> None:
        for call in (in_memory.settle, in_memory.aclose, in_memory.bus.settle, in_memory.bus.aclose):
            with pytest.raises(RuntimeError, match="a handler cannot await it"):
                await call()
            refused.append(call.__name__)

    await in_memory.bus.emit("x", "s")
    await in_memory.settle()
    assert len(refused) == 4


# --- the outbox is the stream --------------------------------------------------------------


def over(path: Path, **settings: Any) -> TrackingManager:
    """Return a manager whose bus is in the file of its store."""
    return TrackingManager(
        data_store=SQLiteDataStore(path, synchronous="OFF"), bus=SQLiteTransport(path, synchronous="OFF"), **settings
    )


@pytest.mark.parametrize("write", ["through", "behind"])
async def test_durable_consumers_get_what_tracking_committed(write: str, tmp_path: Path, clock: ManualClock) -> None:
    """In one file the outbox is the stream: milestones from before a consumer's process began reach it, once."""
    async with over(tmp_path / "t.db", clock=clock, write=write) as manager:
        await manager.bus.declare_consumer(Consumer("mail"))
        await manager.add_tracker("u", CountTracker(name="n", target=[1, 2]))
        await manager.track("u", {})
        await manager.track("u", {})
    heard: list[tuple[str, str]] = []
    for _ in range(2):
        async with over(tmp_path / "t.db", clock=clock, write=write) as manager:

            @manager.bus.on("tracker.*completed", durable="mail")
            async def mail(ctx: EventContext) -> None:
                heard.append((ctx.event_type, ctx.event.name))

            await manager.settle()
    assert heard == [("tracker.stage_completed", "n"), ("tracker.all_completed", "n")]


async def test_tracker_events_go_to_a_transport_elsewhere(tmp_path: Path, clock: ManualClock) -> None:
    """With the stream in another file than the store, milestones are sent there, in order, once."""
    async with TrackingManager(
        data_store=SQLiteDataStore(tmp_path / "t.db", synchronous="OFF"),
        bus=SQLiteTransport(tmp_path / "events.db", synchronous="OFF"),
        clock=clock,
    ) as manager:
        heard: list[str] = []

        @manager.bus.on("tracker.*", durable="mail")
        async def mail(ctx: EventContext) -> None:
            heard.append(ctx.event_type)

        await manager.add_tracker("u", CountTracker(name="n", target=1))
        await manager.track("u", {})
        await manager.settle()
        assert heard == ["tracker.added", "tracker.progressed", "tracker.all_completed"]
        assert [event.type async for event in manager.bus.history()] == heard


async def test_flush_forgets_events_too(manager: TrackingManager) -> None:
    """Flushing deletes all of milepost's data, the bus's among it; the bus goes on."""
    heard: list[str] = []

    @manager.bus.on("x", durable="d")
    async def handler(ctx: EventContext) -> None:
        heard.append(ctx.subject.name)

    await manager.bus.emit("x", "before")
    await manager.settle()
    await manager.flush(confirm=True)
    assert [event async for event in manager.bus.history()] == []
    await manager.bus.emit("x", "after")
    await manager.settle()
    assert heard == ["before", "after"]


async def test_a_bus_of_ones_own(clock: ManualClock) -> None:
    """A bus that is handed in is used, started and closed by the manager."""
    bus = EventBus(clock=clock, max_depth=3)
    async with TrackingManager(clock=clock, bus=bus) as manager:
        assert manager.bus is bus
        await manager.add_tracker("g", CountTracker(name="n", target=1))
        assert [event.type async for event in bus.history()] == ["tracker.added"]
    with pytest.raises(ManagerClosed):
        await bus.emit("x")


async def test_commits_are_refused_where_that_was_chosen(tmp_path: Path, clock: ManualClock) -> None:
    """With a consumer that must not lapse, a commit with events is refused when it is too far behind: no progress."""
    async with over(tmp_path / "t.db", clock=clock) as manager:
        await manager.bus.declare_consumer(Consumer("strict", max_lag=3, on_lag="refuse"))
        await manager.add_tracker("g", CountTracker(name="n", target=[1, 2, 3, 4, 5]))
        await manager.track("g", {})
        await manager.track("g", {})
        with pytest.raises(OutboxFull, match="'strict'"):
            await manager.track("g", {})
        assert (await manager.get_trackers("g"))[0].progress == 2
        await manager.bus.forget_consumer("strict")
        assert (await manager.track("g", {})).ok
        assert (await manager.get_trackers("g"))[0].progress == 3
