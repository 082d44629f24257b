"""Several that store the same model: noticed, or merged field by field; never lost silently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import ValidationError, model_validator

from milepost import ModelNotFound, StaleModelError, TrackingManager
from milepost.subjects import TrackedModel
from milepost.testing import ManualClock
from tests.durability.opening import manager_over
from tests.subjects.conftest import Heard


class Careful(TrackedModel):
    _collection = "things"

    a: int = 0
    b: int = 0
    c: str = ""


class Merging(Careful):
    _on_conflict: ClassVar[Literal["error", "merge"]] = "merge"

    @model_validator(mode="after")
    def _in_order(self) -> Merging:
        if self.a > self.b + 100:
            raise ValueError("a is too far above b")
        return self


@pytest.fixture(autouse=True)
def bound(request: pytest.FixtureRequest) -> Iterator[None]:
    """Bind all models to the manager of the test."""
    if "manager" in request.fixturenames:
        TrackedModel.bind(request.getfixturevalue("manager"))
    yield
    TrackedModel.bind(None)


async def two(model: type[Careful]) -> tuple[Careful, Careful]:
    """Create a model, and return two that were loaded from it."""
    await model(id="1").create()
    one, other = await model.get("1"), await model.get("1")
    assert one is not None
    assert other is not None
    return one, other


async def test_who_comes_late_is_told(manager: TrackingManager) -> None:
    """Storing over what somebody else stored raises, changes nothing, and works after reloading."""
    one, other = await two(Careful)
    await one.update(a=1)
    other.b = 2
    for operation in (other.save(), other.update(c="late"), other.delete()):
        with pytest.raises(StaleModelError, match="the Careful with the id '1' was stored by somebody else"):
            await operation
    found = await Careful.get("1")
    assert found is not None
    assert (found.a, found.b, found.c) == (1, 0, "")
    await other.reload()
    assert (other.a, other.b) == (1, 0)
    await other.update(b=2)
    with pytest.raises(StaleModelError):
        await one.save()


async def test_deleted_meanwhile(manager: TrackingManager) -> None:
    """What was deleted is not brought back by who has loaded it before."""
    for model in (Careful, Merging):
        one, other = await two(model)
        await one.delete()
        with pytest.raises(StaleModelError):
            await other.update(a=1)
        with pytest.raises(ModelNotFound):
            await other.delete()
        with pytest.raises(ModelNotFound):
            await other.reload()
        assert await model.count() == 0


async def test_fields_are_merged(manager: TrackingManager, heard: Heard) -> None:
    """What only one of them changed is kept; both have it, and each event says what that one changed."""
    one, other = await two(Merging)
    await one.update(a=1)
    await other.update(b=2)
    assert (other.a, other.b) == (1, 2)
    await one.update(c="x")
    assert one == await Merging.get("1")
    assert (one.a, one.b, one.c) == (1, 2, "x")
    await manager.settle()
    assert [event.data["changes"] for event in heard("merging.updated")] == [
        {"a": {"old": 0, "new": 1}},
        {"b": {"old": 0, "new": 2}},
        {"c": {"old": "", "new": "x"}},
    ]
    assert heard("merging.updated")[1].data["a"] == 1


async def test_a_field_that_both_changed_is_a_conflict(manager: TrackingManager) -> None:
    """It is named; both to the same value is none; deleting wins over changing."""
    one, other = await two(Merging)
    await one.update(a=1, c="x")
    other.c = "x"
    with pytest.raises(StaleModelError, match="both changed a") as caught:
        await other.update(a=2, b=2)
    assert caught.value.fields == ("a",)
    assert (other.a, other.b) == (0, 0)
    await other.update(b=3)
    assert (other.a, other.b, other.c) == (1, 3, "x")
    await one.delete()
    assert await Merging.count() == 0


async def test_what_was_merged_is_validated_as_a_whole(manager: TrackingManager) -> None:
    """Two changes that are right each by itself, and wrong together, are not both stored."""
    await Merging(id="1", a=0, b=100).create()
    one, other = await Merging.get("1"), await Merging.get("1")
    assert one is not None
    assert other is not None
    await one.update(a=150)
    with pytest.raises(ValidationError, match="too far above"):
        await other.update(b=10)
    found = await Merging.get("1")
    assert found is not None
    assert (found.a, found.b) == (150, 100)


async def test_many_at_the_same_moment(manager: TrackingManager) -> None:
    """Of many that change the same field from the same state one wins, and all others are told."""
    await Careful(id="1").create()
    models = [await Careful.get("1") for _ in range(10)]
    outcomes = await asyncio.gather(
        *(model.update(a=n + 1) for n, model in enumerate(models) if model is not None), return_exceptions=True
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, StaleModelError) for outcome in outcomes) == 9
    found = await Careful.get("1")
    assert found is not None
    assert found.a == outcomes.index(None) + 1


@pytest.fixture
async def pair(tmp_path: Path, clock: ManualClock) -> AsyncIterator[tuple[TrackingManager, TrackingManager]]:
    """Two managers on one file."""
    path = tmp_path / "t.db"
    async with manager_over(path, clock=clock) as one, manager_over(path, clock=clock) as other:
        yield one, other


async def test_two_managers(pair: tuple[TrackingManager, TrackingManager]) -> None:
    """What one has stored the other notices, also where its replica is behind."""

    class Here(Careful):
        _collection = "things"

    class There(Careful):
        _collection = "things"

    Here.bind(pair[0])
    There.bind(pair[1])
    mine = Here(id="1")
    await mine.create()
    theirs = await There.get("1")
    assert theirs is not None
    for n in range(1, 4):
        await theirs.update(a=n)
        with pytest.raises(StaleModelError):
            await mine.update(a=100)
        await mine.reload()
        assert mine.a == n
        await mine.update(b=n)
        await theirs.reload()
    assert (theirs.a, theirs.b) == (3, 3)
    Here.bind(None)
    There.bind(None)
