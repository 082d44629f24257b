"""What is told of models: of each operation once, with the fields; and what applications tell besides."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import computed_field

from milepost import CountTracker, Event, EventBus, EventContext, SQLiteDataStore, TrackingManager, default, init
from milepost.bus.transports.sqlite import SQLiteTransport
from milepost.subjects import (
    TrackedModel,
    after_save,
    before_create,
    before_save,
    dispatch_model_batch_event,
    dispatch_model_event,
    environment,
    model_event_handler,
)
from milepost.testing import ManualClock
from tests.subjects.conftest import Heard

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


class User(TrackedModel):
    """The model of an application that comes from elsewhere, with events of its own around its methods."""

    _collection = "users"

    username: str
    status: str = "inactive"
    last_login: datetime | None = None
    created_at: datetime

    @before_save("user.before_create")
    async def create(self) -> None:
        self.created_at = NOON
        await super().create()
        await dispatch_model_event(self._env.event_bus, User, "created", str(self.id), self)
        await dispatch_model_event(self._env.event_bus, User, "welcome_email", str(self.id), self, delay=60)

    @before_save("user.before_update")
    async def update_status(self, status: str) -> str:
        old, self.status = self.status, status
        await super().save()
        if old != status:
            await dispatch_model_event(self._env.event_bus, User, "status_changed", str(self.id), self)
        return old

    @after_save("user.login")
    async def record_login(self) -> None:
        self.last_login = NOON
        await super().save()


class Product(TrackedModel):
    name: str = ""
    price: Decimal = Decimal(0)
    parts: list[int] = []  # noqa: RUF012

    @computed_field  # type: ignore[prop-decorator]
    @property
    def label(self) -> str:
        """What is shown."""
        return f"{self.name}: {self.price}"


class Tagged(TrackedModel):
    tags: set[str]


@pytest.fixture(autouse=True)
def bound(manager: TrackingManager) -> Iterator[None]:
    """Bind all models to the manager of the test."""
    TrackedModel.bind(manager)
    yield
    TrackedModel.bind(None)


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


async def test_each_operation_is_told_with_the_fields(manager: TrackingManager, heard: Heard) -> None:
    """Flat, with the id, as JSON; an update also says what changed, from what to what; nothing else is told."""
    product = Product(id="1", name="tea", price=Decimal("1.50"))
    await product.create()
    await product.update(price=Decimal("2.50"), parts=[1])
    await product.save()
    await product.delete()
    await manager.settle()
    created, updated, deleted = heard()
    fields = {"id": "1", "name": "tea", "price": "1.50", "parts": [], "label": "tea: 1.50"}
    assert (created.type, created.data, created.subject) == ("product.created", fields, "product:1")
    assert updated.type == "product.updated"
    now = {**fields, "price": "2.50", "parts": [1], "label": "tea: 2.50"}
    assert updated.data == {
        **now,
        "changes": {"price": {"old": "1.50", "new": "2.50"}, "parts": {"old": [], "new": [1]}},
    }
    assert (deleted.type, deleted.data) == ("product.deleted", now)
    assert len({event.id for event in heard()}) == 3


async def test_nothing_is_told_of_what_is_not_stored(manager: TrackingManager, heard: Heard) -> None:
    """A before-hook that raises, a conflict, and a save that changes nothing tell nothing."""

    class Refusing(TrackedModel):
        n: int = 0

        @before_create
        async def _refuse(self) -> None:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await Refusing().create()
    product = Product(id="1")
    await product.create()
    with pytest.raises(ValueError, match="already"):
        await Product(id="1").create()
    await product.save()
    await product.update(name="")
    tagged = Tagged(id="1", tags={f"tag {n}" for n in range(20)})
    await tagged.create()
    await tagged.update(tags={f"tag {n}" for n in reversed(range(20))})
    await manager.settle()
    assert types(heard()) == ["product.created", "tagged.created"]


async def test_events_around_methods(manager: TrackingManager, heard: Heard, clock: ManualClock) -> None:
    """``@before_save("…")`` publishes before the body, ``@after_save("…")`` after it; they are no hooks."""
    user = User(username="ada")  # type: ignore[call-arg]
    await user.create()
    await manager.settle()
    assert types(heard()) == ["user.before_create", "user.created"]
    before, created = heard()
    assert before.data == {"id": user.id, "username": "ada", "status": "inactive", "last_login": None}
    assert created.data == {**before.data, "created_at": "2024-02-29T12:00:00Z"}
    assert await user.update_status("active") == "inactive"
    await user.record_login()
    await manager.settle()
    assert types(heard())[2:] == [
        "user.before_update",
        "user.updated",
        "user.status_changed",
        "user.updated",
        "user.login",
    ]
    assert [event.data["status"] for event in heard()[2:5]] == ["inactive", "active", "active"]
    assert heard()[-1].data["last_login"] == "2024-02-29T12:00:00Z"
    assert "user.welcome_email" not in types(heard())
    await clock.advance(61)
    for _ in range(200):
        await manager.settle()
        if "user.welcome_email" in types(heard()):
            break
    assert types(heard())[-1] == "user.welcome_email"
    assert heard()[-1].data["username"] == "ada"


async def test_an_explicit_dispatch_is_the_same_event(manager: TrackingManager, heard: Heard) -> None:
    """Dispatching what the operation told, while the model is at that revision, delivers nothing twice."""
    product = Product(id="1")
    await product.create()
    ids = [await dispatch_model_event(manager.bus, Product, "created", "1", product) for _ in range(3)]
    await product.update(name="tea")
    ids += [await dispatch_model_event(manager.bus, Product, "updated", "1", product) for _ in range(3)]
    await manager.settle()
    assert types(heard()) == ["product.created", "product.updated"]
    assert [event.id for event in heard()] == [ids[0], ids[3]]
    assert len(set(ids)) == 2
    assert heard()[1].data["changes"] == {"name": {"old": "", "new": "tea"}}
    await product.update(name="coffee")
    await dispatch_model_event(manager.bus, Product, "updated", "1", product)
    await manager.settle()
    assert types(heard()) == ["product.created", "product.updated", "product.updated"]


async def test_an_explicit_dispatch_of_what_was_loaded(manager: TrackingManager, heard: Heard) -> None:
    """It is the same event too, for who loads the model at the revision that the event tells of."""
    await Product(id="1").create()
    loaded = await Product.get("1")
    ids = [await dispatch_model_event(manager.bus, Product, "created", "1", loaded) for _ in range(2)]
    (found,) = await Product.find()
    await found.update(name="tea")
    again = await Product.get("1")
    ids += [await dispatch_model_event(manager.bus, Product, "updated", "1", again) for _ in range(2)]
    await manager.settle()
    assert [event.id for event in heard()] == [ids[0], ids[2]]
    assert len(set(ids)) == 2
    assert heard()[1].data["changes"] == {"name": {"old": "", "new": "tea"}}


class Imported(TrackedModel):
    name: str = ""


async def test_an_explicit_dispatch_into_the_outbox(tmp_path: Path, clock: ManualClock) -> None:
    """Where the stream is the outbox, it has the event with the commit, and knows it again."""
    store, stream = SQLiteDataStore(tmp_path / "own.db"), SQLiteTransport(tmp_path / "own.db")
    async with TrackingManager(data_store=store, bus=stream, clock=clock) as manager:
        Imported.bind(manager)
        told: list[str] = []

        @manager.bus.event_handler("imported.*", durable="all")
        async def tell(event: Event) -> None:
            told.append(event.id)

        imported = Imported(id="1")
        await imported.create()
        ids = [await dispatch_model_event(manager.bus, Imported, "created", "1", imported) for _ in range(2)]
        await manager.settle()
        assert told == ids[:1] == ids[1:]


async def test_batches(manager: TrackingManager, heard: Heard) -> None:
    """Events about many models go together, in order, with their fields."""
    products = [Product(id=f"{n}", name=f"n{n}") for n in range(5)]
    ids = await dispatch_model_batch_event(manager.bus, Product, "imported", products, batch_size=2)
    ids += await dispatch_model_batch_event(manager.bus, Product, "imported", [{"id": 7, "by": "hand"}])
    await dispatch_model_event(manager.bus, Product, "audited", data={"ok": True})
    await manager.settle()
    assert [event.id for event in heard("product.imported")] == ids
    assert [event.data.get("name") for event in heard("product.imported")] == [*(f"n{n}" for n in range(5)), None]
    assert heard("product.imported")[-1].subject == "product:7"
    assert heard("product.audited")[0].data == {"ok": True}
    with pytest.raises(ValueError, match="batch_size"):
        await dispatch_model_batch_event(manager.bus, Product, "imported", products, batch_size=0)


async def test_handlers_of_a_model(manager: TrackingManager) -> None:
    """``model_event_handler`` takes the class or its name, and gets the event."""
    told: list[str] = []

    @model_event_handler("Product", "created", bus=manager.bus)
    async def created(event: Event) -> None:
        told.append(f"{event.data['name']} created")

    @model_event_handler(Product, "*", bus=manager.bus)
    async def anything(event: Event) -> None:
        told.append(event.type)

    await Product(name="tea").create()
    await manager.settle()
    assert sorted(told) == ["product.created", "tea created"]


async def test_models_in_handlers(manager: TrackingManager, heard: Heard) -> None:
    """What a handler does to models is caused by its event; without end it is stopped like every cascade."""

    @manager.bus.on("order.paid")
    async def paid(ctx: EventContext) -> None:
        await Product(id="1").create()

    id = await manager.bus.emit("order.paid", "order-1")
    await manager.settle()
    (created,) = heard("product.")
    assert (created.cause, created.depth) == (id, 1)

    runs = 0

    @manager.bus.on("product.updated")
    async def again(ctx: EventContext) -> None:
        nonlocal runs
        runs += 1
        product = await Product.get(ctx.payload["id"])
        assert product is not None
        await product.update(price=product.price + 1)

    product = await Product.get("1")
    assert product is not None
    await product.update(name="tea")
    await manager.settle()
    assert runs == manager.bus.max_depth + 1


async def test_models_drive_trackers(manager: TrackingManager) -> None:
    """A feed of a model's events counts each change once, however often it is told."""
    manager.declare("product:*", CountTracker(name="changes", target=3))
    manager.feed("product.*")
    product = Product(id="1")
    await product.create()
    for n in range(3):
        await product.update(name=f"{n}")
        await dispatch_model_event(manager.bus, Product, "updated", "1", product)
    await manager.settle()
    tracker = await manager.get_tracker("product:1", "changes")
    assert tracker is not None
    assert (tracker.progress, tracker.completed) == (3, True)


async def test_events_last_with_what_they_tell_of(manager: TrackingManager) -> None:
    """They are in the outbox of the commit that stored the model."""
    await Product(id="1").create()
    ((_, kept),) = await manager._authority.outbox()
    assert '"type":"product.created"' in kept


async def test_with_init_models_have_a_manager_and_a_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    """``init(services=…)`` is what models use that are bound to no other; handlers may come before it."""
    TrackedModel.bind(None)
    monkeypatch.setattr(environment, "_defaults", environment._Defaults())
    event_bus = EventBus()
    monkeypatch.setattr(default, "event_bus", event_bus)
    told: list[Any] = []

    class Initial(TrackedModel):
        name: str = ""

        @after_save
        async def _tell(self) -> None:
            told.append(self._env.mailer)

    @model_event_handler("Initial", "created")
    async def created(event: Event) -> None:
        told.append(event.data["name"])

    environment.use_bus(event_bus)
    manager = init(services={"mailer": "the mailer"})
    async with manager:
        await Initial(name="ada").create()
        await manager.settle()
        assert told == ["the mailer", "ada"]
        assert Initial()._env.event_bus is event_bus
        assert Initial()._env.manager is manager
