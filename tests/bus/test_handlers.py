"""Handlers: which events they get, with which filters, and what they are given."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio.from_thread
import pytest

from milepost import Event, EventBus, EventContext, InvalidDefinition
from milepost.testing import ManualClock


async def test_the_first_example(bus: EventBus) -> None:
    """What the documentation shows first works: a handler emits, and the next one hears."""
    on, _, _, emit = bus.handlers()
    heard: list[tuple[str, str]] = []

    @on("order.submitted")
    async def validate(ctx: EventContext) -> None:
        heard.append((ctx.event_type, ctx.subject.name))
        if ctx.payload["total"] > 0:
            await ctx.emit("order.validated")

    @on("order.validated")
    async def validated(ctx: EventContext) -> None:
        heard.append((ctx.event_type, ctx.subject.name))

    await emit("order.submitted", "order:1", {"total": 3})
    await emit("order.submitted", "order:2", {"total": 0})
    await bus.settle()
    assert sorted(heard) == [
        ("order.submitted", "order:1"),
        ("order.submitted", "order:2"),
        ("order.validated", "order:1"),
    ]


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("order.paid", ["order.paid"], ["order.paid.twice", "order", "xorder.paid", "ORDER.PAID"]),
        ("order.*", ["order.paid", "order.paid.twice", "order."], ["order", "reorder.paid"]),
        ("sensor.?", ["sensor.1", "sensor.é"], ["sensor.", "sensor.12"]),
        ("*.failed", ["order.failed", "a.b.failed", ".failed"], ["failed", "order.failed.again"]),
        ("*", ["anything", "a.b\nc"], []),
        ("a*b*c", ["abc", "a.b.c", "axbxc"], ["ac", "abcd"]),
        ("?.*", ["a.b"], ["ab.c"]),
        ("a.(b)[c]+", ["a.(b)[c]+"], ["a.bc"]),
        ("*x*", ["x", "axb"], ["ab"]),
    ],
)
async def test_patterns(bus: EventBus, pattern: str, matching: list[str], others: list[str]) -> None:
    """A star is anything, dots included; a question mark is one character; all else stands for itself."""
    heard: list[str] = []

    @bus.on(pattern)
    async def handler(ctx: EventContext) -> None:
        heard.append(ctx.event_type)

    for event_type in [*matching, *others]:
        await bus.emit(event_type)
    await bus.settle()
    assert sorted(heard) == sorted(matching)


async def test_a_handler_with_two_matching_patterns_runs_once(bus: EventBus) -> None:
    """However many of its patterns match, a handler gets an event once."""
    heard: list[str] = []

    @bus.on("a.*", "*.b", "a.b")
    async def handler(ctx: EventContext) -> None:
        heard.append(ctx.event_type)

    await bus.emit("a.b")
    await bus.settle()
    assert heard == ["a.b"]


async def test_filters_in_any_order(bus: EventBus) -> None:
    """``@when`` filters whether it stands below ``@on`` or above it."""
    on, when, _, emit = bus.handlers()
    heard: list[str] = []

    @on("x")
    @when(lambda ctx: ctx.payload["n"] > 1)
    async def below(ctx: EventContext) -> None:
        heard.append("below")

    @when(lambda ctx: ctx.payload["n"] > 1)
    @on("x")
    async def above(ctx: EventContext) -> None:
        heard.append("above")

    @when(lambda ctx: ctx.payload["n"] < 5)
    @on("x")
    @when(lambda ctx: ctx.payload["n"] > 1)
    async def both(ctx: EventContext) -> None:
        heard.append("both")

    for n in (1, 3, 7):
        await emit("x", None, {"n": n})
    await bus.settle()
    assert sorted(heard) == ["above", "above", "below", "below", "both"]


async def test_each_on_keeps_its_own_filters(bus: EventBus) -> None:
    """A function with several ``@on`` has the filters of each for that one's events only."""
    on, when, _, emit = bus.handlers()
    heard: list[tuple[str, int]] = []

    @on("big")
    @when(lambda ctx: ctx.payload["n"] > 10)
    @on("small")
    @when(lambda ctx: ctx.payload["n"] < 5)
    async def handler(ctx: EventContext) -> None:
        heard.append((ctx.event_type, ctx.payload["n"]))

    for n in (1, 7, 20):
        await emit("big", None, {"n": n})
        await emit("small", None, {"n": n})
    await bus.settle()
    assert sorted(heard) == [("big", 20), ("small", 1)]


async def test_two_on_directly_above_one_filter_share_it(bus: EventBus) -> None:
    """A filter below two ``@on`` that stand together holds for both."""
    on, when, _, emit = bus.handlers()
    heard: list[str] = []

    @on("a")
    @on("b")
    @when(lambda ctx: ctx.payload["ok"])
    async def handler(ctx: EventContext) -> None:
        heard.append(ctx.event_type)

    for ok in (False, True):
        await emit("a", None, {"ok": ok})
        await emit("b", None, {"ok": ok})
    await bus.settle()
    assert sorted(heard) == ["a", "b"]


async def test_predicates_may_be_async(bus: EventBus) -> None:
    """Predicates are plain or async, also lambdas that return something to await; all must hold."""
    on, when, _, emit = bus.handlers()
    heard: list[int] = []

    async def even(ctx: EventContext) -> bool:
        await asyncio.sleep(0)
        return bool(ctx.payload["n"] % 2 == 0)

    @on("x")
    @when(even, lambda ctx: asyncio.sleep(0, result=ctx.payload["n"] > 0), lambda ctx: ctx.payload["n"] > 2)
    async def handler(ctx: EventContext) -> None:
        heard.append(ctx.payload["n"])

    for n in range(6):
        await emit("x", "s", {"n": n})
    await bus.settle()
    assert heard == [4]


async def test_plain_handlers_do_not_hold_the_loop(bus: EventBus) -> None:
    """A plain function is run in a thread, so that it may block."""
    threads: list[int] = []

    @bus.on("x")
    def handler(ctx: EventContext) -> None:
        threads.append(threading.get_ident())

    await bus.emit("x")
    await bus.settle()
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_plain_handlers_emit_from_their_thread(bus: EventBus) -> None:
    """A plain function emits through anyio; what it emits leaves when it succeeds, and knows its cause."""

    @bus.on("x")
    def handler(ctx: EventContext) -> None:
        anyio.from_thread.run(ctx.emit, "y", {"n": 1})
        if ctx.payload["fail"]:
            raise ValueError

    for fail in (True, False):
        id = await bus.emit("x", "s", {"fail": fail})
        await bus.settle()
    assert [event.cause async for event in bus.history("y")] == [id]


async def test_a_lambda_that_returns_an_awaitable(bus: EventBus) -> None:
    """A lambda is a handler too; what it returns is awaited."""
    bus.on("a")(lambda ctx: ctx.emit("b", {"from": ctx.event_type}))
    heard: list[Any] = []

    @bus.on("b")
    async def handler(ctx: EventContext) -> None:
        heard.append(ctx.payload)

    await bus.emit("a")
    await bus.settle()
    assert heard == [{"from": "a"}]


async def test_event_handlers_get_the_event(bus: EventBus) -> None:
    """``@event_handler`` gets the event as it was published, with its identity."""
    heard: list[Event] = []

    @bus.event_handler("user.created")
    async def welcome(event: Event) -> None:
        heard.append(event)

    event = Event(name="user.created", data={"id": 1}, subject="user:1")
    await bus.publish(event)
    await bus.settle()
    assert [(found.id, found.type, found.name, found.data, found.subject) for found in heard] == [
        (event.id, "user.created", "user.created", {"id": 1}, "user:1")
    ]


async def test_what_a_context_knows(bus: EventBus, clock: ManualClock) -> None:
    """A context has the event and its parts, and a subject that always has a name."""
    seen: list[EventContext] = []

    @bus.on("*")
    async def handler(ctx: EventContext) -> None:
        seen.append(ctx)

    await bus.emit("a", "subject:1", {"x": [1]}, tenant="t")
    await bus.emit("b")
    await bus.settle()
    first, second = sorted(seen, key=lambda ctx: ctx.event_type)
    assert (first.event_type, first.subject.name, first.payload) == ("a", "subject:1", {"x": [1]})
    assert (first.metadata, first.get_metadata("tenant"), first.get_metadata("no", 1)) == ({"tenant": "t"}, "t", 1)
    assert first.event.time.timestamp() == clock.time()
    assert (first.event.type, first.event.data, first.event.metadata) == ("a", {"x": [1]}, {"tenant": "t"})
    assert second.subject.name
    assert (second.payload, second.metadata) == ({}, {})


async def test_property_changes_are_not_read_from_payloads(bus: EventBus) -> None:
    """A payload that merely has such keys is no property change; an event that tells of one is."""
    seen: list[tuple[Any, Any, Any]] = []

    @bus.on("*")
    async def handler(ctx: EventContext) -> None:
        seen.append((ctx.property_name, ctx.old_value, ctx.new_value))

    await bus.emit("x", "s", {"property_name": "p", "old_value": 1, "value": 2, "new_value": 2})
    await bus.publish(Event("y", subject="s", change={"name": "p", "old": 1, "new": 2}))
    await bus.settle()
    assert seen == [(None, None, None), ("p", 1, 2)]


async def test_payloads_are_isolated(bus: EventBus) -> None:
    """What one handler does to its payload, or the caller to theirs afterwards, no other sees."""
    seen: list[Any] = []
    payload = {"list": [1], "dict": {"a": 1}}

    for name in "abc":

        @bus.on("x", name=name)
        async def handler(ctx: EventContext) -> None:
            seen.append((dict(ctx.payload["dict"]), list(ctx.payload["list"]), dict(ctx.metadata), ctx.event.data))
            ctx.payload["list"].append(2)
            ctx.payload["dict"]["b"] = 2
            ctx.payload["new"] = 1
            ctx.event.data["list"].append(3)
            ctx.set_metadata("noted", 1)

    await bus.emit("x", "s", payload)
    payload["list"].append(9)
    await bus.settle()
    assert [(one, two, three) for one, two, three, _ in seen] == [({"a": 1}, [1], {})] * 3
    assert all(data is not other for *_, data in seen for *_, other in seen if data is not other)
    assert [event.data async for event in bus.history()] == [{"list": [1], "dict": {"a": 1}}]


async def test_changes_of_properties_are_isolated(bus: EventBus) -> None:
    """What one handler does to the old and new values of a property, or to the event's change, no other sees."""
    seen: list[Any] = []

    for name in "abc":

        @bus.on("x", name=name)
        async def handler(ctx: EventContext) -> None:
            change = ctx.event.change
            assert change is not None
            seen.append((list(ctx.new_value), ctx.property_name, list(change["new"])))
            ctx.new_value.append("spoilt")
            change["new"].append("spoilt")
            change["name"] = "spoilt"

    change = {"name": "tags", "old": [], "new": ["new"]}
    await bus.publish(Event("x", subject="s", change=change))
    change["name"] = "spoilt"
    await bus.settle()
    assert seen == [(["new"], "tags", ["new"])] * 3


@pytest.mark.parametrize(
    "payload",
    [{"x": object()}, {"x": {1, 2}}, {1: 2}, {"x": b"bytes"}, ["no", "dict"], "text", {"x": [{"y": lambda: 0}]}],
)
async def test_payloads_are_json(bus: EventBus, payload: Any) -> None:
    """What JSON cannot say is refused where it is emitted, and nothing is published."""
    with pytest.raises(TypeError):
        await bus.emit("x", "s", payload)
    assert [event async for event in bus.history()] == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
async def test_values_that_json_has_no_word_for(bus: EventBus, value: Any) -> None:
    """NaN, infinity and lone surrogates are refused, naming where they are."""
    with pytest.raises(ValueError, match=r"payload\['x'\]"):
        await bus.emit("x", "s", {"x": value})


async def test_a_loop_in_a_payload_is_refused(bus: EventBus) -> None:
    """A payload that contains itself is refused instead of being followed forever."""
    payload: dict[str, Any] = {}
    payload["me"] = payload
    with pytest.raises(ValueError, match="deeper than 64"):
        await bus.emit("x", "s", payload)


async def test_objects_that_can_be_called(bus: EventBus) -> None:
    """Handlers may be objects, also such as cannot be keys of a dict, methods and partial functions."""
    heard: list[str] = []

    @dataclass
    class Recorder:
        word: str

        async def __call__(self, ctx: EventContext) -> None:
            heard.append(self.word)

        async def method(self, ctx: EventContext) -> None:
            heard.append(f"{self.word} by method")

    def note(word: str, ctx: EventContext) -> None:
        heard.append(word)

    decorated, registered, refuses = Recorder("decorated"), Recorder("registered"), Recorder("refuses")
    bus.on("x")(decorated)
    bus.when(lambda ctx: False)(bus.on("x")(refuses))
    bus.register(registered, "x")
    bus.register(registered.method, "x")
    bus.register(partial(note, "partial"), "x")
    await bus.emit("x")
    await bus.settle()
    assert sorted(heard) == ["decorated", "partial", "registered", "registered by method"]
    assert bus.unregister(decorated) == 1
    assert bus.unregister(registered.method) == 1


async def test_unregister(bus: EventBus) -> None:
    """Handlers go by name, by function, or all at once; how many went is told."""

    async def one(ctx: EventContext) -> None:
        raise AssertionError

    bus.register(one, ["a", "b"])
    bus.register(one, "c")
    bus.register(lambda ctx: None, "a", name="two")
    bus.on("a")(one)
    assert bus.unregister("one") == 3
    assert bus.unregister("one") == 0
    bus.register(one, "a")
    assert bus.unregister(one) == 1
    assert bus.unregister_all() == 1
    await bus.emit("a")
    await bus.settle()
    assert (await bus.status()).failed == 0


async def test_filters_of_a_function_that_was_unregistered_are_forgotten(bus: EventBus) -> None:
    """A function that is registered again begins anew."""
    heard: list[str] = []

    async def handler(ctx: EventContext) -> None:
        heard.append(ctx.event_type)

    bus.on("a")(bus.when(lambda ctx: False)(handler))
    bus.unregister(handler)
    bus.on("a")(handler)
    await bus.emit("a")
    await bus.settle()
    assert heard == ["a"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda bus: bus.on(),
        lambda bus: bus.on(""),
        lambda bus: bus.on(3),
        lambda bus: bus.on("x", timeout=0)(print),
        lambda bus: bus.on("x", timeout=True)(print),
        lambda bus: bus.on("x", concurrency=0)(print),
        lambda bus: bus.on("x", retry=3)(print),
        lambda bus: bus.on("x", breaker=3)(print),
        lambda bus: bus.on("x", durable="")(print),
        lambda bus: bus.register(3, "x"),
        lambda bus: bus.when(3)(print),
        lambda bus: bus.middleware(3),
        lambda bus: bus.add_middleware(print, "nobody"),
        lambda bus: EventBus(max_depth=0),
        lambda bus: EventBus(3),
        lambda bus: EventBus(retry=3),
    ],
)
def test_wrong_settings_are_refused(wrong: Any) -> None:
    """A setting that cannot be is refused at once, with a sentence."""
    with pytest.raises(InvalidDefinition):
        wrong(EventBus())
