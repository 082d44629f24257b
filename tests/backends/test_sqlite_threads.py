"""The threads of the SQLite store: a transaction runs whole in one of them, and they end when it is closed."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from milepost import SQLiteDataStore, StoreUnavailable
from milepost.backends.sqlite.client import SQLiteClient
from milepost.testing import ManualClock


def threads_of_stores() -> list[threading.Thread]:
    """Return the threads that work for stores."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("milepost-sqlite")]


async def open_client(path: Path | str) -> SQLiteClient:
    """Return a client with a table of the test's own."""
    client = SQLiteClient(str(path), "OFF", 5.0)
    await client.open()
    await client.write(lambda connection: connection.execute("CREATE TABLE mine (n)"))
    return client


def numbers(connection: sqlite3.Connection) -> list[int]:
    """Return what is in the test's table."""
    return [n for (n,) in connection.execute("SELECT n FROM mine ORDER BY n")]


async def test_closing_ends_the_threads(tmp_path: Path) -> None:
    """When ``aclose`` returns no thread of the store is left; a start that fails leaves none either."""
    for path in (tmp_path / "t.db", ":memory:", tmp_path / "no" / "t.db"):
        store = SQLiteDataStore(path)
        try:
            await store.open(ManualClock(), 256)
            assert await store.epoch() == 1
            assert threads_of_stores()
            await store.aclose()
        except StoreUnavailable:
            assert path == tmp_path / "no" / "t.db"
        assert not threads_of_stores()
        with pytest.raises(StoreUnavailable, match="not open"):
            await store.epoch()


async def test_a_transaction_whose_caller_is_cancelled_runs_whole(tmp_path: Path) -> None:
    """It is committed before the caller goes on; one that had not begun does nothing at all."""
    client = await open_client(tmp_path / "t.db")
    begun, go_on = threading.Event(), threading.Event()

    def both(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO mine VALUES (1)")
        begun.set()
        go_on.wait(10)
        connection.execute("INSERT INTO mine VALUES (2)")

    running = asyncio.ensure_future(client.write(both))
    waiting = asyncio.ensure_future(client.write(lambda connection: connection.execute("INSERT INTO mine VALUES (3)")))
    await asyncio.to_thread(begun.wait, 10)
    for task in (waiting, running):
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await client.read(numbers) == [], "it has not ended yet"
    assert not running.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await client.read(numbers) == [1, 2]
    await client.aclose()


async def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    """Whatever raises in it, the caller gets it, what it had written is gone, and the next one works."""
    client = await open_client(tmp_path / "t.db")

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO mine VALUES (1)")
        raise LookupError("a mistake")

    def refused(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO mine VALUES (1)")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(LookupError, match="a mistake"):
        await client.write(broken)
    with pytest.raises(StoreUnavailable, match=r"t\.db: no such table: nowhere"):
        await client.write(refused)
    await client.write(lambda connection: connection.execute("INSERT INTO mine VALUES (2)"))
    assert await client.read(numbers) == [2]
    await client.aclose()


async def test_reads_do_not_wait_for_writes(tmp_path: Path) -> None:
    """While one transaction writes others read what was there before; they read from one moment."""
    client = await open_client(tmp_path / "t.db")
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO mine VALUES (1)")
        begun.set()
        go_on.wait(10)

    writing = asyncio.ensure_future(client.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    assert await client.read(numbers) == []
    go_on.set()
    await writing
    assert await client.read(numbers) == [1]
    await client.aclose()


async def test_cancelled_while_it_opens_or_closes(tmp_path: Path) -> None:
    """An ``open`` or ``aclose`` that is cancelled at any moment leaves no thread and no connection."""
    for steps in range(8):
        store = SQLiteDataStore(tmp_path / "t.db")
        opening = asyncio.ensure_future(store.open(ManualClock(), 256))
        for _ in range(steps):
            await asyncio.sleep(0.0005)
        opening.cancel()
        await asyncio.wait([opening])
        ending = asyncio.ensure_future(store.aclose())
        await asyncio.sleep(0)
        ending.cancel()
        await asyncio.wait([ending])
        for thread in threads_of_stores():
            await asyncio.to_thread(thread.join, 10)
        assert not threads_of_stores(), f"after {steps} steps"
