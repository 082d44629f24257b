"""Events: codes, classes, fields and ids."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

import milepost
from milepost import (
    AccumulationTracker,
    CountLimiter,
    CountTracker,
    Event,
    TrackerAllCompleted,
    TrackerEvent,
    TrackerLimited,
    TrackerStageCompleted,
    TrackingManager,
)
from milepost.testing import EventRecorder, ManualClock
from tests.conftest import Place

CODES = {
    "ADDED": ("tracker.added", "TrackerAdded"),
    "STAGE_COMPLETED": ("tracker.stage_completed", "TrackerStageCompleted"),
    "ALL_COMPLETED": ("tracker.all_completed", "TrackerAllCompleted"),
    "RESET": ("tracker.reset", "TrackerReset"),
    "LIMITED": ("tracker.limited", "TrackerLimited"),
    "REMOVED": ("tracker.removed", "TrackerRemoved"),
    "EXPIRED": ("tracker.expired", "TrackerExpired"),
    "PROGRESSED": ("tracker.progressed", "TrackerProgressed"),
}


@pytest.mark.parametrize("name", CODES)
def test_codes_are_strings_with_a_class_each(name: str) -> None:
    """``EVENT_TRACKER_…`` is the string ``tracker.…``, and has an event class of its own."""
    code, cls = CODES[name]
    assert getattr(milepost, f"EVENT_TRACKER_{name}") == code
    assert code == getattr(milepost, cls).CODE
    assert issubclass(getattr(milepost, cls), TrackerEvent)
    assert code in milepost.EVENT_ALL
    assert len(milepost.EVENT_ALL) == len(CODES)


async def test_an_event_reads_what_it_is_about(manager: TrackingManager, recorder: EventRecorder) -> None:
    """``code``, ``group_id``, ``name``, ``tracker`` and ``event_ts`` say what happened to whom and when."""
    await manager.add_tracker("g", CountTracker("n", 1))
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    await manager.track("g", {}, now=at)
    (event,) = recorder.of(TrackerAllCompleted)
    assert (event.code, event.type) == ("tracker.all_completed", "tracker.all_completed")
    assert (event.group_id, event.subject, event.name, event.source) == ("g", "g", "n", "milepost")
    assert (event.event_ts, event.time) == (at.timestamp(), at)
    assert event.tracker.completed


async def test_events_are_shaped_like_cloud_events(manager: TrackingManager, recorder: EventRecorder) -> None:
    """An event is a frozen model whose JSON has the attributes of CloudEvents 1.0, and its data are JSON too."""
    await manager.add_tracker("g", AccumulationTracker("n", 9, exact=True, limiters=[CountLimiter(1)]))
    await manager.track("g", {"amount": "1.50"})
    (event,) = recorder.of(TrackerLimited)
    encoded = json.loads(event.encoded())
    assert {"specversion", "id", "type", "source", "subject", "time", "data"} <= encoded.keys()
    assert (encoded["specversion"], encoded["subject"], encoded["type"]) == ("1.0", "g", "tracker.limited")
    assert datetime.fromisoformat(encoded["time"]) == event.time
    assert encoded["data"]["name"] == "n"
    assert encoded["data"]["limiter"] == 0
    again = Event.model_validate(event.model_dump())
    assert (again.id, again.type, again.data) == (event.id, event.type, event.data)
    with pytest.raises(ValidationError):
        event.id = "other"
    assert "1.50" in json.dumps(encoded["data"]["progress"])


async def test_the_outbox_holds_what_was_announced(manager: TrackingManager, recorder: EventRecorder) -> None:
    """Every event that listeners hear is in the authority's outbox, in commit order, PROGRESSED among them."""
    await manager.add_tracker("g", AccumulationTracker("n", [1, 2]))
    await manager.track("g", {"amount": 5})
    await manager.reset_tracker("g", "n", 3)
    await manager.remove_tracker("g", "n")
    authority: Any = manager.data_store if manager.write == "through" else manager.data_cache
    kept = [json.loads(body)["id"] for _, body in await authority.outbox()]
    assert kept == [event.id for event in recorder.events]
    assert len(kept) == 5


async def test_milestone_ids_are_hashes_of_what_they_announce(clock: ManualClock, tmp_path: Any) -> None:
    """The same milestone has the same id however it is worked out: a lost race gives it no second one."""
    place = Place("sqlite through", clock, tmp_path)
    async with place.manager() as one, place.manager() as other:
        recorders = [EventRecorder(one), EventRecorder(other)]
        await one.add_tracker("g", CountTracker("n", [2, 4], loop_forever=True))
        for i in range(40):
            await clock.advance(1)
            await (one, other)[i % 2].track("g", {})
        kept = [json.loads(body)["id"] for _, body in await one.data_store.outbox()]
    heard = [event.id for recorder in recorders for event in recorder.events]
    assert sorted(kept) == sorted(heard)
    assert len(set(kept)) == len(kept) == 1 + 20


async def test_milestones_differ_by_group_tracker_stage_cycle_and_reset(
    manager: TrackingManager, recorder: EventRecorder
) -> None:
    """Milestones of other groups, trackers, stages, cycles, limiters, and after a reset have other ids."""
    for group in "gh":
        await manager.add_trackers(
            group,
            [
                CountTracker("a", [1, 2], loop_forever=True),
                CountTracker("b", [1, 2], loop_forever=True),
                CountTracker("c", 99, limiters=[CountLimiter(1), CountLimiter(1)]),
            ],
        )
        for _ in range(4):
            await manager.track(group, {})
        await manager.reset_tracker(group, "c")
        await manager.track(group, {})
        await manager.reset_tracker(group, "a", 1)
        await manager.track(group, {})
    ids = [event.id for event in recorder.events]
    assert len(ids) == len(set(ids))
    assert len(recorder.of(TrackerLimited)) == 8
    assert all(len(id) == 22 for id in ids)


async def test_a_class_knows_its_type(manager: TrackingManager) -> None:
    """A listener on a class gets instances of it."""
    seen: list[object] = []
    manager.add_listener(TrackerStageCompleted, seen.append)
    await manager.add_tracker("g", CountTracker("n", [1, 2]))
    await manager.track("g", {})
    assert [type(event) for event in seen] == [TrackerStageCompleted]
