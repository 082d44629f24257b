"""Models: created, found, changed and deleted; hooks around that; validated as a whole before they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from milepost import InvalidDefinition, ModelExists, ModelNotFound, TrackingManager
from milepost.subjects import (
    TrackedModel,
    after_create,
    after_delete,
    after_save,
    after_update,
    after_write,
    before_create,
    before_delete,
    before_save,
    before_update,
    before_write,
    environment,
)
from tests.conftest import Place

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def bound(request: pytest.FixtureRequest) -> Iterator[None]:
    """Bind all models to the manager of the test."""
    if "manager" in request.fixturenames:
        TrackedModel.bind(request.getfixturevalue("manager"), {"mailer": "the mailer"})
    yield
    TrackedModel.bind(None)


class User(TrackedModel):
    _collection = "users"

    username: str
    email: str = ""
    age: int = 0
    created_at: datetime

    @before_create
    async def _stamp(self) -> None:
        self.created_at = NOON


class Kind(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Address(BaseModel):
    street: str
    numbers: list[int] = []


class Everything(TrackedModel):
    key: UUID
    price: Decimal
    kind: Kind
    address: Address
    others: dict[str, Address] = Field(default_factory=dict)
    tags: set[str] = Field(default_factory=set)
    pair: tuple[int, str] = (0, "")
    maybe: datetime | None = None
    odd: dict[str, Any] = Field(default_factory=dict)
    named: str = Field("", alias="theName")

    model_config = ConfigDict(populate_by_name=True)


async def test_create_and_get(manager: TrackingManager) -> None:
    """A model gets an id, is stored when it is created, and is found by its id with all its fields."""
    user = User(username="ada")
    other = User(username="bob", id="bob-1")
    assert user.id
    assert user.id != User(username="ada").id
    assert await User.get(user.id) is None
    await user.create()
    await other.create()
    found = await User.get(user.id)
    assert found == user
    assert found is not user
    assert found.created_at == NOON
    assert (await User.get("bob-1")) == other
    assert await User.get("nobody") is None


async def test_a_model_is_a_subject(manager: TrackingManager) -> None:
    """Its fields are the properties of the subject ``collection:id``, as JSON; groups know nothing of it."""
    await User(username="ada", id="1").create()
    subject = await manager.subject("users:1")
    assert subject.dict() == {
        "id": "1",
        "username": "ada",
        "email": "",
        "age": 0,
        "created_at": "2024-02-29T12:00:00Z",
    }
    await subject.set("age", 36)
    found = await User.get("1")
    assert found is not None
    assert found.age == 36
    assert [group async for group in manager.groups()] == []


async def test_every_kind_of_field_comes_back(file_place: Place) -> None:
    """Also those that JSON has no word for, nested ones, and ones with an alias, after a restart."""
    one = Everything(
        id="1",
        key=UUID(int=1),
        price=Decimal("1.50"),
        kind=Kind.LARGE,
        address=Address(street="Main", numbers=[1, 2]),
        others={"a": Address(street="Side")},
        tags={"x", "y"},
        pair=(1, "a"),
        maybe=NOON,
        odd={"$decimal": "1", "nested": [{"$set": 1}]},
        named="alias",
    )
    async with file_place.manager() as manager:
        TrackedModel.bind(manager)
        await one.create()
    async with file_place.manager() as manager:
        TrackedModel.bind(manager)
        found = await Everything.get("1")
        assert found == one
        assert await Everything.find(price=Decimal("1.5"), kind="large", named="alias", tags=["x", "y"]) == [one]
        assert await Everything.find(key=str(UUID(int=1)), address={"street": "Main", "numbers": [1, 2]}) == [one]
        assert await Everything.find(price=Decimal("1.6")) == []


async def test_save_and_update(manager: TrackingManager) -> None:
    """``save`` creates what is new and updates what is not; ``update`` changes fields and stores."""
    user = User(username="ada", id="1")
    await user.save()
    user.email = "a@example.com"
    await user.save()
    await user.update(age=36, username="Ada")
    found = await User.get("1")
    assert found == user
    assert found is not None
    assert (found.username, found.email, found.age) == ("Ada", "a@example.com", 36)
    with pytest.raises(TypeError, match="no field 'nothing'"):
        await user.update(nothing=1)
    with pytest.raises(ModelNotFound):
        await User(username="new").update(age=1)


async def test_an_id_is_taken_once(manager: TrackingManager) -> None:
    """Creating a second model of an id raises and overwrites nothing, however it is done."""
    user = User(username="ada", id="1")
    await user.create()
    for again in (user.create(), User(username="x", id="1").create(), User(username="x", id="1").save()):
        with pytest.raises(ModelExists, match="a User with the id '1'"):
            await again
    assert await User.get("1") == user
    user.id = "2"
    with pytest.raises(InvalidDefinition, match="does not change"):
        await user.save()


async def test_delete(manager: TrackingManager) -> None:
    """It is gone with all its fields, cannot be deleted again, and its id can be taken again."""
    user = User(username="ada", id="1")
    with pytest.raises(ModelNotFound):
        await user.delete()
    await user.create()
    await user.delete()
    assert await User.get("1") is None
    assert (await manager.subject("users:1")).dict() == {}
    with pytest.raises(ModelNotFound):
        await user.delete()
    await user.create()
    assert await User.count() == 1


async def test_find(manager: TrackingManager) -> None:
    """By equality of all the fields that are given, as a dict or as keywords, sorted by id."""
    for n in range(7):
        await User(id=f"{n}", username=f"user {n % 2}", age=n).create()
    await Everything(id="x", key=UUID(int=1), price=Decimal(1), kind=Kind.SMALL, address=Address(street="")).create()
    await (await manager.subject("users:stray")).set("n", 1)
    await (await manager.subject("users2:1")).set("id", "1")
    assert [user.id for user in await User.find()] == [f"{n}" for n in range(7)]
    assert [user.age for user in await User.find(username="user 1")] == [1, 3, 5]
    assert [user.age for user in await User.find({"username": "user 1"}, age=3)] == [3]
    assert await User.find({"age": 3}, username="user 0") == []
    one = await User.find_one({"username": "user 1"})
    assert one is not None
    assert one.id == "1"
    assert await User.find_one(username="nobody") is None
    assert await User.count() == 7
    assert await User.count({"username": "user 0"}) == 4
    with pytest.raises(TypeError, match="no field 'nothing'"):
        await User.find(nothing=1)
    await one.update(age=100)
    assert await User.count(age=100) == 1, "what was found can be changed and stored"


async def test_the_whole_is_validated_before_it_is_stored(manager: TrackingManager) -> None:
    """What is wrong with a given field is said at once; what is missing may come until the model is stored."""
    with pytest.raises(ValidationError):
        User(username="ada", age="old")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        User(age="old")  # type: ignore[call-arg, arg-type]

    class Strict(TrackedModel):
        name: str
        low: int = 0
        high: int = 1

        @field_validator("name")
        @classmethod
        def _short(cls, name: str) -> str:
            if len(name) > 5:
                raise ValueError("too long")
            return name.title()

        @model_validator(mode="after")
        def _in_order(self) -> Strict:
            if self.low > self.high:
                raise ValueError("low is above high")
            return self

    with pytest.raises(ValidationError, match="too long"):
        Strict(name="too long a name")
    model = Strict(name="ada")
    assert model.name == "Ada"
    model.low = 5
    with pytest.raises(ValidationError, match="low is above high"):
        await model.create()
    assert await Strict.count() == 0
    model.low = 0
    model.high = "7"  # type: ignore[assignment]
    await model.create()
    assert model.high == 7, "what validation made of it is taken over"
    with pytest.raises(ValidationError, match="low is above high"):
        await model.update(low=8)
    assert model.low == 0, "where it is not stored, the fields are as they were"
    assert (await Strict.find_one(low=0)) == model

    class Incomplete(TrackedModel):
        name: str
        needed: int

    started = Incomplete(name="ada")  # type: ignore[call-arg]
    assert started.name == "ada"
    with pytest.raises(AttributeError):
        _ = started.needed
    with pytest.raises(ValidationError, match="needed"):
        await started.create()
    assert await Incomplete.count() == 0


class Told(TrackedModel):
    name: str = ""
    said: ClassVar[list[str]] = []
    fails: ClassVar[str] = ""

    def _say(self, what: str) -> None:
        self.said.append(what)
        if self.fails == what:
            raise RuntimeError(what)

    @before_create
    async def _before_create(self) -> None:
        self._say("before create")

    @after_create
    async def _after_create(self) -> None:
        self._say("after create")

    @before_update()
    def plain_before_update(self) -> None:
        self._say("before update")

    @after_update()
    async def after_update_it_is(self) -> None:
        self._say("after update")

    @before_write
    async def _before_write(self) -> None:
        self._say("before write")

    @after_write
    async def _after_write(self) -> None:
        self._say("after write")

    @before_save
    async def _before_save(self) -> None:
        self._say("before save")

    @after_save
    async def _after_save(self) -> None:
        self._say("after save")

    @before_delete
    async def _before_delete(self) -> None:
        self._say("before delete")

    @after_delete
    async def _after_delete(self) -> None:
        self._say("after delete")


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What the hooks of ``Told`` said."""
    Told.said.clear()
    yield Told.said
    Told.fails = ""


async def test_hooks_run_around_operations(manager: TrackingManager, said: list[str]) -> None:
    """Save and write around both create and update, each in its order; plain functions are hooks too."""
    told = Told(name="a")
    await told.create()
    create = ["before save", "before write", "before create", "after create", "after write", "after save"]
    assert said == create
    said.clear()
    await told.update(name="b")
    update = [word.replace("create", "update") for word in create]
    assert said == update
    said.clear()
    told.name = "c"
    await told.save()
    assert said == update
    said.clear()
    await told.delete()
    assert said == ["before delete", "after delete"]


async def test_a_before_hook_that_raises_stops_everything(manager: TrackingManager, said: list[str]) -> None:
    """Nothing is stored or deleted, and no hook after it runs."""
    told = Told(name="a")
    for Told.fails in ("before create", "before write", "before save"):
        said.clear()
        with pytest.raises(RuntimeError, match=Told.fails):
            await told.create()
        assert said[-1] == Told.fails
        assert await Told.count() == 0
    Told.fails = ""
    await told.create()
    for Told.fails in ("before update", "before write", "before save"):
        with pytest.raises(RuntimeError, match=Told.fails):
            await told.update(name="b")
        assert told.name == "a"
        assert await Told.count(name="a") == 1
    Told.fails = "before delete"
    with pytest.raises(RuntimeError):
        await told.delete()
    assert await Told.count() == 1


async def test_an_after_hook_that_raises_undoes_nothing(manager: TrackingManager, said: list[str]) -> None:
    """Its error reaches the caller, and what was stored is stored."""
    told = Told(name="a")
    Told.fails = "after create"
    with pytest.raises(RuntimeError):
        await told.create()
    assert await Told.count(name="a") == 1
    Told.fails = "after update"
    with pytest.raises(RuntimeError):
        await told.update(name="b")
    assert told.name == "b"
    assert await Told.count(name="b") == 1
    Told.fails = "after delete"
    with pytest.raises(RuntimeError):
        await told.delete()
    assert await Told.count() == 0


async def test_hooks_are_inherited(manager: TrackingManager, said: list[str]) -> None:
    """Those of the base class run first; one that is overridden runs once, as it was overridden."""

    class Child(Told):
        @before_create
        async def _of_the_child(self) -> None:
            self._say("child")

        async def _before_write(self) -> None:
            self._say("overridden")
            await super()._before_write()

    await Child().create()
    assert said[:5] == ["before save", "overridden", "before write", "before create", "child"]


def test_a_hook_stays_the_function_that_it_is() -> None:
    """Bare or called without an event's name, a decorator returns what it decorates."""

    def function(self: Any) -> None: ...

    for decorator in (before_create, after_delete):
        assert decorator(function) is function
        assert decorator()(function) is function
    with pytest.raises(TypeError):
        before_create(3)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="empty"):
        before_create("")(function)


async def test_overrides_reach_the_operation_with_super(manager: TrackingManager) -> None:
    """``create``, ``save``, ``update`` and ``delete`` are methods like any other."""
    calls: list[str] = []

    class Overriding(TrackedModel):
        n: int = 0

        async def create(self) -> None:
            calls.append("create")
            await super().create()

        async def save(self) -> None:
            calls.append("save")
            await super().save()

        async def update(self, **changes: Any) -> None:
            calls.append("update")
            await super().update(**changes)

        async def delete(self) -> None:
            calls.append("delete")
            await super().delete()

    model = Overriding()
    await model.create()
    await model.save()
    await model.update(n=1)
    await model.delete()
    assert calls == ["create", "save", "update", "delete"]


async def test_what_hooks_find_around_them(manager: TrackingManager) -> None:
    """``self._env`` has the manager, its bus and the services by name; what is not there raises by name."""
    user = User(username="ada")
    assert user._env.manager is manager
    assert user._env.event_bus is manager.bus
    assert user._env.mailer == "the mailer"
    with pytest.raises(AttributeError, match="no service 'nothing'"):
        _ = user._env.nothing
    with pytest.raises(InvalidDefinition, match="'event_bus'"):
        TrackedModel.bind(manager, {"event_bus": 1})


async def test_collections(manager: TrackingManager) -> None:
    """By default the class's name; classes of one collection see the same models; names that cannot be raise."""

    class OrderItem(TrackedModel):
        n: int = 0

    class Annotated(TrackedModel):
        _collection: ClassVar[str] = "of its own"

    class Other(Annotated):
        n: int = 3

    assert OrderItem._collection == "order_item"
    assert Other._collection == Annotated._collection == "of its own"
    await Annotated(id="1").create()
    found = await Other.get("1")
    assert found is not None
    assert found.n == 3
    for name in ("a:b", "a*", "", 3):
        with pytest.raises(InvalidDefinition, match="_collection"):
            type("Bad", (TrackedModel,), {"_collection": name, "__module__": __name__})


async def test_without_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storing raises an error that says what to do."""
    monkeypatch.setattr(environment._defaults, "environment", None)
    with pytest.raises(InvalidDefinition, match=r"User has no manager: call milepost.init\(\)"):
        await User(username="ada").create()
    with pytest.raises(InvalidDefinition, match="no manager"):
        await User.find()


async def test_what_is_stored_and_is_no_such_model(manager: TrackingManager) -> None:
    """Reading it raises an error that names it, and leaves it alone."""
    await (await manager.subject("users:1")).set("id", "1")
    with pytest.raises(ValidationError) as caught:
        await User.get("1")
    assert "in what is stored of the User with the id '1'" in caught.value.__notes__
    assert (await manager.subject("users:1")).dict() == {"id": "1"}
