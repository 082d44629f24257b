"""Starting, closing, and calling in between and after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from milepost import (
    CountTracker,
    InvalidDefinition,
    ManagerClosed,
    MemoryDataCache,
    MemoryDataStore,
    SQLiteDataStore,
    StoreLeased,
    StoreUnavailable,
    TrackerAdded,
    TrackerAllCompleted,
    TrackerEvent,
    TrackingManager,
)
from milepost.testing import ManualClock, open_manager
from tests.conftest import Place

CALLS: dict[str, Callable[[TrackingManager], Awaitable[Any]]] = {
    "add_tracker": lambda m: m.add_tracker("g", CountTracker("x", 1)),
    "add_trackers": lambda m: m.add_trackers("g", [CountTracker("x", 1)]),
    "get_trackers": lambda m: m.get_trackers("g"),
    "get_tracker": lambda m: m.get_tracker("g", "n"),
    "track": lambda m: m.track("g", {}),
    "track with id": lambda m: m.track("g", {}, event_id="e"),
    "track_many": lambda m: m.track_many([("g", {})]),
    "explain": lambda m: m.explain("g", {}),
    "update_tracker": lambda m: m.update_tracker("g", CountTracker("n", 1)),
    "reset_tracker": lambda m: m.reset_tracker("g", "n"),
    "remove_tracker": lambda m: m.remove_tracker("g", "n"),
    "flush": lambda m: m.flush(confirm=True),
    "groups": lambda m: anext(aiter(m.groups())),
    "settle": lambda m: m.settle(),
    "start": lambda m: m.start(),
}


async def test_a_manager_alone_works() -> None:
    """``TrackingManager()`` needs no arguments: memory cache, memory store, the machine's clock."""
    async with TrackingManager() as manager:
        await manager.add_tracker("user_001", CountTracker(name="logins", target=[10, 50, 100]))
        ok, dirtied, completed, limited = await manager.track("user_001", {"event_type": "login"})
    assert (ok, len(dirtied), completed, limited) == (True, 1, [], [])
    assert isinstance(manager.data_cache, MemoryDataCache)
    assert isinstance(manager.data_store, MemoryDataStore)


@pytest.mark.parametrize("call", [name for name in CALLS if name not in ("groups", "update_tracker")])
async def test_the_first_awaited_call_starts_a_manager(call: str, place: Place) -> None:
    """A manager that was not started is started by the first call, whichever it is."""
    manager = place.manager()
    assert manager.status().started is False
    try:
        await CALLS[call](manager)
        assert manager.status().started is True
    finally:
        await manager.aclose()


@pytest.mark.parametrize("call", CALLS)
async def test_calls_after_close_are_refused(call: str, place: Place) -> None:
    """After ``aclose`` every call raises ManagerClosed, however warm the group was, and nothing is tracked."""
    async with place.manager() as manager:
        await manager.add_tracker("g", CountTracker("n", 99))
        for _ in range(3):
            await manager.track("g", {})
    with pytest.raises(ManagerClosed, match="create a new one"):
        await CALLS[call](manager)
    async with place.manager() as again:
        assert [tracker.progress for tracker in await again.get_trackers("g")] == [3]


async def test_starting_and_closing_twice_is_harmless(place: Place) -> None:
    """``start`` and ``aclose`` may be called again; a manager never started can be closed."""
    manager = place.manager()
    await manager.start()
    await manager.start()
    await asyncio.gather(manager.aclose(), manager.aclose())
    await manager.aclose()
    assert manager.status().closed
    await place.manager().aclose()


async def test_many_first_calls_at_once_start_once(place: Place) -> None:
    """Fifty tasks that are all first: the manager starts once, and each call counts."""
    manager = place.manager()
    manager.declare("*", CountTracker("n", 99))
    await asyncio.gather(*(manager.track("g", {}) for _ in range(50)))
    assert [tracker.progress for tracker in await manager.get_trackers("g")] == [50]
    await manager.aclose()


async def test_start_and_close_may_run_in_different_tasks(place: Place) -> None:
    """A manager started in one task is used in others and closed in yet another."""
    manager = place.manager()
    await asyncio.create_task(manager.start())
    await asyncio.create_task(manager.add_tracker("g", CountTracker("n", 9)))
    await asyncio.create_task(manager.track("g", {}))
    await asyncio.create_task(manager.aclose())
    assert manager.status().closed
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []


async def test_closing_delivers_and_flushes_what_is_on_its_way(place: Place) -> None:
    """``aclose`` waits for listeners and writes what the store has not seen."""
    heard: list[str] = []

    async def slow(event: TrackerEvent) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        heard.append(event.name)

    async with place.manager() as manager:
        manager.add_listener(TrackerAllCompleted, slow, background=True)
        await manager.add_tracker("g", CountTracker("n", 1))
        await manager.track("g", {})
    assert heard == ["n"]
    async with place.manager() as manager:
        assert [tracker.completed for tracker in await manager.get_trackers("g")] == [True]


async def test_closing_does_not_wait_for_ever(clock: ManualClock) -> None:
    """A listener that never ends holds ``aclose`` up for ``close_timeout``; its delivery counts as dropped."""
    manager = TrackingManager(clock=clock, close_timeout=0.05)
    ended: list[str] = []

    async def endless(event: TrackerEvent) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    manager.add_listener(TrackerAllCompleted, endless, background=True)
    await manager.add_tracker("g", CountTracker("n", 1))
    await manager.track("g", {})
    async with asyncio.timeout(5):
        await manager.aclose()
    assert ended == ["cancelled"]


async def test_a_manager_that_cannot_start_leaves_nothing_open(tmp_path: Path, clock: ManualClock) -> None:
    """A store that cannot be opened raises StoreUnavailable at the start; once it can, the manager starts."""
    folder = tmp_path / "later"
    manager = TrackingManager(data_store=SQLiteDataStore(folder / "t.db"), clock=clock)
    with pytest.raises(StoreUnavailable, match="later"):
        await manager.start()
    with pytest.raises(StoreUnavailable):
        await manager.track("g", {})
    await asyncio.to_thread(folder.mkdir)
    await manager.add_tracker("g", CountTracker("n", 9))
    await manager.aclose()


async def test_write_behind_has_its_store_alone(tmp_path: Path, clock: ManualClock) -> None:
    """A second opener of a store with ``write="behind"`` is refused, until the first one is closed."""
    behind = Place("sqlite behind", clock, tmp_path)
    through = Place("sqlite through", clock, tmp_path)
    async with behind.manager():
        for place in (behind, through):
            with pytest.raises(StoreLeased):
                await place.manager().start()
    async with through.manager(), through.manager():
        with pytest.raises(StoreLeased):
            await behind.manager().start()
    async with behind.manager() as manager:
        await manager.track("g", {})


@pytest.mark.parametrize("hangs", ["listener", "subscription"])
async def test_closing_lets_nobody_wait_for_what_it_gave_up(hangs: str, place: Place) -> None:
    """Who waits for a listener that ``aclose`` gives up, or for room that never comes, is answered: it is committed."""
    manager = place.manager(close_timeout=0.05)
    never = asyncio.Event()

    async def waits(event: TrackerEvent) -> None:
        await never.wait()

    await manager.start()
    if hangs == "listener":
        manager.add_listener(TrackerAdded, waits)
    else:
        full = manager.subscribe(TrackerAdded, size=1, overflow="block")
        await full.__aenter__()
    adding = [asyncio.ensure_future(manager.add_tracker("g", CountTracker(f"{n}", 9))) for n in range(3)]
    await asyncio.wait(adding, timeout=0.05)
    await manager.aclose()
    async with asyncio.timeout(5):
        added = await asyncio.gather(*adding)
    assert [tracker.name for tracker in added] == ["0", "1", "2"]
    status = manager.status()
    assert status.emitted == 3 == status.delivered + status.dropped + status.failed


async def test_write_behind_flushes_on_its_interval(tmp_path: Path, clock: ManualClock) -> None:
    """With ``write="behind"`` the store follows ``flush_interval`` seconds later, again and again."""
    place = Place("sqlite behind", clock, tmp_path)
    async with place.manager(flush_interval=5) as manager:
        await manager.add_tracker("g", CountTracker("n", 9))
        for _ in range(3):
            await manager.track("g", {})
            assert manager.status().backlog == 1
            await clock.advance(4.5)
            assert manager.status().backlog == 1
            await clock.advance(0.5)
            for _ in range(2000):
                if not manager.status().backlog:
                    break
                await asyncio.sleep(0.001)
            assert (manager.status().backlog, manager.status().store_error) == (0, None)
            await clock.advance(0)


def test_a_manager_may_be_made_outside_any_loop_and_used_in_one(tmp_path: Path) -> None:
    """A manager is made, furnished and started in ``asyncio.run`` like any object, once per run with its own store."""

    async def once(manager: TrackingManager) -> object:
        async with manager:
            await manager.track("g", {})
            return (await manager.get_trackers("g"))[0].progress

    seen = []
    for _ in range(2):
        manager = TrackingManager(data_store=SQLiteDataStore(tmp_path / "t.db"))
        manager.declare("*", CountTracker("n", 9))
        seen.append(asyncio.run(once(manager)))
    assert seen == [1, 2]


@pytest.mark.parametrize(
    ("cache", "store", "write"),
    [
        ("memory://", "memory://", "through"),
        ("memory://", "sqlite:///{}", "through"),
        ("memory://", "sqlite:///{}", "behind"),
    ],
)
async def test_managers_open_from_urls(cache: str, store: str, write: Any, tmp_path: Path) -> None:
    """``TrackingManager.open`` builds cache and store from URLs, and takes the same settings."""
    url = store.format(tmp_path / "my track.db".replace(" ", "%20"))
    async with TrackingManager.open(cache, url, write=write if "sqlite" in store else None, dedup_window=5) as manager:
        await manager.add_tracker("g", CountTracker("n", 9))
        assert manager.write == write
    assert ("sqlite" in store) is await asyncio.to_thread((tmp_path / "my track.db").exists)


@pytest.mark.parametrize(
    "urls",
    [
        {"cache_url": "nothing://"},
        {"cache_url": ""},
        {"cache_url": "sqlite:///x.db"},
        {"store_url": "nothing://x"},
        {"store_url": "track.db"},
        {"store_url": "sqlite://"},
        {"store_url": "sqlite:///"},
        {"store_url": "sqlite://host/track.db"},
        {"store_url": 3},
    ],
    ids=str,
)
def test_urls_that_name_nothing_are_refused(urls: dict[str, Any]) -> None:
    """A URL that names no cache or store raises InvalidDefinition, and says how it should begin."""
    with pytest.raises(InvalidDefinition, match=r"memory://|sqlite:///"):
        TrackingManager.open(**urls)


async def test_open_manager_is_a_manager_for_tests() -> None:
    """``milepost.testing.open_manager`` gives a started manager on a clock that stands still, and closes it."""
    clock = ManualClock(1000)
    async with open_manager(clock=clock, dedup_window=2) as manager:
        await manager.add_tracker("g", CountTracker("n", 9), expire=10)
        await clock.advance(10)
        assert await manager.get_trackers("g") == []
    assert manager.status().closed
