"""How handlers are run: side by side, in order for each subject, with retries, timeouts and middleware."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from milepost import CascadeLimit, Event, EventBus, EventContext, RetryPolicy
from milepost.testing import ManualClock


async def test_emitting_does_not_wait_for_handlers(bus: EventBus) -> None:
    """``emit`` returns when the event is accepted, not when it is handled."""
    may_end = asyncio.Event()
    done: list[str] = []

    @bus.on("x")
    async def slow(ctx: EventContext) -> None:
        await may_end.wait()
        done.append(ctx.event_type)

    await bus.emit("x", "s")
    assert done == []
    may_end.set()
    await bus.settle()
    assert done == ["x"]


@pytest.mark.parametrize("way", ["emit", "publish", "publish_many"])
async def test_who_publishes_in_a_loop_starves_nobody(bus: EventBus, way: str) -> None:
    """Others get their turn while one task publishes and waits for nothing else, handled or not."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(1000):
        if way == "emit":
            await bus.emit("x", "s")
        elif way == "publish":
            await bus.publish(Event(type="x"))
        else:
            await bus.publish_many([Event(type="x"), Event(type="x"), Event(type="x")])
    task.cancel()
    assert turns >= 3


async def test_handlers_of_an_event_run_side_by_side(bus: EventBus) -> None:
    """Two handlers of one event run at the same time: each waits for the other here."""
    first, second = asyncio.Event(), asyncio.Event()

    @bus.on("x")
    async def one(ctx: EventContext) -> None:
        first.set()
        await second.wait()

    @bus.on("x")
    async def two(ctx: EventContext) -> None:
        second.set()
        await first.wait()

    await bus.emit("x", "s")
    await asyncio.wait_for(bus.settle(), 5)


async def test_subjects_do_not_wait_for_each_other(bus: EventBus) -> None:
    """A subject whose handler hangs holds up nobody else, however many hang."""
    never = asyncio.Event()
    done: list[str] = []

    @bus.on("x")
    async def handler(ctx: EventContext) -> None:
        if ctx.payload["hang"]:
            await never.wait()
        done.append(ctx.subject.name)

    for n in range(50):
        await bus.emit("x", f"hung {n}", {"hang": True})
    for n in range(50):
        await bus.emit("x", f"free {n}", {"hang": False})
    for _ in range(200):
        await asyncio.sleep(0)
    assert sorted(done) == sorted(f"free {n}" for n in range(50))
    never.set()


async def test_events_of_a_subject_keep_their_order(bus: EventBus) -> None:
    """An event is handled when those of its subject before it are, also by other handlers of other types."""
    order: list[tuple[str, str, int]] = []

    @bus.on("created")
    async def slow(ctx: EventContext) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        order.append((ctx.subject.name, "created", ctx.payload["n"]))

    @bus.on("paid")
    async def fast(ctx: EventContext) -> None:
        order.append((ctx.subject.name, "paid", ctx.payload["n"]))

    for n in range(20):
        for subject in ("a", "b"):
            await bus.emit("created", subject, {"n": n})
            await bus.emit("paid", subject, {"n": n})
    await bus.settle()
    for subject in ("a", "b"):
        of_it = [(what, n) for name, what, n in order if name == subject]
        assert of_it == [(what, n) for n in range(20) for what in ("created", "paid")]


async def test_an_error_touches_nobody_else(bus: EventBus) -> None:
    """A handler that raises does not keep its neighbours, or the next event of the subject, from being handled."""
    done: list[int] = []

    @bus.on("x")
    async def bad(ctx: EventContext) -> None:
        raise ValueError("bad")

    @bus.on("x")
    async def good(ctx: EventContext) -> None:
        done.append(ctx.payload["n"])

    for n in range(3):
        await bus.emit("x", "s", {"n": n})
    await bus.settle()
    assert done == [0, 1, 2]
    assert len(await bus.get_failed_jobs()) == 3


async def test_concurrency_is_bounded(bus: EventBus) -> None:
    """No more than ``concurrency`` runs of a handler are under way, however many events there are."""
    running = most = 0

    @bus.on("x", concurrency=3)
    async def handler(ctx: EventContext) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await asyncio.sleep(0)
        running -= 1

    for n in range(30):
        await bus.emit("x", f"s{n}")
    await bus.settle()
    assert most == 3


async def test_publishing_waits_for_room(clock: ManualClock) -> None:
    """When more is accepted than the bus has room for, whoever publishes waits; nothing is lost."""
    async with EventBus(clock=clock, capacity=10) as bus:
        may_go = asyncio.Event()
        done: list[int] = []

        @bus.on("x")
        async def handler(ctx: EventContext) -> None:
            await may_go.wait()
            done.append(ctx.payload["n"])

        async def publish() -> None:
            for n in range(30):
                await bus.emit("x", "s", {"n": n})

        publishing = asyncio.create_task(publish())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not publishing.done()
        assert (await bus.status()).pending == 10
        may_go.set()
        await publishing
        await bus.settle()
        assert done == list(range(30))


async def test_context_variables_do_not_leak(bus: EventBus) -> None:
    """What a handler sets in a context variable no other handler sees, nor what the emitter had set."""
    variable: ContextVar[str] = ContextVar("variable", default="clean")
    seen: list[str] = []

    @bus.on("x")
    async def handler(ctx: EventContext) -> None:
        seen.append(variable.get())
        variable.set("dirty")

    variable.set("the emitter's")
    for n in range(5):
        await bus.emit("x", f"s{n}")
    await bus.settle()
    assert seen == ["clean"] * 5


# --- emits and ids -------------------------------------------------------------------------


async def test_context_variables_do_not_leak_to_a_neighbour(bus: EventBus) -> None:
    """What a handler sets in a context variable the other handlers of the same event do not see either."""
    variable: ContextVar[str] = ContextVar("variable", default="clean")
    seen: list[str] = []

    async def handler(ctx: EventContext) -> None:
        seen.append(variable.get())
        variable.set("dirty")
        if ctx.payload["suspend"]:
            await asyncio.sleep(0)
        assert variable.get() == "dirty"

    for number in range(4):
        bus.register(handler, "x", name=f"handler {number}")
    for suspend in (False, True):
        await bus.emit("x", "s", {"suspend": suspend})
    await bus.settle()
    assert seen == ["clean"] * 8


async def test_one_of_several_handlers_is_removed(bus: EventBus) -> None:
    """Removing the run of one handler leaves the other handlers of its event alone, begun or not."""
    may_end, ended = asyncio.Event(), list[str]()

    async def handler(ctx: EventContext) -> None:
        await may_end.wait()
        ended.append(str(ctx.handler_name))

    for name in ("one", "two", "three"):
        bus.register(handler, "x", name=name)
    await bus.emit("x", "s")
    while len(jobs := await bus.get_jobs()) < 3:
        await asyncio.sleep(0)
    (first,) = [job.id for job in jobs if job.handler == "one"]
    assert await bus.remove_job(first)
    may_end.set()
    await bus.settle()
    assert ended == ["two", "three"]


async def test_emits_leave_when_the_handler_succeeds(bus: EventBus) -> None:
    """What a handler emits is published when it has succeeded, not before."""
    order: list[str] = []

    @bus.on("a")
    async def handler(ctx: EventContext) -> None:
        await ctx.emit("b", subject="other")
        await bus.emit("c", "another")
        for _ in range(20):
            await asyncio.sleep(0)
        order.append("a done")

    @bus.on("b", "c")
    async def heard(ctx: EventContext) -> None:
        order.append(ctx.event_type)

    await bus.emit("a", "s")
    await bus.settle()
    assert order == ["a done", "b", "c"]


async def test_emits_of_a_failed_handler_are_dropped(bus: EventBus) -> None:
    """A handler that fails has emitted nothing; what middleware emits after the failure is sent."""
    on, _, middleware, emit = bus.handlers()
    heard: list[str] = []

    @middleware
    async def tell(ctx: EventContext, next: Any) -> None:
        try:
            await next()
        except ValueError:
            await ctx.emit("told")
            raise

    @on("a")
    async def handler(ctx: EventContext) -> None:
        await ctx.emit("b")
        raise ValueError("no")

    @on("b", "told", "event.failed")
    async def listen(ctx: EventContext) -> None:
        heard.append(ctx.event_type)

    await emit("a", "s")
    await bus.settle()
    assert heard == ["told", "event.failed"]


async def test_emits_on_another_bus(bus: EventBus) -> None:
    """What a handler emits on another bus goes to that bus, caused by the handler's event, and only on success."""
    heard: list[str] = []
    async with EventBus() as other:

        @other.on("news")
        async def there(ctx: EventContext) -> None:
            heard.append(f"there, {ctx.event.cause}")

        @bus.on("news")
        async def here(ctx: EventContext) -> None:
            heard.append("here")

        @bus.on("go")
        async def handler(ctx: EventContext) -> None:
            await other.emit("news", "s")
            await other.publish(Event("news", subject="s"))
            if ctx.payload["fail"]:
                raise ValueError

        went_well = await bus.emit("go", "s", {"fail": False})
        await bus.emit("go", "s", {"fail": True})
        await bus.settle()
        await other.settle()
    assert heard == [f"there, {went_well}"] * 2


async def test_a_cascade_across_two_buses_stops(clock: ManualClock) -> None:
    """Two buses that answer each other without end are stopped like one that answers itself."""
    async with EventBus(clock=clock, max_depth=5) as left, EventBus(clock=clock, max_depth=5) as right:

        @left.on("ping")
        async def ping(ctx: EventContext) -> None:
            await right.emit("pong", "s")

        @right.on("pong")
        async def pong(ctx: EventContext) -> None:
            await left.emit("ping", "s")

        await left.emit("ping", "s")
        for _ in range(20):
            await left.settle()
            await right.settle()
        failed = [*await left.get_failed_jobs(), *await right.get_failed_jobs()]
    assert [type(job.error) for job in failed] == [CascadeLimit]


async def test_ids_of_emitted_events_are_derived(clock: ManualClock) -> None:
    """The same handler emits the same events, with the same ids, when it handles the same event again."""
    found: list[list[tuple[str, str]]] = []
    for _ in range(2):
        async with EventBus(clock=clock) as bus:

            @bus.on("a")
            async def handler(ctx: EventContext, bus: EventBus = bus) -> None:
                await ctx.emit("b", {"n": 1})
                await ctx.emit("b", {"n": 2})
                await bus.emit("c", "other")
                await bus.publish(Event("d"))
                await bus.publish(Event("e", id="given"))

            await bus.publish(Event("a", id="one", subject="s"))
            await bus.settle()
            found.append([(event.type, event.id) async for event in bus.history()])
    assert found[0] == found[1]
    ids = dict(found[0])
    assert (ids["a"], ids["e"]) == ("one", "given")
    assert len({id for _, id in found[0]}) == 6


async def test_publishing_the_same_event_twice_is_one_event(bus: EventBus) -> None:
    """An event is known by its id: published again it is the same event, and is not handled again."""
    heard: list[str] = []

    @bus.event_handler("x")
    async def handler(event: Event) -> None:
        heard.append(event.id)

    event = Event("x")
    for _ in range(3):
        await bus.publish(event)
    await bus.publish_many([event, Event("x", id="other"), Event("x", id="other")])
    await bus.settle()
    assert heard == [event.id, "other"]


# --- middleware ----------------------------------------------------------------------------


async def test_middleware_wraps_each_run(bus: EventBus) -> None:
    """Middleware wraps each run of each handler, the first registered outermost; also plain functions."""
    on, _, middleware, emit = bus.handlers()
    order: list[str] = []

    @middleware
    async def outer(ctx: EventContext, next: Any) -> None:
        order.append(f"outer {ctx.handler_name}")
        await next()
        order.append("outer end")

    @middleware
    def inner(ctx: EventContext, next: Any) -> Any:
        order.append(f"inner {ctx.get_metadata('from')}")
        return next()

    @on("x", name="h")
    async def handler(ctx: EventContext) -> None:
        order.append("handler")

    await emit("x", "s", {}, **{"from": "me"})
    await emit("nobody's", "s")
    await bus.settle()
    assert order == ["outer h", "inner me", "handler", "outer end"]


async def test_middleware_can_skip(bus: EventBus) -> None:
    """A middleware that does not call ``next`` skips the handler: that is no failure."""
    on, _, middleware, emit = bus.handlers()

    @middleware
    async def skip(ctx: EventContext, next: Any) -> None:
        return

    @on("x")
    async def handler(ctx: EventContext) -> None:
        raise AssertionError

    await emit("x")
    await bus.settle()
    assert await bus.get_failed_jobs() == []


async def test_a_swallowed_error_ends_the_matter(bus: EventBus) -> None:
    """An error that middleware swallows causes no retry and no failed delivery, and nothing is emitted."""
    on, _, middleware, emit = bus.handlers()
    attempts: list[int] = []
    heard: list[str] = []

    @middleware
    async def swallow(ctx: EventContext, next: Any) -> None:
        with pytest.raises(ValueError, match="mine"):
            await next()

    @on("x", retry=RetryPolicy(max_retries=3, interval_start=0))
    async def handler(ctx: EventContext) -> None:
        attempts.append(ctx.attempt)
        await ctx.emit("y")
        raise ValueError("mine")

    @on("y", "event.failed")
    async def listen(ctx: EventContext) -> None:
        heard.append(ctx.event_type)

    await emit("x", "s")
    await bus.settle()
    assert (attempts, heard, await bus.get_failed_jobs()) == ([1], [], [])


async def test_event_middleware_wraps_each_event_once(bus: EventBus) -> None:
    """Middleware of the event scope wraps each event once, whether nobody or many handle it, and can skip it."""
    order: list[str] = []

    @bus.middleware(scope="event")
    async def around(ctx: EventContext, next: Any) -> None:
        order.append(f"begin {ctx.event_type}")
        if ctx.payload.get("pass", True):
            await next()
        order.append(f"end {ctx.event_type}")

    for name in ("one", "two"):

        @bus.on("x", name=name)
        async def handler(ctx: EventContext) -> None:
            order.append(f"{ctx.handler_name}")

    await bus.emit("x", "s")
    await bus.emit("nobody's", "s")
    await bus.emit("x", "s", {"pass": False})
    await bus.settle()
    assert order == ["begin x", "one", "two", "end x", "begin nobody's", "end nobody's", "begin x", "end x"]


# --- retries and timeouts ------------------------------------------------------------------


async def test_retries(bus: EventBus, clock: ManualClock) -> None:
    """A handler is tried again after the policy's pauses, on the bus's clock, until it succeeds."""
    at: list[float] = []
    begun = clock.time()

    @bus.on("x", retry=RetryPolicy(max_retries=5, interval_start=1, interval_step=1, interval_max=10))
    async def handler(ctx: EventContext) -> None:
        at.append(clock.time() - begun)
        if ctx.attempt < 4:
            raise ValueError

    await bus.emit("x", "s")
    await clock.advance(20)
    await bus.settle()
    assert at == [0, 1, 3, 6]
    assert await bus.get_failed_jobs() == []


async def test_a_retry_holds_back_only_its_own_subject(bus: EventBus, clock: ManualClock) -> None:
    """While one subject waits for a retry, its next event waits and those of others do not."""
    done: list[tuple[str, int]] = []

    @bus.on("x", retry=RetryPolicy(max_retries=1, interval_start=60, interval_max=60))
    async def handler(ctx: EventContext) -> None:
        if ctx.subject.name == "bad" and ctx.attempt == 1 and ctx.payload["n"] == 0:
            raise ValueError
        done.append((ctx.subject.name, ctx.payload["n"]))

    for n in range(2):
        for subject in ("bad", "good"):
            await bus.emit("x", subject, {"n": n})
    await clock.advance(59)
    assert done == [("good", 0), ("good", 1)]
    await clock.advance(1)
    await bus.settle()
    assert done[2:] == [("bad", 0), ("bad", 1)]


async def test_retries_only_for_the_exceptions_asked_for(bus: EventBus) -> None:
    """Other exceptions are final at once."""
    attempts: list[str] = []

    @bus.on("x", retry=RetryPolicy(max_retries=2, interval_max=0, on=(KeyError, OSError)))
    async def handler(ctx: EventContext) -> None:
        attempts.append(ctx.payload["kind"])
        raise {"key": KeyError, "value": ValueError, "timeout": TimeoutError}[ctx.payload["kind"]]

    for kind in ("key", "value", "timeout"):
        await bus.emit("x", "s", {"kind": kind})
    await bus.settle()
    assert attempts == ["key"] * 3 + ["value"] + ["timeout"] * 3


async def test_the_bus_has_a_policy_for_those_without(clock: ManualClock) -> None:
    """A bus's own policy is that of handlers that have none."""
    async with EventBus(clock=clock, retry=RetryPolicy(max_retries=1, interval_max=0)) as bus:
        attempts: list[int] = []

        @bus.on("x")
        async def handler(ctx: EventContext) -> None:
            attempts.append(ctx.attempt)
            raise ValueError

        await bus.emit("x", "s")
        await bus.settle()
        assert attempts == [1, 2]


async def test_a_timeout_cancels_and_counts_as_a_failure(bus: EventBus, clock: ManualClock) -> None:
    """An attempt that takes longer than its timeout is cancelled, and tried again like one that raised."""
    ended: list[str] = []

    @bus.on("x", timeout=5, retry=RetryPolicy(max_retries=1, interval_max=0))
    async def handler(ctx: EventContext) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(f"cancelled {ctx.attempt}")
            raise

    await bus.emit("x", "s")
    await clock.advance(4.9)
    assert ended == []
    await clock.advance(20)
    await bus.settle()
    assert ended == ["cancelled 1", "cancelled 2"]
    (failed,) = await bus.get_failed_jobs()
    assert isinstance(failed.error, TimeoutError)
    assert failed.attempts == 2


async def test_a_handler_that_cancels_itself_has_failed(bus: EventBus) -> None:
    """Raising CancelledError is a failure like another, and the bus goes on."""

    @bus.on("x")
    async def handler(ctx: EventContext) -> None:
        raise asyncio.CancelledError

    await bus.emit("x", "s")
    await bus.emit("x", "s")
    await bus.settle()
    assert len(await bus.get_failed_jobs()) == 2


# --- cascades ------------------------------------------------------------------------------


async def test_every_event_knows_its_cause_and_its_root(bus: EventBus) -> None:
    """The chain can be followed from each event, and seen as a tree from its beginning."""

    @bus.on("a")
    async def first(ctx: EventContext) -> None:
        await ctx.emit("b", subject="s1")
        await ctx.emit("b", subject="s2")

    @bus.on("b")
    async def second(ctx: EventContext) -> None:
        await ctx.emit("c")

    root = await bus.emit("a", "s")
    await bus.settle()
    events = [event async for event in bus.history()]
    assert {event.root for event in events[1:]} == {root}
    assert [event.depth for event in events] == [0, 1, 1, 2, 2]
    by_id = {event.id: event for event in events}
    assert all(by_id[event.cause or ""].type == {"b": "a", "c": "b"}[event.type] for event in events[1:])
    tree = await bus.trace(root)
    assert str(tree) == "a of s\n  b of s1\n    c of s1\n  b of s2\n    c of s2"
    part = await bus.trace(events[1].id)
    assert part is not None
    assert [node.event.type for node in part] == ["b", "c"]
    assert await bus.trace("nobody") is None


async def test_a_cascade_without_end_stops(clock: ManualClock) -> None:
    """A chain longer than ``max_depth`` stops with an error that names it, and is not tried again."""
    async with EventBus(clock=clock, max_depth=5, retry=RetryPolicy(max_retries=3, interval_max=0)) as bus:
        depths: list[int] = []

        @bus.on("ping")
        async def ping(ctx: EventContext) -> None:
            depths.append(ctx.event.depth)
            await ctx.emit("pong")

        @bus.on("pong")
        async def pong(ctx: EventContext) -> None:
            depths.append(ctx.event.depth)
            await ctx.emit("ping")

        await bus.emit("ping", "s")
        await bus.settle()
        assert depths == [0, 1, 2, 3, 4, 5]
        (failed,) = await bus.get_failed_jobs()
        assert isinstance(failed.error, CascadeLimit)
        assert failed.error.chain == ("ping", "pong", "ping", "pong", "ping", "pong", "ping")
        assert failed.attempts == 1


async def test_closing_says_what_was_not_handled(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that does not end in time is cancelled when the bus closes, and the log says how much was left."""
    bus = EventBus(close_timeout=0.05)
    ended: list[str] = []

    @bus.on("x")
    async def hung(ctx: EventContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    await bus.emit("x", "s")
    await bus.emit("x", "s")
    await bus.aclose()
    assert ended == ["cancelled"]
    assert "2 events had not been handled" in caplog.text
