"""Hostile data: a bad datum moves nothing, harms no sibling tracker, and is reported."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from milepost import (
    AccumulationTracker,
    BaseCondition,
    BaseTracker,
    CountTracker,
    KeyExists,
    KeyValueContained,
    KeyValueEQ,
    KeyValueGE,
    KeyValueInList,
    KeyValueListHasItem,
    TrackingManager,
)


class RaisesWhenCompared:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    def __hash__(self) -> int:
        return 1


class RaisesWhenHashed:
    def __hash__(self) -> int:
        raise RuntimeError("hashed")


class RaisesWhenOrdered:
    def __ge__(self, other: object) -> bool:
        raise RuntimeError("ordered")


class Deceitful(Mapping[str, Any]):
    """A mapping that raises whatever it is asked."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("asked")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("iterated")

    def __len__(self) -> int:
        raise RuntimeError("measured")


class DeceitfulList(list[Any]):
    def __getitem__(self, index: Any) -> Any:
        raise RuntimeError("indexed")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("iterated")

    def __len__(self) -> int:
        raise RuntimeError("measured")


class DeceitfulText(str):
    __slots__ = ()

    def __hash__(self) -> int:
        raise RuntimeError("hashed")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    def casefold(self) -> str:
        raise RuntimeError("folded")


class DeceitfulNumber(int):
    def __add__(self, other: Any) -> Any:
        raise RuntimeError("added")

    def __radd__(self, other: Any) -> Any:
        raise RuntimeError("added")

    def __int__(self) -> int:
        raise RuntimeError("asked for its value")


class NoTruth:
    def __eq__(self, other: object) -> Any:
        class Answer:
            def __bool__(self) -> bool:
                raise RuntimeError("no truth")

        return Answer()

    __hash__ = None


def nested(levels: int, of: type = list) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if of is list else {"b": value}
    return value


def circular() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


HOSTILE: dict[str, Any] = {
    "raises when compared": RaisesWhenCompared(),
    "raises when hashed": RaisesWhenHashed(),
    "raises when ordered": RaisesWhenOrdered(),
    "mapping that raises": Deceitful(),
    "list that raises": DeceitfulList([1]),
    "text that raises": DeceitfulText("x"),
    "number that raises": DeceitfulNumber(5),
    "equality without truth": NoTruth(),
    "100,000 lists": nested(100_000),
    "100,000 dicts": nested(100_000, dict),
    "itself": circular(),
    "huge integer": 10**100_000,
    "nan": float("nan"),
    "lone surrogate": "\ud800",
    "class": dict,
    "generator": (i for i in range(3)),
}


def trackers() -> list[BaseTracker]:
    deep: Any = nested(30)
    return [
        CountTracker("eq", 99, conditions=[KeyValueEQ("k", "x")]),
        CountTracker("one of", 99, conditions=[KeyValueInList("k", ["x", 1])]),
        CountTracker("unsafe", 99, conditions=[KeyValueInList("k", [[1], deep])]),
        CountTracker("deep", 99, conditions=[KeyValueEQ("k", deep)]),
        CountTracker("ge", 99, conditions=[KeyValueGE("k", 10**15)]),
        CountTracker("has", 99, conditions=[KeyValueListHasItem("k", 7)]),
        CountTracker("contains", 99, conditions=[KeyValueContained("k", "zz")]),
        CountTracker("path", 99, conditions=[KeyExists("k.b.c")]),
        CountTracker("index", 99, conditions=[KeyValueEQ("k.7", 1)]),
        AccumulationTracker("sum", 10**18, key="k", conditions=[KeyExists("amount")]),
        AccumulationTracker("path sum", 10**18, key="k.x.0"),
        CountTracker("sibling", 99),
        CountTracker("other key", 99, conditions=[KeyValueEQ("fine", 1)]),
        AccumulationTracker("amount", 10**18),
    ]


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_value_harms_nobody(name: str, manager: TrackingManager) -> None:
    """A value that cannot be compared, hashed, read or added moves nothing it should not; its siblings move as ever."""
    await manager.add_trackers("g", trackers())
    result = await manager.track("g", {"k": HOSTILE[name], "fine": 1, "amount": 5})
    moved = {tracker.name for tracker in result.dirtied}
    assert result.ok
    assert {"sibling", "other key", "amount"} <= moved
    assert {rejected.name for rejected in result.rejected}.isdisjoint(moved)
    after = await manager.track("g", {"k": "x", "fine": 1, "amount": 5})
    assert {"eq", "one of", "sibling", "other key", "amount"} <= {tracker.name for tracker in after.dirtied}
    sibling = await manager.get_tracker("g", "sibling")
    assert sibling is not None
    assert sibling.progress == 2


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_value_can_be_explained(name: str, in_memory: TrackingManager) -> None:
    """``explain`` survives the same values, and says what ``track`` then does."""
    await in_memory.add_trackers("g", trackers())
    data = {"k": HOSTILE[name], "fine": 1, "amount": 5}
    explained = {t.name for t in (await in_memory.explain("g", data)).trackers if t.outcome == "moved"}
    assert explained == {tracker.name for tracker in (await in_memory.track("g", data)).dirtied}


class Raises(BaseCondition, kind="test.hostile.raises"):
    """A condition that breaks."""

    def check(self, data: Any, **context: Any) -> bool:
        raise RuntimeError("broken")


ROUGH = [KeyValueEQ("k", 1), KeyValueGE("k", 1), KeyExists("k"), Raises(), KeyValueEQ("fine", 1), KeyValueGE("fine", 1)]


@pytest.mark.parametrize("fine", [1, 0, None])
async def test_what_is_rejected_does_not_depend_on_the_order_of_conditions(
    fine: int | None, in_memory: TrackingManager
) -> None:
    """Where conditions raise, one that does not hold settles it; otherwise the tracker is rejected, in every order."""
    pairs = list(itertools.permutations(ROUGH, 2))
    await in_memory.add_trackers("g", [CountTracker(f"{i}", 9, conditions=pair) for i, pair in enumerate(pairs)])
    result = await in_memory.track("g", {"k": RaisesWhenCompared()} | ({} if fine is None else {"fine": fine}))
    rejected = {frozenset(map(id, pairs[int(item.name)])) for item in result.rejected}
    moved = {frozenset(map(id, pairs[int(tracker.name)])) for tracker in result.dirtied}
    assert len(result.rejected) == 2 * len(rejected)
    assert len(result.dirtied) == 2 * len(moved)
    assert bool(rejected) and rejected.isdisjoint(moved)
    assert (frozenset(map(id, (ROUGH[0], ROUGH[4]))) in rejected) is (fine == 1)


class HostileKey:
    """A key that hashes like ``"k"`` and raises when it is compared."""

    def __hash__(self) -> int:
        return hash("k")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")


async def test_a_hostile_key_is_refused_as_data_or_harms_nobody(in_memory: TrackingManager) -> None:
    """A datum in which keys cannot be looked up is refused with TypeError, or moves whom it can; nothing else."""
    await in_memory.add_trackers("g", [CountTracker("a", 9, conditions=[KeyExists("k")]), CountTracker("b", 9)])
    try:
        result = await in_memory.track("g", {HostileKey(): 1})
    except TypeError:
        moved: set[str] = set()
    else:
        moved = {tracker.name for tracker in result.dirtied}
        assert [rejected.name for rejected in result.rejected] == ["a"]
    assert {tracker.name for tracker in await in_memory.get_trackers("g") if tracker.progress} == moved
    assert "a" not in moved


async def test_a_mapping_that_cannot_be_read_is_no_data(in_memory: TrackingManager) -> None:
    """Data that are a mapping, but cannot be read, raise TypeError and change nothing."""
    await in_memory.add_tracker("g", CountTracker("n", 9))
    with pytest.raises(TypeError, match="data could not be read"):
        await in_memory.track("g", Deceitful())
    assert [tracker.progress for tracker in await in_memory.get_trackers("g")] == [0]


async def test_odd_keys_are_harmless(in_memory: TrackingManager) -> None:
    """Keys that are no text are there for nobody, and harm nobody."""
    await in_memory.add_trackers("g", [CountTracker("n", 9, conditions=[KeyExists("1")]), CountTracker("m", 9)])
    data: Any = {1: 1, None: 2, ("a",): 3, b"k": 4, float("nan"): 5}
    result = await in_memory.track("g", data)
    assert [tracker.name for tracker in result.dirtied] == ["m"]
