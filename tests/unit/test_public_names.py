"""The names that users import, and that importing them needs nothing that was not asked for."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

import milepost

NAMES = [
    "AccumulationTracker",
    "AllOf",
    "AmbiguousState",
    "AnyOf",
    "BackendUnavailable",
    "BacklogFull",
    "BaseCondition",
    "BaseDataCache",
    "BaseDataStore",
    "BaseLimiter",
    "BaseTracker",
    "BrokerUnavailable",
    "BusStatus",
    "CacheUnavailable",
    "CascadeLimit",
    "ChangeCollector",
    "ChangeLogEntry",
    "CircuitBreaker",
    "CircuitOpen",
    "CommitConflict",
    "CommitUncertain",
    "ConflictingNameError",
    "Consumer",
    "ContainerLocked",
    "CountLimiter",
    "CountTracker",
    "DataLost",
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
    "Event",
    "EventBus",
    "EventContext",
    "EventStream",
    "Explanation",
    "FailedDelivery",
    "FilteredObserver",
    "HttpExporter",
    "InvalidDefinition",
    "JobNotFound",
    "JsonLinesExporter",
    "KafkaExporter",
    "KeyExists",
    "KeyNotExists",
    "KeyValueComparison",
    "KeyValueContained",
    "KeyValueEQ",
    "KeyValueGE",
    "KeyValueGT",
    "KeyValueInList",
    "KeyValueLE",
    "KeyValueLT",
    "KeyValueListHasItem",
    "KeyValueListIntersectList",
    "KeyValueListNotHasItem",
    "KeyValueListNotIntersectList",
    "KeyValueNE",
    "KeyValueNotContained",
    "KeyValueNotInList",
    "ListenerHandle",
    "ManagerClosed",
    "ManagerStatus",
    "MemoryDataCache",
    "MemoryDataStore",
    "MemoryTransport",
    "MilepostError",
    "MissingExtra",
    "ModelExists",
    "ModelNotFound",
    "MongoDBDataStore",
    "Not",
    "NumericTracker",
    "OutboxFull",
    "Overflow",
    "Pace",
    "PendingJob",
    "QueueOverflow",
    "RecordTooLarge",
    "RedisDataCache",
    "RedisTransport",
    "Rejected",
    "ResetPolicy",
    "RetryPolicy",
    "S3Exporter",
    "SQLiteDataStore",
    "SQLiteTransport",
    "SUBJECT_DELETED",
    "SUBJECT_PROPERTY_CHANGED",
    "SUBJECT_PROPERTY_DELETED",
    "StaleModelError",
    "StoreLeased",
    "StoreUnavailable",
    "Subject",
    "Subscription",
    "TimeLimiter",
    "TraceNode",
    "TrackItem",
    "TrackResult",
    "TrackedAttributes",
    "TrackedDict",
    "TrackedList",
    "TrackedModel",
    "TrackedSet",
    "TrackerAdded",
    "TrackerAllCompleted",
    "TrackerDefinition",
    "TrackerEvent",
    "TrackerExpired",
    "TrackerExplanation",
    "TrackerLimited",
    "TrackerNotFound",
    "TrackerProgressed",
    "TrackerRemoved",
    "TrackerReset",
    "TrackerSnapshot",
    "TrackerStageCompleted",
    "TrackingManager",
    "Transport",
    "UndecodableError",
    "UnknownEventError",
    "UnknownKindError",
    "WouldBe",
    "async_queue_observer",
    "event_bus",
    "event_handler",
    "filtered_observer",
    "init",
    "json_file_observer",
    "load_observers_from_json",
    "logging_observer",
    "partition_of",
    "telemetry_observer",
    "tracking_actor",
    "where",
]

HOMES = [
    "milepost.manager.TrackingManager",
    "milepost.trackers.numerics.count.CountTracker",
    "milepost.trackers.numerics.accumulation.AccumulationTracker",
    "milepost.conditions.keys.KeyValueEQ",
    "milepost.conditions.base.BaseCondition",
    "milepost.limiters.base.BaseLimiter",
    "milepost.limiters.count.CountLimiter",
    "milepost.limiters.time.TimeLimiter",
    "milepost.events.EVENT_TRACKER_LIMITED",
    "milepost.events.EVENT_TRACKER_STAGE_COMPLETED",
    "milepost.data_caches.memory.MemoryDataCache",
    "milepost.data_caches.redis.RedisDataCache",
    "milepost.data_stores.memory.MemoryDataStore",
    "milepost.data_stores.sqlite.SQLiteDataStore",
    "milepost.data_stores.mongodb.MongoDBDataStore",
    "milepost.conditions.KeyValueEQ",
    "milepost.limiters.CountLimiter",
    "milepost.trackers.CountTracker",
    "milepost.trackers.numerics.CountTracker",
    "milepost.changes.ChangeCollector",
    "milepost.changes.ChangeLogEntry",
    "milepost.changes.ContainerLocked",
    "milepost.changes.FilteredObserver",
    "milepost.changes.HttpExporter",
    "milepost.changes.JsonLinesExporter",
    "milepost.changes.KafkaExporter",
    "milepost.changes.S3Exporter",
    "milepost.changes.TrackedAttributes",
    "milepost.changes.TrackedDict",
    "milepost.changes.TrackedList",
    "milepost.changes.TrackedSet",
    "milepost.changes.async_queue_observer",
    "milepost.changes.filtered_observer",
    "milepost.changes.json_file_observer",
    "milepost.changes.load_observers_from_json",
    "milepost.changes.logging_observer",
    "milepost.changes.telemetry_observer",
    "milepost.changes.tracking_actor",
    "milepost.testing.ManualClock",
    "milepost.testing.open_manager",
    "milepost.testing.EventRecorder",
]


def test_the_public_names_are_these() -> None:
    """What ``from milepost import …`` offers changes only on purpose."""
    assert sorted(milepost.__all__) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_imports(name: str) -> None:
    """Each public name can be imported, and is listed by ``dir``."""
    assert getattr(milepost, name) is not None
    assert name in dir(milepost)


@pytest.mark.parametrize("path", HOMES)
def test_modules_are_where_users_of_dictrack_look_for_them(path: str) -> None:
    """Module paths are recognisable, and lead to the same objects as the door."""
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert found is getattr(milepost, name, found)


def test_a_name_that_does_not_exist_says_so() -> None:
    """A misspelt name is an ordinary AttributeError that names it."""
    with pytest.raises(AttributeError, match="NoSuchTracker"):
        milepost.NoSuchTracker  # noqa: B018


BARE = """
import sys

EXTRAS = {
    "typer", "rich", "httpx", "prometheus_client", "redis", "pymongo", "bson", "motor", "faststream", "pytest",
    "hypothesis",
}

class NoExtras:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in EXTRAS:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, NoExtras())
import asyncio
import milepost
import milepost.testing

assert not [name for name in sys.modules if name.startswith("sqlite3")], "importing milepost brings a driver"
for name in milepost.__all__:
    try:
        getattr(milepost, name)
    except milepost.MissingExtra as missing:
        assert 'pip install "milepost[' in str(missing), missing

async def main():
    for url in ("memory://", "sqlite:///t.db"):
        async with milepost.TrackingManager.open(store_url=url) as manager:
            await manager.add_tracker("g", milepost.CountTracker("t", 1))
            assert (await manager.track("g", {})).completed

asyncio.run(main())
"""


def test_milepost_works_without_any_extra(tmp_path: os.PathLike[str]) -> None:
    """With no extra installed milepost tracks in memory and in SQLite; what needs one names the pip command."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BARE], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
