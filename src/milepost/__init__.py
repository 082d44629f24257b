"""milepost: an asyncio-native tracking engine.

Declare what to track, await ``track(group_id, data)`` for everything that happens, and hear
through listeners and queues when something is reached. This is the door: names are
imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from milepost._partitions import partition_of as partition_of
    from milepost.bus.breaker import CircuitBreaker as CircuitBreaker
    from milepost.bus.bus import BusStatus as BusStatus
    from milepost.bus.bus import EventBus as EventBus
    from milepost.bus.consuming import Pace as Pace
    from milepost.bus.context import EventContext as EventContext
    from milepost.bus.failed import FailedDelivery as FailedDelivery
    from milepost.bus.jobs import PendingJob as PendingJob
    from milepost.bus.listeners import ListenerHandle as ListenerHandle
    from milepost.bus.streams import EventStream as EventStream
    from milepost.bus.subscriptions import Subscription as Subscription
    from milepost.bus.trace import TraceNode as TraceNode
    from milepost.bus.transports.base import Consumer as Consumer
    from milepost.bus.transports.base import Transport as Transport
    from milepost.bus.transports.memory import MemoryTransport as MemoryTransport
    from milepost.bus.transports.redis import RedisTransport as RedisTransport
    from milepost.bus.transports.sqlite import SQLiteTransport as SQLiteTransport
    from milepost.changes.actors import tracking_actor as tracking_actor
    from milepost.changes.attributes import TrackedAttributes as TrackedAttributes
    from milepost.changes.configuration import load_observers_from_json as load_observers_from_json
    from milepost.changes.dicts import TrackedDict as TrackedDict
    from milepost.changes.entries import ChangeLogEntry as ChangeLogEntry
    from milepost.changes.exporters.http import HttpExporter as HttpExporter
    from milepost.changes.exporters.json_lines import JsonLinesExporter as JsonLinesExporter
    from milepost.changes.exporters.kafka import KafkaExporter as KafkaExporter
    from milepost.changes.exporters.s3 import S3Exporter as S3Exporter
    from milepost.changes.feeding import async_queue_observer as async_queue_observer
    from milepost.changes.lists import TrackedList as TrackedList
    from milepost.changes.observers import ChangeCollector as ChangeCollector
    from milepost.changes.observers import FilteredObserver as FilteredObserver
    from milepost.changes.observers import filtered_observer as filtered_observer
    from milepost.changes.observers import json_file_observer as json_file_observer
    from milepost.changes.observers import logging_observer as logging_observer
    from milepost.changes.observers import telemetry_observer as telemetry_observer
    from milepost.changes.sets import TrackedSet as TrackedSet
    from milepost.conditions.base import BaseCondition as BaseCondition
    from milepost.conditions.combinators import (
        AllOf as AllOf,
    )
    from milepost.conditions.combinators import (
        AnyOf as AnyOf,
    )
    from milepost.conditions.combinators import (
        Not as Not,
    )
    from milepost.conditions.keys import (
        KeyExists as KeyExists,
    )
    from milepost.conditions.keys import (
        KeyNotExists as KeyNotExists,
    )
    from milepost.conditions.keys import (
        KeyValueComparison as KeyValueComparison,
    )
    from milepost.conditions.keys import (
        KeyValueContained as KeyValueContained,
    )
    from milepost.conditions.keys import (
        KeyValueEQ as KeyValueEQ,
    )
    from milepost.conditions.keys import (
        KeyValueGE as KeyValueGE,
    )
    from milepost.conditions.keys import (
        KeyValueGT as KeyValueGT,
    )
    from milepost.conditions.keys import (
        KeyValueInList as KeyValueInList,
    )
    from milepost.conditions.keys import (
        KeyValueLE as KeyValueLE,
    )
    from milepost.conditions.keys import (
        KeyValueListHasItem as KeyValueListHasItem,
    )
    from milepost.conditions.keys import (
        KeyValueListIntersectList as KeyValueListIntersectList,
    )
    from milepost.conditions.keys import (
        KeyValueListNotHasItem as KeyValueListNotHasItem,
    )
    from milepost.conditions.keys import (
        KeyValueListNotIntersectList as KeyValueListNotIntersectList,
    )
    from milepost.conditions.keys import (
        KeyValueLT as KeyValueLT,
    )
    from milepost.conditions.keys import (
        KeyValueNE as KeyValueNE,
    )
    from milepost.conditions.keys import (
        KeyValueNotContained as KeyValueNotContained,
    )
    from milepost.conditions.keys import (
        KeyValueNotInList as KeyValueNotInList,
    )
    from milepost.conditions.where import where as where
    from milepost.data_caches.base import BaseDataCache as BaseDataCache
    from milepost.data_caches.memory import MemoryDataCache as MemoryDataCache
    from milepost.data_caches.redis import RedisDataCache as RedisDataCache
    from milepost.data_stores.base import BaseDataStore as BaseDataStore
    from milepost.data_stores.memory import MemoryDataStore as MemoryDataStore
    from milepost.data_stores.mongodb import MongoDBDataStore as MongoDBDataStore
    from milepost.data_stores.sqlite import SQLiteDataStore as SQLiteDataStore
    from milepost.default import event_bus as event_bus
    from milepost.default import event_handler as event_handler
    from milepost.default import init as init
    from milepost.errors import (
        AmbiguousState as AmbiguousState,
    )
    from milepost.errors import (
        BackendUnavailable as BackendUnavailable,
    )
    from milepost.errors import BacklogFull as BacklogFull
    from milepost.errors import BrokerUnavailable as BrokerUnavailable
    from milepost.errors import (
        CacheUnavailable as CacheUnavailable,
    )
    from milepost.errors import CascadeLimit as CascadeLimit
    from milepost.errors import CircuitOpen as CircuitOpen
    from milepost.errors import (
        CommitConflict as CommitConflict,
    )
    from milepost.errors import (
        CommitUncertain as CommitUncertain,
    )
    from milepost.errors import (
        ConflictingNameError as ConflictingNameError,
    )
    from milepost.errors import ContainerLocked as ContainerLocked
    from milepost.errors import (
        InvalidDefinition as InvalidDefinition,
    )
    from milepost.errors import JobNotFound as JobNotFound
    from milepost.errors import (
        ManagerClosed as ManagerClosed,
    )
    from milepost.errors import (
        MilepostError as MilepostError,
    )
    from milepost.errors import (
        MissingExtra as MissingExtra,
    )
    from milepost.errors import ModelExists as ModelExists
    from milepost.errors import ModelNotFound as ModelNotFound
    from milepost.errors import (
        OutboxFull as OutboxFull,
    )
    from milepost.errors import (
        QueueOverflow as QueueOverflow,
    )
    from milepost.errors import (
        RecordTooLarge as RecordTooLarge,
    )
    from milepost.errors import StaleModelError as StaleModelError
    from milepost.errors import (
        StoreLeased as StoreLeased,
    )
    from milepost.errors import (
        StoreUnavailable as StoreUnavailable,
    )
    from milepost.errors import (
        TrackerNotFound as TrackerNotFound,
    )
    from milepost.errors import (
        UndecodableError as UndecodableError,
    )
    from milepost.errors import (
        UnknownEventError as UnknownEventError,
    )
    from milepost.errors import (
        UnknownKindError as UnknownKindError,
    )
    from milepost.events.codes import (
        EVENT_ALL as EVENT_ALL,
    )
    from milepost.events.codes import EVENT_DATA_LOST as EVENT_DATA_LOST
    from milepost.events.codes import (
        EVENT_TRACKER_ADDED as EVENT_TRACKER_ADDED,
    )
    from milepost.events.codes import (
        EVENT_TRACKER_ALL_COMPLETED as EVENT_TRACKER_ALL_COMPLETED,
    )
    from milepost.events.codes import (
        EVENT_TRACKER_EXPIRED as EVENT_TRACKER_EXPIRED,
    )
    from milepost.events.codes import (
        EVENT_TRACKER_LIMITED as EVENT_TRACKER_LIMITED,
    )
    from milepost.events.codes import (
        EVENT_TRACKER_PROGRESSED as EVENT_TRACKER_PROGRESSED,
    )
    from milepost.events.codes import (
        EVENT_TRACKER_REMOVED as EVENT_TRACKER_REMOVED,
    )
    from milepost.events.codes import (
        EVENT_TRACKER_RESET as EVENT_TRACKER_RESET,
    )
    from milepost.events.codes import (
        EVENT_TRACKER_STAGE_COMPLETED as EVENT_TRACKER_STAGE_COMPLETED,
    )
    from milepost.events.codes import SUBJECT_DELETED as SUBJECT_DELETED
    from milepost.events.codes import SUBJECT_PROPERTY_CHANGED as SUBJECT_PROPERTY_CHANGED
    from milepost.events.codes import SUBJECT_PROPERTY_DELETED as SUBJECT_PROPERTY_DELETED
    from milepost.events.types import DataLost as DataLost
    from milepost.events.types import (
        Event as Event,
    )
    from milepost.events.types import (
        TrackerAdded as TrackerAdded,
    )
    from milepost.events.types import (
        TrackerAllCompleted as TrackerAllCompleted,
    )
    from milepost.events.types import (
        TrackerEvent as TrackerEvent,
    )
    from milepost.events.types import (
        TrackerExpired as TrackerExpired,
    )
    from milepost.events.types import (
        TrackerLimited as TrackerLimited,
    )
    from milepost.events.types import (
        TrackerProgressed as TrackerProgressed,
    )
    from milepost.events.types import (
        TrackerRemoved as TrackerRemoved,
    )
    from milepost.events.types import (
        TrackerReset as TrackerReset,
    )
    from milepost.events.types import (
        TrackerStageCompleted as TrackerStageCompleted,
    )
    from milepost.limiters.base import BaseLimiter as BaseLimiter
    from milepost.limiters.count import CountLimiter as CountLimiter
    from milepost.limiters.time import TimeLimiter as TimeLimiter
    from milepost.manager import (
        TrackingManager as TrackingManager,
    )
    from milepost.manager import (
        TrackItem as TrackItem,
    )
    from milepost.queues import Overflow as Overflow
    from milepost.retries import RetryPolicy as RetryPolicy
    from milepost.status import ManagerStatus as ManagerStatus
    from milepost.subjects.models import TrackedModel as TrackedModel
    from milepost.subjects.subject import Subject as Subject
    from milepost.trackers.base import BaseTracker as BaseTracker
    from milepost.trackers.definition import TrackerDefinition as TrackerDefinition
    from milepost.trackers.numerics.accumulation import AccumulationTracker as AccumulationTracker
    from milepost.trackers.numerics.count import CountTracker as CountTracker
    from milepost.trackers.numerics.numeric import NumericTracker as NumericTracker
    from milepost.trackers.policies import ResetPolicy as ResetPolicy
    from milepost.trackers.snapshot import TrackerSnapshot as TrackerSnapshot
    from milepost.tracking.explain import (
        Explanation as Explanation,
    )
    from milepost.tracking.explain import (
        TrackerExplanation as TrackerExplanation,
    )
    from milepost.tracking.explain import (
        WouldBe as WouldBe,
    )
    from milepost.tracking.result import (
        Rejected as Rejected,
    )
    from milepost.tracking.result import (
        TrackResult as TrackResult,
    )

_NAMES = {
    "milepost._partitions": "partition_of",
    "milepost.bus.breaker": "CircuitBreaker",
    "milepost.bus.bus": "BusStatus EventBus",
    "milepost.bus.consuming": "Pace",
    "milepost.bus.context": "EventContext",
    "milepost.bus.failed": "FailedDelivery",
    "milepost.bus.jobs": "PendingJob",
    "milepost.bus.listeners": "ListenerHandle",
    "milepost.bus.streams": "EventStream",
    "milepost.bus.subscriptions": "Subscription",
    "milepost.changes.actors": "tracking_actor",
    "milepost.changes.attributes": "TrackedAttributes",
    "milepost.changes.configuration": "load_observers_from_json",
    "milepost.changes.dicts": "TrackedDict",
    "milepost.changes.entries": "ChangeLogEntry",
    "milepost.changes.exporters.http": "HttpExporter",
    "milepost.changes.exporters.json_lines": "JsonLinesExporter",
    "milepost.changes.exporters.kafka": "KafkaExporter",
    "milepost.changes.exporters.s3": "S3Exporter",
    "milepost.changes.feeding": "async_queue_observer",
    "milepost.changes.lists": "TrackedList",
    "milepost.changes.observers": (
        "ChangeCollector FilteredObserver filtered_observer json_file_observer logging_observer telemetry_observer"
    ),
    "milepost.changes.sets": "TrackedSet",
    "milepost.bus.trace": "TraceNode",
    "milepost.bus.transports.base": "Consumer Transport",
    "milepost.bus.transports.memory": "MemoryTransport",
    "milepost.bus.transports.redis": "RedisTransport",
    "milepost.bus.transports.sqlite": "SQLiteTransport",
    "milepost.conditions.base": "BaseCondition",
    "milepost.conditions.combinators": "AllOf AnyOf Not",
    "milepost.conditions.keys": (
        "KeyExists KeyNotExists KeyValueComparison KeyValueContained KeyValueEQ KeyValueGE "
        "KeyValueGT KeyValueInList KeyValueLE KeyValueLT KeyValueListHasItem "
        "KeyValueListIntersectList KeyValueListNotHasItem KeyValueListNotIntersectList KeyValueNE "
        "KeyValueNotContained KeyValueNotInList"
    ),
    "milepost.conditions.where": "where",
    "milepost.data_caches.base": "BaseDataCache",
    "milepost.data_caches.memory": "MemoryDataCache",
    "milepost.data_caches.redis": "RedisDataCache",
    "milepost.data_stores.base": "BaseDataStore",
    "milepost.data_stores.memory": "MemoryDataStore",
    "milepost.data_stores.mongodb": "MongoDBDataStore",
    "milepost.data_stores.sqlite": "SQLiteDataStore",
    "milepost.default": "event_bus event_handler init",
    "milepost.errors": (
        "AmbiguousState BackendUnavailable BacklogFull BrokerUnavailable CacheUnavailable CascadeLimit CircuitOpen "
        "CommitConflict CommitUncertain ConflictingNameError ContainerLocked InvalidDefinition "
        "JobNotFound LeaseLost ManagerClosed MilepostError MissingExtra ModelExists ModelNotFound "
        "OutboxFull QueueOverflow RecordTooLarge StaleModelError StoreLeased StoreUnavailable "
        "TrackerNotFound UndecodableError UnknownEventError UnknownKindError"
    ),
    "milepost.events.codes": (
        "EVENT_ALL EVENT_DATA_LOST EVENT_TRACKER_ADDED EVENT_TRACKER_ALL_COMPLETED EVENT_TRACKER_EXPIRED "
        "EVENT_TRACKER_LIMITED EVENT_TRACKER_PROGRESSED EVENT_TRACKER_REMOVED EVENT_TRACKER_RESET "
        "EVENT_TRACKER_STAGE_COMPLETED SUBJECT_DELETED SUBJECT_PROPERTY_CHANGED "
        "SUBJECT_PROPERTY_DELETED"
    ),
    "milepost.events.types": (
        "DataLost Event TrackerAdded TrackerAllCompleted TrackerEvent TrackerExpired TrackerLimited "
        "TrackerProgressed TrackerRemoved TrackerReset TrackerStageCompleted"
    ),
    "milepost.limiters.base": "BaseLimiter",
    "milepost.limiters.count": "CountLimiter",
    "milepost.limiters.time": "TimeLimiter",
    "milepost.manager": "TrackItem TrackingManager",
    "milepost.queues": "Overflow",
    "milepost.retries": "RetryPolicy",
    "milepost.status": "ManagerStatus",
    "milepost.subjects.models": "TrackedModel",
    "milepost.subjects.subject": "Subject",
    "milepost.trackers.base": "BaseTracker",
    "milepost.trackers.definition": "TrackerDefinition",
    "milepost.trackers.numerics.accumulation": "AccumulationTracker",
    "milepost.trackers.numerics.count": "CountTracker",
    "milepost.trackers.numerics.numeric": "NumericTracker",
    "milepost.trackers.policies": "ResetPolicy",
    "milepost.trackers.snapshot": "TrackerSnapshot",
    "milepost.tracking.explain": "Explanation TrackerExplanation WouldBe",
    "milepost.tracking.result": "Rejected TrackResult",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

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


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'milepost' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
