"""What is told of a subject's changes: after the commit, what really changed, once."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from milepost import CountTracker, Event, EventContext, KeyValueEQ, TrackingManager, UnknownEventError
from milepost.subjects import SUBJECT_DELETED, SUBJECT_PROPERTY_CHANGED, SUBJECT_PROPERTY_DELETED
from tests.subjects.conftest import Heard, changes


async def test_each_property_that_changed_is_told(manager: TrackingManager, heard: Heard) -> None:
    """One event for each property, with what it was and what it is, whatever happened to it in between."""
    user = await manager.subject("user-1")
    user.set("a", 0)
    user.set("a", 1)
    user.set("b", "x")
    await manager.settle()
    assert heard("subject.") == [], "nothing is told before it is stored"
    await user.store()
    user.set("a", lambda n: n + 1)
    user.delete("b")
    await user.store()
    await manager.settle()
    assert changes(heard("subject.")) == [("a", None, 1), ("b", None, "x"), ("a", 1, 2), ("b", "x", None)]
    assert [event.type for event in heard("subject.")] == [SUBJECT_PROPERTY_CHANGED] * 3 + [SUBJECT_PROPERTY_DELETED]
    assert {event.subject for event in heard("subject.")} == {"user-1"}
    assert len({event.id for event in heard("subject.")}) == 4


async def test_only_what_really_changed_is_told(manager: TrackingManager, heard: Heard) -> None:
    """Setting the same value, setting one back, and deleting what is not there are no changes; types count."""
    user = await manager.subject("user-1")
    user.set("n", 1)
    user.set("nested", {"list": [1, {"a": 1}], "b": 2})
    await user.store()
    await manager.settle()
    before = len(heard("subject."))
    user.set("n", 1)
    user.set("nested", {"b": 2, "list": [1, {"a": 1}]})
    user.delete("never")
    user.set("other", 1)
    user.delete("other")
    await user.store()
    await manager.settle()
    assert len(heard("subject.")) == before
    await user.set("n", True)
    await user.set("n", 1.0)
    await manager.settle()
    assert changes(heard("subject."))[before:] == [("n", 1, True), ("n", True, 1.0)]


async def test_changes_inside_lists_and_dicts_are_told(manager: TrackingManager, heard: Heard) -> None:
    """Also when the function changes the very object it was given, or the one that was read."""

    def deeper(value: dict[str, list[dict[str, int]]]) -> dict[str, list[dict[str, int]]]:
        value["list"][0]["a"] += 1
        return value

    user = await manager.subject("user-1")
    await user.set("nested", {"list": [{"a": 1}]})
    await user.set("nested", deeper)
    mine = user.get("nested")
    mine["list"].append(1)
    await user.set("nested", mine)
    await manager.settle()
    assert [new for _, _, new in changes(heard("subject."))] == [
        {"list": [{"a": 1}]},
        {"list": [{"a": 2}]},
        {"list": [{"a": 2}, 1]},
    ]


async def test_muted_and_extended_properties_are_not_told(manager: TrackingManager, heard: Heard) -> None:
    """Nobody hears of them, whether they are set or deleted."""
    user = await manager.subject("user-1")
    user.set("quiet", 1, muted=True)
    user.set_ext("ip", "127.0.0.1")
    await user.store()
    user.delete("quiet", muted=True)
    user.delete_ext("ip")
    await user.store()
    user.set("both", 1, muted=True)
    user.set("both", 2)
    await user.store()
    await manager.settle()
    assert changes(heard("subject.")) == [("both", None, 2)], "one change of two that is not muted is told"


async def test_extra_travels_with_the_event(manager: TrackingManager, heard: Heard) -> None:
    """As its metadata, for changes and deletions."""
    user = await manager.subject("user-1")
    await user.set("status", "suspended", extra={"reason": "policy"})
    await user.delete("status", extra={"reason": "expired", "at": datetime(2024, 1, 1, tzinfo=UTC)})
    await manager.settle()
    assert [event.metadata for event in heard("subject.")] == [
        {"reason": "policy"},
        {"reason": "expired", "at": "2024-01-01T00:00:00+00:00"},
    ]


async def test_deleting_a_subject_is_told(manager: TrackingManager, heard: Heard) -> None:
    """Each property goes, then the subject, with all that it was; one that is not there is not told of."""
    user = await manager.subject("user-1")
    user.set("a", 1)
    user.set("b", [2])
    user.set_ext("c", 3)
    await user.store()
    await manager.settle()
    before = len(heard())
    await user.flush()
    await user.flush()
    await manager.settle()
    told = heard("subject.")[before:]
    assert sorted(changes(told[:2])) == [("a", 1, None), ("b", [2], None)]
    assert [event.type for event in told] == [SUBJECT_PROPERTY_DELETED, SUBJECT_PROPERTY_DELETED, SUBJECT_DELETED]
    assert told[2].data == {"props": {"a": 1, "b": [2]}, "ext_props": {"c": 3}}


async def test_handlers_get_the_values_themselves(manager: TrackingManager) -> None:
    """``ctx.old_value`` and ``ctx.new_value`` have their types; the payload is JSON."""
    seen: list[tuple[object, object]] = []
    payloads: list[dict[str, object]] = []

    @manager.bus.on(SUBJECT_PROPERTY_CHANGED)
    async def handle(ctx: EventContext) -> None:
        assert ctx.property_name == "price"
        seen.append((ctx.old_value, ctx.new_value))
        payloads.append(ctx.payload)

    product = await manager.subject("product-1")
    await product.set("price", Decimal("1.50"))
    await product.set("price", {datetime(2024, 1, 1, tzinfo=UTC)})
    await manager.settle()
    at = datetime(2024, 1, 1, tzinfo=UTC)
    assert seen == [(None, Decimal("1.50")), (Decimal("1.50"), {at})]
    assert payloads[1] == {"property_name": "price", "old_value": "1.50", "new_value": [at.isoformat()]}
    json.dumps(payloads)


async def test_events_are_in_the_outbox_of_their_commit(manager: TrackingManager) -> None:
    """They are kept with the change, in order, also while nobody listens."""
    user = await manager.subject("user-1")
    user.set("a", 1)
    user.set("b", 2)
    await user.store()
    await user.flush()
    kept = [json.loads(text) for _, text in await manager._authority.outbox()]
    assert [event["type"] for event in kept] == [SUBJECT_PROPERTY_CHANGED] * 2 + [SUBJECT_PROPERTY_DELETED] * 2 + [
        SUBJECT_DELETED
    ]
    assert len({event["id"] for event in kept}) == 5


async def test_ids_do_not_come_again(manager: TrackingManager, heard: Heard) -> None:
    """The same change made again is another event; so it is after the subject was deleted and made anew."""
    for _ in range(3):
        user = await manager.subject("user-1")
        await user.set("a", 1)
        await user.set("a", 2)
        await user.flush()
    await manager.settle()
    ids = [event.id for event in heard("subject.")]
    assert len(ids) == len(set(ids)) == 12


async def test_a_function_that_fails_tells_nothing(manager: TrackingManager, heard: Heard) -> None:
    """What cannot be stored as a whole is not stored at all, and the other changes are still there."""
    mine, other = await manager.subject("s"), await manager.subject("s")
    await other.set("n", 1)
    await mine.reload()
    mine.set("n", lambda n: n + 1)
    mine.set("m", 1)
    await other.delete("n")
    with pytest.raises(TypeError):
        await mine.store()
    await manager.settle()
    assert changes(heard("subject.")) == [("n", None, 1), ("n", 1, None)]
    assert (await manager.subject("s")).dict() == {}
    assert mine.has_changes
    await other.set("n", 5)
    await mine.store()
    assert (await manager.subject("s")).dict() == {"n": 6, "m": 1}


async def test_changes_drive_trackers(manager: TrackingManager) -> None:
    """A feed counts status changes by who made them; each event counts once."""
    manager.declare(
        "*", CountTracker(name="statuses", target=3, conditions=[KeyValueEQ(key="property_name", value="status")])
    )
    manager.feed(SUBJECT_PROPERTY_CHANGED, group=lambda event: event.metadata.get("actor"))
    for n in range(5):
        order = await manager.subject(f"order-{n}")
        order.set("status", "paid", extra={"actor": "ada" if n < 3 else "bob"})
        order.set("total", n, extra={"actor": "ada"})
        order.set("status2", n)
        await order.store()
        await order.set("status", "paid", extra={"actor": "ada"})
    await manager.settle()
    found = {}
    for actor in ("ada", "bob"):
        tracker = await manager.get_tracker(actor, "statuses")
        assert tracker is not None
        found[actor] = (tracker.progress, tracker.completed)
    assert found == {"ada": (3, True), "bob": (2, False)}


async def test_listeners_of_the_manager_hear_of_subjects(manager: TrackingManager) -> None:
    """They are asked for by code, by pattern and by the subject's name, and ``store`` waits for those that listen."""
    told: list[str] = []
    queue: asyncio.Queue[Event] = asyncio.Queue()

    @manager.on_event(SUBJECT_PROPERTY_CHANGED)
    async def changed(event: Event) -> None:
        await asyncio.sleep(0)
        told.append(f"{event.subject}: {event.data['property_name']} is {event.data['new_value']}")

    manager.add_listener(SUBJECT_PROPERTY_DELETED, lambda event: told.append(f"{event.data['property_name']} is gone"))
    manager.add_queue(SUBJECT_DELETED, queue)
    async with manager.subscribe("subject.*", group="user-*") as of_users, manager.subscribe() as of_trackers:
        user, other = await manager.subject("user-1"), await manager.subject("other")
        await user.set("n", 1)
        assert told == ["user-1: n is 1"]
        await user.delete("n")
        await other.set("n", 2)
        assert told == ["user-1: n is 1", "n is gone", "other: n is 2"]
        await other.flush()
        assert queue.get_nowait().subject == "other"
        assert of_users.waiting == 2
        assert of_trackers.waiting == 0


async def test_what_a_manager_cannot_listen_to(manager: TrackingManager) -> None:
    """An event of one's own, or of a model, is heard on the bus, and the error says so."""
    for code in ("user.created", "subject.nothing", "order.paid"):
        with pytest.raises(UnknownEventError, match=rf"unknown event '{code}'.*subject\.deleted.*manager\.bus\.on"):
            manager.on_event(code)


async def test_an_event_that_looks_like_one_of_these(manager: TrackingManager) -> None:
    """What a handler emits under the name of a subject's event is for the bus, as when it is emitted elsewhere."""
    told: list[Event] = []
    manager.add_listener(SUBJECT_DELETED, told.append)

    @manager.bus.on("go")
    async def go(ctx: EventContext) -> None:
        ctx.subject.set("n", 1)
        await ctx.emit(SUBJECT_DELETED)

    await manager.bus.emit(SUBJECT_DELETED, "s")
    await manager.bus.emit("go", "s")
    await manager.settle()
    assert told == []
