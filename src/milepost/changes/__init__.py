"""State that remembers: containers that log every change, observers and exporters."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from milepost.changes.actors import tracking_actor as tracking_actor
from milepost.changes.attributes import TrackedAttributes as TrackedAttributes
from milepost.changes.batches import Batch as Batch
from milepost.changes.dicts import TrackedDict as TrackedDict
from milepost.changes.entries import ChangeLogEntry as ChangeLogEntry
from milepost.changes.exporters.base import Exporter as Exporter
from milepost.changes.exporters.base import FailedExport as FailedExport
from milepost.changes.exporters.base import RefusedExport as RefusedExport
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
from milepost.errors import ContainerLocked as ContainerLocked

if TYPE_CHECKING:
    from milepost.changes.configuration import ObserverOptions as ObserverOptions
    from milepost.changes.configuration import load_observers_from_json as load_observers_from_json
    from milepost.changes.configuration import register_observer as register_observer
    from milepost.changes.configuration import register_observer_part as register_observer_part

_CONFIGURATION = frozenset(
    {"ObserverOptions", "load_observers_from_json", "register_observer", "register_observer_part"}
)


def __getattr__(name: str) -> Any:
    if name not in _CONFIGURATION:  # which takes Pydantic's models, and most programs have none
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("milepost.changes.configuration"), name)
