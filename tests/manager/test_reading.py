"""``get_trackers``, ``get_tracker``, ``groups`` and ``is_cached``."""

from __future__ import annotations

from milepost import CountTracker, TrackerSnapshot, TrackingManager
from tests.conftest import Place


async def names(manager: TrackingManager, name: str | list[str] | None = None) -> list[str]:
    return [tracker.name for tracker in await manager.get_trackers("g", name)]


async def test_trackers_come_in_the_order_of_adding(manager: TrackingManager) -> None:
    """``get_trackers`` is always a list, in the order of adding, whatever order the names are asked for."""
    for name in ("z", "a", "m"):
        await manager.add_tracker("g", CountTracker(name, 9))
    assert await names(manager) == ["z", "a", "m"]
    assert await names(manager, ["m", "z", "nothing"]) == ["z", "m"]
    assert await names(manager, "a") == ["a"]
    assert await names(manager, "nothing") == []
    assert await names(manager, []) == []
    assert await manager.get_trackers("nothing") == []


async def test_one_tracker_is_itself_or_none(manager: TrackingManager) -> None:
    """``get_tracker`` returns the tracker, or None."""
    await manager.add_tracker("g", CountTracker("a", 9))
    found = await manager.get_tracker("g", "a")
    assert isinstance(found, TrackerSnapshot)
    assert await manager.get_tracker("g", "b") is None
    assert await manager.get_tracker("h", "a") is None


async def test_a_tracker_added_again_comes_last(manager: TrackingManager) -> None:
    """The order is that of the last adding: a tracker removed and added again, or replaced, comes last."""
    await manager.add_trackers("g", [CountTracker(name, 9) for name in "abc"])
    await manager.remove_tracker("g", "a")
    await manager.add_tracker("g", CountTracker("a", 9))
    assert await names(manager) == ["b", "c", "a"]
    await manager.add_tracker("g", CountTracker("b", 8), if_exists="replace")
    assert await names(manager) == ["c", "a", "b"]
    await manager.update_tracker("g", CountTracker("c", 7))
    assert await names(manager) == ["c", "a", "b"]


async def test_the_order_does_not_depend_on_how_many_there_are(place: Place) -> None:
    """A group of many hundreds of trackers keeps the same order as a small one, across a restart too."""
    many = [f"t{i:03}" for i in range(600)]
    async with place.manager() as manager:
        await manager.add_trackers("g", [CountTracker(name, 9) for name in many])
        await manager.add_tracker("g", CountTracker("t000", 8), if_exists="replace")
        await manager.remove_tracker("g", "t001")
        await manager.add_tracker("g", CountTracker("t001", 9))
        before = await names(manager)
    async with place.manager() as manager:
        assert await names(manager) == before
    assert before == [*many[2:], "t000", "t001"]


async def test_groups_are_those_that_hold_rows(manager: TrackingManager) -> None:
    """``groups`` iterates over the ids of groups with trackers; ``*`` and ``?`` are wildcards, all else is itself."""
    for group in ("user:1", "user:2", "user:10", "shop[1]", "user"):
        await manager.add_tracker(group, CountTracker("a", 9))
    await manager.track("nobody", {})
    assert {group async for group in manager.groups()} == {"user:1", "user:2", "user:10", "shop[1]", "user"}
    assert {group async for group in manager.groups("user:?")} == {"user:1", "user:2"}
    assert {group async for group in manager.groups("user:*")} == {"user:1", "user:2", "user:10"}
    assert [group async for group in manager.groups("shop[1]")] == ["shop[1]"]
    assert [group async for group in manager.groups("nothing*")] == []


async def test_groups_are_there_after_a_restart_before_anybody_asked_for_them(file_place: Place) -> None:
    """A new manager lists the groups of the store although it has none of them in memory."""
    async with file_place.manager() as manager:
        for group in "abc":
            await manager.add_tracker(group, CountTracker("n", 9))
    async with file_place.manager() as manager:
        assert {group async for group in manager.groups()} == {"a", "b", "c"}
        await manager.remove_tracker("b")
        assert {group async for group in manager.groups()} == {"a", "c"}


async def test_is_cached_asks_without_loading(file_place: Place) -> None:
    """``data_cache.is_cached`` says what is in memory, and brings nothing into it."""
    async with file_place.manager() as manager:
        await manager.add_tracker("g", CountTracker("a", 9))
        assert await manager.data_cache.is_cached("g")
    async with file_place.manager() as manager:
        assert not await manager.data_cache.is_cached("g")
        assert not await manager.data_cache.is_cached("g", "a")
        assert manager.status().replicas == 0
        await manager.get_trackers("g")
        assert await manager.data_cache.is_cached("g", "a")
        assert not await manager.data_cache.is_cached("g", "b")
        assert not await manager.data_cache.is_cached("h")


async def test_ids_and_names_may_be_any_text(place: Place) -> None:
    """Group ids and names are arbitrary text: spaces, quotes, slashes, emoji, NUL, very long ones."""
    odd = ["a b", 'it\'s "x"', "ü/{}*?", "🎉", "\x00", "x" * 5000, "%_", "a:b:c", "\u202e"]
    async with place.manager() as manager:
        for text in odd:
            await manager.add_tracker(text, CountTracker(text, 9))
            await manager.track(text, {})
    async with place.manager() as manager:
        for text in odd:
            found = [(tracker.name, tracker.progress) for tracker in await manager.get_trackers(text)]
            assert found == [(text, 1)]
        assert {group async for group in manager.groups()} == set(odd)
