"""The rows of the table, in its order; each module is one."""

from benchmarks.figures import Row
from benchmarks.rows import (
    bus,
    declared,
    durable,
    growth,
    importing,
    one_tracker,
    redis_cache,
    sqlite_through,
    thousand_trackers,
    tracked_dict,
    tracked_modes,
)

__all__ = ["ROWS"]

ROWS: tuple[Row, ...] = (
    one_tracker.ROW,
    thousand_trackers.ROW,
    growth.ROW,
    declared.ROW,
    redis_cache.CALLERS_ROW,
    redis_cache.GROUPS_ROW,
    redis_cache.SHARED_ROW,
    sqlite_through.ROW,
    tracked_dict.ROW,
    tracked_modes.ROW,
    bus.MATCHING,
    bus.MIDDLEWARE,
    durable.REDIS,
    durable.SQLITE,
    importing.ROW,
)
