"""``ctx.subject``: loaded before anybody sees it, committed when the handler succeeds, untouched when it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from milepost import CascadeLimit, EventBus, EventContext, RetryPolicy, TrackingManager
from tests.subjects.conftest import Heard, changes


async def test_a_handler_that_succeeds_commits(manager: TrackingManager, heard: Heard) -> None:
    """What it did to its subject is stored, in one step, and told as caused by the event."""

    @manager.bus.on("order.paid")
    async def paid(ctx: EventContext) -> None:
        ctx.subject.set("status", "paid")
        ctx.subject.set("payments", lambda n: n + 1, default=0)
        ctx.subject.set_ext("by", ctx.event_id)

    await manager.bus.emit("order.paid", "order-1")
    id = await manager.bus.emit("order.paid", "order-1")
    await manager.settle()
    order = await manager.subject("order-1")
    assert order.dict() == {"status": "paid", "payments": 2}
    assert order.ext() == {"by": id}
    told = heard("subject.")
    assert sorted(changes(told), key=repr) == [
        ("payments", 1, 2),
        ("payments", None, 1),
        ("status", None, "paid"),
    ]
    assert told[-1].cause == told[-1].root == id
    assert told[-1].depth == 1


async def test_plain_handlers_commit_too(manager: TrackingManager) -> None:
    """A blocking handler runs in a thread, with a subject that was loaded before."""
    await (await manager.subject("s")).set("n", 1)

    @manager.bus.on("go")
    def plain(ctx: EventContext) -> None:
        assert ctx.subject.get("n") == 1
        ctx.subject.set("n", lambda n: n + 1)

    await manager.bus.emit("go", "s")
    await manager.settle()
    assert (await manager.subject("s")).dict() == {"n": 2}


async def test_awaiting_in_a_handler_commits_with_it(manager: TrackingManager) -> None:
    """``await ctx.subject.set(...)`` gives (new, old), and is stored when the handler succeeds, not before."""
    seen: list[Any] = []

    @manager.bus.on("go")
    async def go(ctx: EventContext) -> None:
        seen.append(await ctx.subject.set("n", lambda n: n + 1, default=0))
        seen.append((await manager.subject("s")).dict())
        if ctx.payload.get("fails"):
            raise RuntimeError

    await manager.bus.emit("go", "s")
    await manager.bus.emit("go", "s", {"fails": True})
    await manager.settle()
    assert seen == [(1, None), {}, (2, 1), {"n": 1}]
    assert (await manager.subject("s")).dict() == {"n": 1}


async def test_a_handler_that_fails_commits_nothing(manager: TrackingManager, heard: Heard) -> None:
    """Nothing is stored or told, a retry begins from what is stored, and the attempt that succeeds counts once."""
    attempts: list[Any] = []

    @manager.bus.on("go", retry=RetryPolicy(max_retries=2, interval_start=0, interval_step=0, interval_max=0))
    async def go(ctx: EventContext) -> None:
        attempts.append(ctx.subject.get("n"))
        ctx.subject.set("n", lambda n: n + 1, default=0)
        await ctx.emit("went")
        if ctx.attempt < 3:
            raise RuntimeError

    await manager.bus.emit("go", "s")
    await manager.settle()
    assert attempts == [None, None, None]
    assert (await manager.subject("s")).dict() == {"n": 1}
    assert changes(heard("subject.")) == [("n", None, 1)]
    assert len(heard("went")) == 1


async def test_a_commit_that_fails_fails_the_handler(manager: TrackingManager, heard: Heard) -> None:
    """A function that cannot be applied to the newest value is the handler's failure: nothing it emitted is sent."""

    @manager.bus.on("go")
    async def go(ctx: EventContext) -> None:
        ctx.subject.set("n", lambda n: n + 1)
        await ctx.emit("went")
        await (await manager.subject("s")).delete("n")

    await (await manager.subject("s")).set("n", 1)
    await manager.bus.emit("go", "s")
    await manager.settle()
    (failed,) = await manager.bus.get_failed_jobs("go")
    assert "TypeError" in failed.reason
    assert heard("went") == []


async def test_middleware_and_predicates_see_it_loaded(manager: TrackingManager) -> None:
    """Both around handlers and around events; what a middleware sets is stored with what the handler sets."""
    await (await manager.subject("s")).set("n", 1)
    seen: list[Any] = []

    @manager.bus.middleware
    async def around(ctx: EventContext, next: Callable[[], Awaitable[Any]]) -> None:
        seen.append(("handler", ctx.subject.get("n")))
        ctx.subject.set("before", True)
        await next()
        ctx.subject.set("after", ctx.subject.get("n"))

    @manager.bus.middleware(scope="event")
    async def outside(ctx: EventContext, next: Callable[[], Awaitable[Any]]) -> None:
        if ctx.event_type == "go":
            seen.append(("event", ctx.subject.get("n")))
        await next()

    @manager.bus.on("go")
    @manager.bus.when(lambda ctx: ctx.subject.get("n") == 1)
    async def go(ctx: EventContext) -> None:
        ctx.subject.set("n", 2)

    await manager.bus.emit("go", "s")
    await manager.bus.emit("go", "s")
    await manager.settle()
    assert seen == [("event", 1), ("handler", 1), ("event", 2)]
    assert (await manager.subject("s")).dict() == {"n": 2, "before": True, "after": 2}


async def test_what_a_middleware_swallows_commits_nothing(manager: TrackingManager) -> None:
    """The handler failed, so what it did is not stored, though nobody heard of its error."""

    @manager.bus.middleware
    async def swallow(ctx: EventContext, next: Callable[[], Awaitable[Any]]) -> None:
        try:
            await next()
        except RuntimeError:
            ctx.subject.set("swallowed", True)

    @manager.bus.on("go")
    async def go(ctx: EventContext) -> None:
        ctx.subject.set("n", 1)
        raise RuntimeError

    await manager.bus.emit("go", "s")
    await manager.settle()
    assert (await manager.subject("s")).dict() == {}
    assert await manager.bus.get_failed_jobs() == []


async def test_handlers_of_one_event_have_copies_of_their_own(manager: TrackingManager) -> None:
    """They run at the same time and lose none of each other's increments; one that fails harms none."""

    def handler(n: int) -> Callable[[EventContext], Awaitable[None]]:
        async def handle(ctx: EventContext) -> None:
            ctx.subject.set("n", lambda value: value + 1, default=0)
            if n == 0:
                raise RuntimeError

        return handle

    for n in range(5):
        manager.bus.register(handler(n), "go", name=f"handler {n}")
    await manager.bus.emit("go", "s")
    await manager.settle()
    assert (await manager.subject("s")).dict() == {"n": 4}


async def test_a_handler_that_triggers_itself_is_stopped(manager: TrackingManager) -> None:
    """Its subject's changes are a cascade like any other; a muted change is none."""
    runs = 0

    @manager.bus.on("subject.property_changed")
    async def again(ctx: EventContext) -> None:
        nonlocal runs
        runs += 1
        ctx.subject.set("n", lambda n: n + 1)

    await (await manager.subject("s")).set("n", 0)
    await manager.settle()
    assert runs == manager.bus.max_depth + 1
    (failed,) = await manager.bus.get_failed_jobs("subject.*")
    assert isinstance(failed.error, CascadeLimit)
    assert "subject.property_changed -> subject.property_changed" in failed.reason
    assert (await manager.subject("s")).get("n") == manager.bus.max_depth

    manager.bus.unregister_all()

    @manager.bus.on("subject.property_changed")
    async def quietly(ctx: EventContext) -> None:
        ctx.subject.set("n", lambda n: n + 1, muted=True)

    await (await manager.subject("s")).set("n", 0)
    await manager.settle()
    assert (await manager.subject("s")).get("n") == 1


async def test_other_subjects_in_a_handler(manager: TrackingManager, heard: Heard) -> None:
    """They are opened through the manager, and their changes are caused by the event too."""

    @manager.bus.on("go")
    async def go(ctx: EventContext) -> None:
        async with await manager.subject("audit") as audit:
            audit.set("seen", lambda seen: [*seen, ctx.subject.name], default=[])

    id = await manager.bus.emit("go", "s")
    await manager.settle()
    assert (await manager.subject("audit")).dict() == {"seen": ["s"]}
    (told,) = heard("subject.")
    assert (told.cause, told.depth) == (id, 1)
    tree = await manager.bus.trace(id)
    assert tree is not None
    assert [node.event.type for node in tree] == ["go", "subject.property_changed"]


async def test_tracker_events_have_their_group_as_subject(manager: TrackingManager) -> None:
    """A milestone can be noted in the subject that has the group's name."""
    from milepost import CountTracker

    @manager.bus.on("tracker.all_completed")
    async def done(ctx: EventContext) -> None:
        ctx.subject.set("badges", lambda badges: [*badges, ctx.payload["name"]], default=[])

    await manager.add_tracker("user-1", CountTracker(name="logins", target=2))
    for _ in range(3):
        await manager.track("user-1", {})
    await manager.settle()
    assert (await manager.subject("user-1")).dict() == {"badges": ["logins"]}


async def test_a_bus_of_its_own_has_names_only() -> None:
    """Without a manager ``ctx.subject`` has a name, and nothing to load or store."""
    names: list[str] = []
    async with EventBus() as bus:

        @bus.on("go")
        async def go(ctx: EventContext) -> None:
            names.append(ctx.subject.name)
            with pytest.raises(AttributeError):
                ctx.subject.get("n")

        await bus.emit("go", "s")
        await bus.settle()
    assert names == ["s"]
