"""A Redis that loses data: it is noticed, what processes and the store hold comes back, and the rest is reported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import milepost.backends.redis.places as places
from milepost import CountTracker, RedisDataCache, SQLiteDataStore, TrackingManager
from tests.servers.valkey import ValkeyServer, command


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ValkeyServer]:
    """A server of the test's own, which keeps what it is told to save."""
    monkeypatch.setattr(places, "_HEALING_MS", 300)
    server = ValkeyServer(tmp_path / "redis")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def over(server: ValkeyServer, store: SQLiteDataStore | None = None, **settings: Any) -> TrackingManager:
    """Return a manager, not started."""
    return TrackingManager(RedisDataCache("127.0.0.1", server.port), store, **settings)


def restart(server: ValkeyServer) -> None:
    """Kill the server and start it again with what it had saved."""
    server.kill()
    server.start()


async def counts(manager: TrackingManager, groups: int) -> list[Any]:
    """Return how far the tracker of each group is."""
    found = [await manager.get_tracker(f"g{n}", "n") for n in range(groups)]
    return [None if tracker is None else tracker.progress for tracker in found]


async def test_what_a_process_holds_comes_back(server: ValkeyServer, caplog: pytest.LogCaptureFixture) -> None:
    """Redis starts empty: the process that held the groups brings them back, rows, definitions, event ids and all."""
    async with over(server) as manager:
        for n in range(20):
            await manager.add_tracker(f"g{n}", CountTracker("n", 100), expire=3600)
            await manager.track(f"g{n}", {}, event_id="known")
        await asyncio.to_thread(restart, server)
        with caplog.at_level(logging.WARNING, "milepost"):
            await manager.track("g0", {})
        assert await counts(manager, 20) == [2] + [1] * 19
        assert (await manager.track("g5", {}, event_id="known")).duplicate
        assert (manager.status().restored, manager.status().lost) == (20, 0)
        assert "lost its data" in caplog.text
        assert await manager.data_cache.next_deadline() is not None
    async with over(server) as other:
        assert await counts(other, 20) == [2] + [1] * 19


async def test_what_redis_forgot_of_the_last_moments_comes_back(server: ValkeyServer) -> None:
    """Redis restarts from an older snapshot: what was acknowledged since is brought back by those who hold it."""
    async with over(server) as one, over(server) as other:
        for n in range(4):
            await one.add_tracker(f"g{n}", CountTracker("n", 100))
            await one.track(f"g{n}", {})
        await asyncio.to_thread(command, server.port, "SAVE")
        for manager, groups in ((one, (0, 1)), (other, (2, 3))):
            for n in groups:
                for _ in range(5):
                    await manager.track(f"g{n}", {})
        await asyncio.to_thread(restart, server)
        await asyncio.gather(*(manager.track(f"g{n}", {}) for manager in (one, other) for n in range(4)))
        assert await counts(one, 4) == await counts(other, 4) == [8] * 4
        assert one.status().restored + other.status().restored == 4
        assert one.status().lost == other.status().lost == 0


async def test_the_store_and_processes_together(server: ValkeyServer, tmp_path: Path) -> None:
    """What was flushed comes from the store, what was not from the process; whatever is newer wins."""
    path = tmp_path / "t.db"
    async with over(server, SQLiteDataStore(path)) as gone:
        for n in range(6):
            await gone.add_tracker(f"g{n}", CountTracker("n", 100))
    async with over(server, SQLiteDataStore(path), flush_interval=3600) as manager:
        await manager.track("g1", {})
        await asyncio.to_thread(restart, server)
        await manager.track("g0", {})
        assert await counts(manager, 6) == [1, 1, 0, 0, 0, 0]
        assert manager.status().restored == 1
    async with TrackingManager(data_store=SQLiteDataStore(path)) as alone:
        assert await counts(alone, 6) == [1, 1, 0, 0, 0, 0]


async def test_what_was_removed_stays_removed(server: ValkeyServer) -> None:
    """A process that has not heard of a removal does not bring the group back: who removed it says so."""
    async with over(server) as one, over(server) as other:
        for n in range(2):
            await one.add_tracker(f"g{n}", CountTracker("n", 100))
            await other.track(f"g{n}", {})
        await one.remove_tracker("g0")
        await asyncio.to_thread(restart, server)
        for first, second in ((other, one),):
            await asyncio.gather(first.track("g1", {}), second.track("g1", {}))
        assert await counts(one, 2) == await counts(other, 2) == [None, 3]


async def test_what_was_flushed_stays_flushed(server: ValkeyServer) -> None:
    """Redis loses a flush: who flushed says so, and groups of before do not come back."""
    async with over(server) as one, over(server) as other:
        await other.add_tracker("g0", CountTracker("n", 100))
        await asyncio.to_thread(command, server.port, "SAVE")
        await one.flush(confirm=True)
        await asyncio.to_thread(restart, server)
        await other.track("g0", {})
        await one.track("g0", {})
        assert await counts(one, 1) == await counts(other, 1) == [None]


async def test_a_restart_that_loses_nothing_costs_nothing(server: ValkeyServer) -> None:
    """After an orderly restart from a snapshot that has everything nothing is brought back and nothing is lost."""
    async with over(server) as manager:
        await manager.add_tracker("g0", CountTracker("n", 100))
        for _ in range(3):
            await manager.track("g0", {})
        epoch = manager.data_cache.known_epoch  # type: ignore[attr-defined]
        await asyncio.to_thread(command, server.port, "SAVE")
        await asyncio.to_thread(restart, server)
        await manager.track("g0", {})
        assert await counts(manager, 1) == [4]
        assert (manager.status().restored, manager.status().lost) == (0, 0)
        assert manager.data_cache.known_epoch > epoch  # type: ignore[attr-defined]


async def test_a_flushed_server_is_a_loss_too(server: ValkeyServer) -> None:
    """``FLUSHALL`` under a running process is noticed by its next commit, and mended."""
    async with over(server) as manager:
        await manager.add_tracker("g0", CountTracker("n", 100))
        await manager.track("g0", {})
        await asyncio.to_thread(command, server.port, "FLUSHALL")
        assert (await manager.track("g0", {})).dirtied[0].progress == 2
        assert manager.status().restored == 1


async def test_who_comes_too_late_is_told(server: ValkeyServer, caplog: pytest.LogCaptureFixture) -> None:
    """A process that was away while others went on from an older state reports what is lost, and takes over theirs."""
    async with over(server) as one, over(server) as late:
        await one.add_tracker("g0", CountTracker("n", 100))
        await asyncio.to_thread(command, server.port, "SAVE")
        for _ in range(5):
            await late.track("g0", {})
        await asyncio.to_thread(restart, server)
        await one.track("g0", {})
        with caplog.at_level(logging.ERROR, "milepost"):
            await late.track("g0", {})
        assert await counts(one, 1) == await counts(late, 1) == [2]
        assert (late.status().restored, late.status().lost) == (0, 1)
        assert "has lost data" in caplog.text
