"""What happened. The door: modules inside import from the leaves."""

from milepost.events.codes import (
    EVENT_ALL,
    EVENT_TRACKER_ADDED,
    EVENT_TRACKER_ALL_COMPLETED,
    EVENT_TRACKER_EXPIRED,
    EVENT_TRACKER_LIMITED,
    EVENT_TRACKER_PROGRESSED,
    EVENT_TRACKER_REMOVED,
    EVENT_TRACKER_RESET,
    EVENT_TRACKER_STAGE_COMPLETED,
)
from milepost.events.types import (
    Event,
    TrackerAdded,
    TrackerAllCompleted,
    TrackerEvent,
    TrackerExpired,
    TrackerLimited,
    TrackerProgressed,
    TrackerRemoved,
    TrackerReset,
    TrackerStageCompleted,
)

__all__ = [
    "EVENT_ALL",
    "EVENT_TRACKER_ADDED",
    "EVENT_TRACKER_ALL_COMPLETED",
    "EVENT_TRACKER_EXPIRED",
    "EVENT_TRACKER_LIMITED",
    "EVENT_TRACKER_PROGRESSED",
    "EVENT_TRACKER_REMOVED",
    "EVENT_TRACKER_RESET",
    "EVENT_TRACKER_STAGE_COMPLETED",
    "Event",
    "TrackerAdded",
    "TrackerAllCompleted",
    "TrackerEvent",
    "TrackerExpired",
    "TrackerLimited",
    "TrackerProgressed",
    "TrackerRemoved",
    "TrackerReset",
    "TrackerStageCompleted",
]
