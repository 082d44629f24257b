"""What this process cannot read stays where it is, and harms nothing else."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from milepost import CountTracker, SQLiteDataStore, TrackingManager, UndecodableError, UnknownKindError
from milepost.testing import ManualClock

ELSEWHERE = """
import asyncio, sys
from milepost import *

class Foreign(BaseCondition, kind="elsewhere.foreign"):
    key: str
    def check(self, data, **context):
        return self.key in data

async def main():
    async with TrackingManager(data_store=SQLiteDataStore(sys.argv[1])) as manager:
        foreign = CountTracker("foreign", 9, conditions=[Foreign("k")])
        await manager.add_tracker("g", foreign, if_exists="keep", expire_at=4_000_000_000)
        await manager.add_tracker("g", CountTracker("known", 9), if_exists="keep")
        await manager.add_tracker("h", CountTracker("known", 9), if_exists="keep")
        result = await manager.track("g", {"k": 1})
        print([tracker.progress for tracker in result.dirtied])

asyncio.run(main())
"""


def run_elsewhere(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.fixture(params=["through", "behind"])
def write(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def made_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("elsewhere") / "t.db"
    assert run_elsewhere(path) == "[1, 1]"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.read_bytes()


@pytest.fixture
def path(made_elsewhere: bytes, tmp_path: Path) -> Path:
    copy = tmp_path / "t.db"
    copy.write_bytes(made_elsewhere)
    return copy


async def test_an_unknown_kind_names_kind_group_and_tracker(path: Path, write: Any) -> None:
    """A tracker of a class that this process does not know raises UnknownKindError with all three names."""
    async with TrackingManager(data_store=SQLiteDataStore(path), write=write) as manager:
        for read in (manager.get_trackers("g"), manager.get_tracker("g", "foreign"), manager.track("g", {"k": 1})):
            with pytest.raises(UnknownKindError, match=r"'foreign'.*'g'.*'elsewhere\.foreign'") as caught:
                await read
            assert (caught.value.kind, caught.value.key, caught.value.name) == ("elsewhere.foreign", "g", "foreign")
        with pytest.raises(UnknownKindError):
            await manager.explain("g", {})
        with pytest.raises(UnknownKindError):
            await manager.reset_tracker("g", "foreign")
        with pytest.raises(UnknownKindError):
            await manager.update_tracker("g", CountTracker("foreign", 1))


async def test_other_names_and_groups_stay_readable(path: Path, write: Any) -> None:
    """Trackers beside the unknown one, and other groups, can be read, reset, added and removed."""
    async with TrackingManager(data_store=SQLiteDataStore(path), write=write) as manager:
        known = await manager.get_tracker("g", "known")
        assert known is not None
        assert known.progress == 1
        assert await manager.reset_tracker("g", "known", 1) is True
        await manager.add_tracker("g", CountTracker("new", 9))
        assert await manager.remove_tracker("g", "new") is True
        assert len((await manager.track("h", {})).dirtied) == 1
        assert {group async for group in manager.groups()} == {"g", "h"}
        with pytest.raises(ValueError, match="already has a tracker named 'foreign'"):
            await manager.add_tracker("g", CountTracker("foreign", 1))


async def test_the_row_is_left_alone(path: Path, write: Any) -> None:
    """Whatever else happened in its group, the process that knows the class finds its tracker as it was."""
    async with TrackingManager(data_store=SQLiteDataStore(path), write=write) as manager:
        with pytest.raises(UnknownKindError):
            await manager.track("g", {"k": 1}, event_id="e")
        await manager.reset_tracker("g", "known", 1)
    assert await asyncio.to_thread(run_elsewhere, path) == "[2, 1]"


async def test_what_cannot_be_read_can_be_removed(path: Path, write: Any) -> None:
    """Removing by name, or all, takes an unreadable tracker away; then its group tracks again."""
    async with TrackingManager(data_store=SQLiteDataStore(path), write=write) as manager:
        assert await manager.remove_tracker("g", "foreign") is True
        assert [tracker.name for tracker in await manager.get_trackers("g")] == ["known"]
        assert (await manager.track("g", {"k": 1})).ok
    async with TrackingManager(data_store=SQLiteDataStore(path), write=write) as manager:
        assert [tracker.progress for tracker in await manager.get_trackers("g")] == [2]


async def test_an_unreadable_row_that_is_due_does_not_spin(path: Path) -> None:
    """A deadline that cannot be kept, because its row cannot be read, is looked at now and then, not all the time."""
    asked = 0

    class Counting(SQLiteDataStore):
        async def due(self, now: float, limit: int = 1000) -> list[str]:
            nonlocal asked
            asked += 1
            return await super().due(now, limit)

    clock = ManualClock(4_000_000_001.0)
    async with TrackingManager(data_store=Counting(path), clock=clock) as manager:
        for _ in range(100):
            await manager.get_tracker("h", "known")
        assert asked <= 5
        assert await manager.get_tracker("g", "known") is not None


DAMAGE = ["", "[]", "nonsense", "[1,2,3]", '{"a":1}', '["hash",1,0,null,1,1,1.0]', "[" * 100_000]


@pytest.mark.parametrize("text", DAMAGE, ids=range(len(DAMAGE)))
async def test_a_damaged_row_raises_and_stays(text: str, path: Path) -> None:
    """A row that is no row raises UndecodableError naming it, stays where it is, and other names stay readable."""

    def damage() -> None:
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("UPDATE rows SET body = ? WHERE key = 'h'", (text,))
            connection.execute(
                "INSERT INTO rows SELECT 'h', 'whole', counter, body FROM rows WHERE key = 'g' AND name = 'known'"
            )
        connection.close()

    def stored() -> str:
        connection = sqlite3.connect(path)
        ((body,),) = connection.execute("SELECT body FROM rows WHERE key = 'h' AND name = 'known'")
        connection.close()
        return str(body)

    await asyncio.to_thread(damage)
    async with TrackingManager(data_store=SQLiteDataStore(path)) as manager:
        with pytest.raises(UndecodableError, match="'known' of group 'h'"):
            await manager.get_trackers("h")
        with pytest.raises(UndecodableError):
            await manager.track("h", {})
    assert await asyncio.to_thread(stored) == text
