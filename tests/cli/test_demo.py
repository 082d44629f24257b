"""``milepost demo``: the numbers, and running it again."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from milepost import SQLiteDataStore, TrackingManager
from milepost.cli.demo.goals import declare_goals
from milepost.cli.demo.purchases import purchases
from tests.cli.program import Ran, Run, run_here

REACHED = {
    ("spend", "$50"): 1059,
    ("spend", "$100"): 615,
    ("spend", "$250"): 224,
    ("spend", "$500"): 76,
    ("spend", "$1000"): 20,
    ("orders", "2"): 1152,
    ("orders", "5"): 388,
    ("orders", "10"): 111,
    ("orders", "25"): 13,
}
"""How many customers reached each target: worked out apart from milepost, with exact cents."""


def assert_exact(out: str) -> None:
    rows = re.findall(r"^(spend|orders)[ |]+(\$?\d+)[ |]+(\d+)", out, re.MULTILINE)
    assert {(tracker, target): int(reached) for tracker, target, reached in rows} == REACHED
    assert "Total spend: 233104.02 dollars, by 2357 customers." in out
    assert "Exactly what adding up the file without the engine gives." in out


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    """A first run of the demo, and the file that it left."""
    path = tmp_path_factory.mktemp("demo") / "milepost-demo.db"
    return run_here("demo", "--database", path), path


@pytest.fixture
def finished(first: tuple[Ran, Path], folder: Path) -> str:
    """A copy, in the current directory, of the file that a first run left."""
    return str(shutil.copy(first[1], folder / "finished.db").name)


def test_the_closing_table_is_exact(first: tuple[Ran, Path]) -> None:
    """The demo tracks 6919 purchases and its table has the known numbers."""
    ran, path = first
    assert (ran.status, ran.err) == (0, "")
    assert_exact(ran.out)
    assert "6919 purchases tracked" in ran.out
    assert path.exists()


def test_running_it_again_counts_nothing_twice(milepost: Run, finished: str) -> None:
    """The second run finds every event id in the file, says so, and closes with the same numbers."""
    ran = milepost("demo", "--fast", "--database", finished)
    assert ran.status == 0
    assert "finished.db has them all already, known by their event ids: nothing was counted twice" in ran.out
    assert_exact(ran.out)


def test_it_goes_on_where_another_run_stopped(milepost: Run) -> None:
    """After a run that got as far as 2500 purchases, the rest is tracked and the numbers are exact."""

    async def begin() -> None:
        async with TrackingManager(data_store=SQLiteDataStore("part.db")) as manager:
            declare_goals(manager)
            await manager.track_many(purchase.item() for purchase in purchases()[:2500])

    asyncio.run(begin())
    ran = milepost("demo", "--fast", "--database", "part.db")
    assert "4419 purchases tracked" in ran.out
    assert "2500 were there already, known by their event ids, and not counted twice" in ran.out
    assert_exact(ran.out)


def test_a_database_that_was_changed_by_hand_is_not_called_exact(milepost: Run, finished: str) -> None:
    """The table is computed from the database: with a tracker removed it differs, and the demo says so."""
    milepost("remove", "customer:0001", "spend", "--database", finished)
    ran = milepost("demo", "--fast", "--database", finished)
    assert ran.status == 1
    assert "Total spend: 233003.52 dollars" in ran.out
    assert "That is not what the file adds up to (233104.02): something else has changed finished.db." in ran.out


def test_without_a_terminal_the_output_is_plain_text(first: tuple[Ran, Path]) -> None:
    """Piped, the demo shows no animation and writes no control codes."""
    assert all(character.isprintable() or character == "\n" for character in first[0].out)


def test_every_purchase_has_a_stable_event_id_of_its_own() -> None:
    """Ids are the lines of the file, so that another run has the same ones; no group has more than are remembered."""
    items = [purchase.item() for purchase in purchases()]
    assert len({item.event_id for item in items}) == len(items) == 6919
    assert items == [purchase.item() for purchase in purchases()]
    assert max(Counter(item.group_id for item in items).values()) <= 256


@pytest.mark.parametrize("seconds", ["0", "-1", "x"])
def test_an_impossible_length_is_refused(milepost: Run, seconds: str) -> None:
    """--seconds takes a number within its range, and says so in one line."""
    ran = milepost("demo", "--seconds", seconds)
    assert ran.status == 2
    assert ran.err.count("\n") == 1
    assert "--seconds" in ran.err
