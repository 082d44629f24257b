"""Making events of what a step drafted, with ids that are the same however often they are made."""

from __future__ import annotations

import uuid
from typing import Any

from milepost._clock import utc
from milepost.codec import canonical, content_hash
from milepost.events.codes import EVENT_TRACKER_PROGRESSED
from milepost.events.types import TRACKER_EVENTS, TrackerEvent
from milepost.trackers.snapshot import TrackerSnapshot

__all__ = ["build_event", "milestone_id"]


def milestone_id(key: str, code: str, tracker: TrackerSnapshot, limiter: int | None) -> str:
    """Return the id of a milestone: a 128-bit hash of what it announces.

    That is the record's key, the tracker and its incarnation, its cycle and resets, the type
    of event, and the stage, or the limiter and how often one had begun to refuse. The same milestone
    never has two ids; after a reset or when the tracker is added again it is another milestone.
    """
    life = tracker.life
    announced = [
        key,
        tracker.name,
        life.incarnation,
        life.serial,
        life.cycle,
        life.resets,
        code,
        tracker.stage if limiter is None else limiter,
        None if limiter is None else life.limitings,
    ]
    return content_hash(canonical(announced))


def build_event(
    key: str, code: str, tracker: TrackerSnapshot, now: float, limiter: int | None = None, times: int = 1
) -> TrackerEvent:
    """Return the event for something that happened to a tracker.

    Args:
        key: the group.
        code: what happened.
        tracker: the tracker at that moment.
        now: when, epoch seconds.
        limiter: which limiter, for LIMITED.
        times: how many whole cycles, for ALL_COMPLETED.
    """
    data: dict[str, Any] = {"group_id": key, **tracker.describe()}
    made_of = None
    if limiter is not None:
        made_of = tracker.limiters[limiter]
        data["limiter"] = limiter
        data["limiter_kind"] = made_of.kind
    if times != 1:
        data["times"] = times
    id = uuid.uuid4().hex if code == EVENT_TRACKER_PROGRESSED else milestone_id(key, code, tracker, limiter)
    event = TRACKER_EVENTS[code](id=id, type=code, subject=key, time=utc(now), data=data)
    event._tracker = tracker
    event._limiter = made_of
    return event
