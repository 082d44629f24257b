"""The codes of tracker events, of what happens to where they are kept, and of subjects. A leaf: it imports nothing."""

from typing import Final

__all__ = [
    "EVENT_ALL",
    "EVENT_DATA_LOST",
    "EVENT_TRACKER_ADDED",
    "EVENT_TRACKER_ALL_COMPLETED",
    "EVENT_TRACKER_EXPIRED",
    "EVENT_TRACKER_LIMITED",
    "EVENT_TRACKER_PROGRESSED",
    "EVENT_TRACKER_REMOVED",
    "EVENT_TRACKER_RESET",
    "EVENT_TRACKER_STAGE_COMPLETED",
    "SUBJECT_DELETED",
    "SUBJECT_PROPERTY_CHANGED",
    "SUBJECT_PROPERTY_DELETED",
]

EVENT_TRACKER_ADDED: Final = "tracker.added"
EVENT_TRACKER_STAGE_COMPLETED: Final = "tracker.stage_completed"
EVENT_TRACKER_ALL_COMPLETED: Final = "tracker.all_completed"
EVENT_TRACKER_RESET: Final = "tracker.reset"
EVENT_TRACKER_LIMITED: Final = "tracker.limited"
EVENT_TRACKER_REMOVED: Final = "tracker.removed"
EVENT_TRACKER_EXPIRED: Final = "tracker.expired"
EVENT_TRACKER_PROGRESSED: Final = "tracker.progressed"

EVENT_ALL: Final = (
    EVENT_TRACKER_ADDED,
    EVENT_TRACKER_STAGE_COMPLETED,
    EVENT_TRACKER_ALL_COMPLETED,
    EVENT_TRACKER_RESET,
    EVENT_TRACKER_LIMITED,
    EVENT_TRACKER_REMOVED,
    EVENT_TRACKER_EXPIRED,
    EVENT_TRACKER_PROGRESSED,
)

EVENT_DATA_LOST: Final = "data.lost"

SUBJECT_PROPERTY_CHANGED: Final = "subject.property_changed"
SUBJECT_PROPERTY_DELETED: Final = "subject.property_deleted"
SUBJECT_DELETED: Final = "subject.deleted"
