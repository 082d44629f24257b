"""The pure step replayed: the same data give the same, one by one, many together, at once, and twice over."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost import TrackingManager, TrackItem
from milepost.testing import EventRecorder, ManualClock
from milepost.trackers.blueprint import blueprint_of
from milepost.trackers.snapshot import TrackerSnapshot
from milepost.tracking.plan import PlanBook
from milepost.tracking.step import track
from tests.model.backends import Backend, Memory, SQLiteThrough
from tests.model.doses import dose
from tests.model.engine import built, heard, read, shown
from tests.model.histories import data, event_ids, meant, specs
from tests.model.model import LIMITER, Spec

NOW = 1_700_000_000.0

trackers = st.lists(specs("abcdef"), min_size=1, max_size=5, unique_by=lambda spec: spec["name"])
moments = st.sampled_from([NOW, NOW + 5.0, NOW + 15.0, NOW + 31.0])
histories = st.lists(st.tuples(data, moments, event_ids), min_size=1, max_size=25)
counts = st.lists(
    specs("abcdef").map(lambda spec: spec | {"kind": "count", "exact": False, "limiters": [], "policy": LIMITER}),
    min_size=1,
    max_size=4,
    unique_by=lambda spec: spec["name"],
)


async def tell(backend: Backend, given: list[Spec], items: list[TrackItem], how: str) -> tuple[Any, ...]:
    """Track items in some way; return the results, what is there then, and what was announced."""
    async with TrackingManager(clock=ManualClock(NOW), **backend.settings()) as manager:
        recorder = EventRecorder(manager)
        await manager.add_trackers("g", [built(spec) for spec in given])
        match how:
            case "one by one":
                results = [
                    await manager.track(it.group_id, it.data, event_id=it.event_id, now=it.now)  # type: ignore[arg-type]
                    for it in items
                ]
            case "many":
                results = await manager.track_many(items)
            case _:
                results = await asyncio.gather(
                    *(manager.track(it.group_id, it.data, event_id=it.event_id, now=it.now) for it in items)  # type: ignore[arg-type]
                )
        await manager.settle()
        rows = [read(row) for row in await manager.get_trackers("g")]
        return [shown(result) for result in results], rows, [heard(event) for event in recorder.events]


class ReplaySuite:
    """What every backend must pass; a subclass names the backend."""

    backend: type[Backend]

    @pytest.fixture
    def folders(self, tmp_path_factory: pytest.TempPathFactory) -> Any:
        """Make a folder whenever one is needed."""
        return lambda: Path(tmp_path_factory.mktemp("replay"))

    def told(self, folders: Any, given: list[Spec], items: list[TrackItem], how: str) -> tuple[Any, ...]:
        return asyncio.run(tell(self.backend(folders()), given, items, how))

    def test_many_together_are_the_same_as_one_by_one(self, folders: Any) -> None:
        """``track_many`` gives the results, rows and events of as many calls of ``track``, in order."""

        @dose.sequences
        @given(trackers, histories)
        def replay(given: list[Spec], history: list[Any]) -> None:
            items = [TrackItem("g", meant(datum), event_id, now) for datum, now, event_id in history]
            assert self.told(folders, given, items, "many") == self.told(folders, given, items, "one by one")

        replay()

    def test_counts_are_the_same_in_whatever_order_they_arrive(self, folders: Any) -> None:
        """Calls made at the same time count what the same calls count one after the other, and announce the same."""

        @dose.sequences
        @given(counts, histories)
        def replay(given: list[Spec], history: list[Any]) -> None:
            items = [TrackItem("g", meant(datum), None, NOW) for datum, _, _ in history]
            results, rows, events = self.told(folders, given, items, "one by one")
            results_at_once, rows_at_once, events_at_once = self.told(folders, given, items, "at once")
            assert rows_at_once == rows
            assert Counter(events_at_once) == Counter(events)
            for name in ("dirtied", "completed", "rejected"):
                said = [Counter(map(str, (it for result in them for it in result[name]))) for them in
                        (results, results_at_once)]  # fmt: skip
                assert said[0] == said[1]

        replay()


class TestMemory(ReplaySuite):
    backend = Memory


class TestSQLiteThrough(ReplaySuite):
    backend = SQLiteThrough


# --- the step itself ---------------------------------------------------------------------------


class Numbering:
    """Where rows that begin take their numbers from."""

    incarnation = 7
    serial = 0


def facts(rows: dict[str, TrackerSnapshot]) -> list[tuple[Any, ...]]:
    """Return all that a group's rows say, as text."""
    return [(name, id(row), row.encoded()) for name, row in rows.items()]


def steps(given: list[Spec], history: list[Any], loud: bool, *, careful: bool) -> list[Any]:
    """Apply a history to the bare step, keeping rows as a record would; return all that was said."""
    blueprints = [blueprint_of(built(spec)) for spec in given]
    plan, numbering = PlanBook().plan_for("g", {}), Numbering()
    for blueprint in blueprints:
        plan.add(blueprint)
    rows: dict[str, TrackerSnapshot] = {}
    told: list[Any] = []
    for datum, now, _ in history:
        whole = meant(datum)
        before = facts(rows), {key: id(value) for key, value in whole.items()}, copy.copy(vars(numbering))
        result = track(plan, rows, numbering, whole, now, progressed=loud)
        told.append(said(result))
        if careful:
            again = track(plan, rows, numbering, whole, now, progressed=loud)
            assert said(again) == told[-1]
            assert (facts(rows), {key: id(value) for key, value in whole.items()}, vars(numbering)) == before
            assert repr(whole) == repr(meant(datum))
        rows |= {row.name: row for row in result.dirtied}
    return told


def said(result: Any) -> list[Any]:
    """Return a step's result as values."""
    drafts = [(it.type, it.tracker.encoded(), it.limiter, it.times) for it in getattr(result, "drafts", None) or ()]
    return [result.ok, drafts, result.rejected, *([row.encoded() for row in rows] for rows in tuple(result)[1:])]


@dose.sequences
@given(trackers, histories, st.booleans())
def test_a_step_changes_none_of_what_it_is_given(given: list[Spec], history: list[Any], loud: bool) -> None:
    """Rows, numbers and data are after a step what they were before; the step done again says the same."""
    steps(given, history, loud, careful=True)


@dose.sequences
@given(trackers, histories, st.booleans())
def test_a_history_replayed_says_the_same(given: list[Spec], history: list[Any], loud: bool) -> None:
    """What a step says depends on nothing but rows, data and time."""
    assert steps(given, history, loud, careful=False) == steps(given, history, loud, careful=False)
