"""What the type checkers are promised. mypy and pyright read this file; nothing runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from milepost import (
    AllOf,
    AnyOf,
    BaseCondition,
    BaseLimiter,
    ChangeLogEntry,
    CountLimiter,
    CountTracker,
    DataLost,
    Event,
    EventBus,
    EventContext,
    EventStream,
    Explanation,
    FailedDelivery,
    KeyExists,
    KeyValueEQ,
    NumericTracker,
    Subscription,
    TimeLimiter,
    TraceNode,
    TrackedDict,
    TrackedList,
    TrackedSet,
    TrackerEvent,
    TrackerLimited,
    TrackerSnapshot,
    TrackingManager,
    TrackResult,
    where,
)


class LongerThan(BaseCondition):
    """A condition of a user's own: its fields are arguments."""

    key: str
    length: int = 10

    def check(self, data: Mapping[str, Any], **context: Any) -> bool:
        return len(data[self.key]) > self.length


class HighScore(NumericTracker):
    """A tracker of a user's own: its fields come after the common ones."""

    field: str = "score"

    def measure(self, data: Mapping[str, Any], **context: Any) -> float:
        return max(0.0, float(data[self.field]) - float(self.progress))


class Budget(BaseLimiter):
    """A plain limiter, with an ``__init__`` of its own."""

    def __init__(self, most: float) -> None:
        self.most = self.left = most

    def post_track(self, data: Mapping[str, Any], tracker: TrackerSnapshot, **context: Any) -> bool:
        self.left -= data["cost"]
        return self.left > 0


async def results(manager: TrackingManager) -> None:
    """What calls return."""
    result = await manager.track("g", {})
    assert_type(result, TrackResult)
    ok, dirtied, completed, limited = result
    assert_type(ok, bool)
    assert_type(dirtied, list[TrackerSnapshot])
    assert_type(completed, list[TrackerSnapshot])
    assert_type(limited, list[TrackerSnapshot])
    assert_type(await manager.get_tracker("g", "n"), TrackerSnapshot | None)
    assert_type(await manager.get_trackers("g"), list[TrackerSnapshot])
    assert_type(await manager.explain("g", {}), Explanation)
    assert_type(await manager.reset_tracker("g", "n", reset_value=3), bool)


async def listening(manager: TrackingManager) -> None:
    """A listener on an event class knows its type."""

    @manager.on_event(TrackerLimited)
    def shut(event: TrackerLimited) -> None:
        assert_type(event.limiter, BaseLimiter)

    @manager.on_event("tracker.limited")
    async def shut_later(event: TrackerEvent) -> None:
        assert_type(event.tracker, TrackerSnapshot)

    manager.add_listener(TrackerLimited, lambda event: print(event.limiter))
    subscription = manager.subscribe(TrackerLimited)
    assert_type(subscription, Subscription[TrackerLimited])
    async with subscription as events:
        async for event in events:
            assert_type(event, TrackerLimited)
    assert_type(manager.subscribe("tracker.*", group="user:*"), Subscription[TrackerEvent])
    assert_type(manager.subscribe(DataLost), Subscription[DataLost])
    print(shut, shut_later)


def definitions() -> None:
    """Editors complete the arguments of trackers, conditions and limiters, custom ones too."""
    assert_type(CountTracker(name="n", target=[1, 2], conditions=[KeyExists("a")]), CountTracker)
    assert_type(HighScore(name="n", target=1, field="points"), HighScore)
    assert_type(LongerThan("text", length=3).length, int)
    assert_type(where("age") >= 18, BaseCondition)
    assert_type(KeyExists("a") & KeyValueEQ("b", 1), AllOf)
    assert_type(KeyExists("a") | KeyValueEQ("b", 1), AnyOf)
    assert_type(CountLimiter(3).remaining, int)
    print(TimeLimiter(seconds=60), Budget(3.0))
    CountTracker(name="n", target=1, wrong=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    KeyExists(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    CountTracker(name="n")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def containers(items: TrackedList[int], tags: TrackedSet[str]) -> None:
    tracked: TrackedDict[str, float] = TrackedDict({"a": 1.0}, tracking_auto_convert=True)
    assert_type(tracked["a"], float)
    assert_type(tracked.tracking_changes(), list[ChangeLogEntry])
    assert_type(tracked.last_change(), ChangeLogEntry | None)
    assert_type(items[0], int)
    assert_type(tags.pop(), str)
    tracked["b"] = "text"  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]


async def the_bus(manager: TrackingManager) -> None:
    """Decorators leave functions what they are; what is read back has its type."""
    bus = manager.bus
    assert_type(bus, EventBus)
    on, when, middleware, emit = bus.handlers(durable="billing")

    @on("order.*", timeout=5, concurrency=10)
    @when(lambda ctx: ctx.payload["total"] > 0)
    async def charge(ctx: EventContext) -> None:
        assert_type(await ctx.emit("order.paid", {"total": 1}, delay=60), str)

    @bus.event_handler("user.created")
    async def welcome(event: Event) -> int:
        return len(event.data)

    @middleware
    async def timing(ctx: EventContext, next: Any) -> None:
        await next()

    assert_type(await welcome(Event(name="user.created")), int)
    assert_type(await emit("order.submitted", "order:1", {"total": 1}), str)
    assert_type(await bus.publish_many([Event("x"), Event(name="y", data={"id": 1})]), list[str])
    assert_type(await bus.get_failed_jobs(), list[FailedDelivery])
    assert_type(await bus.trace("id"), TraceNode | None)
    async with bus.subscribe("order.*", after="") as events:
        assert_type(events, EventStream)
        async for event in events:
            assert_type(event, Event)
    manager.feed("order.*", group=lambda event: event.data["user_id"])
