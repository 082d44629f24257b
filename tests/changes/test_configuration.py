"""Observers from a file: what it can name, and that it can name nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milepost.changes import (
    ChangeCollector,
    FilteredObserver,
    HttpExporter,
    JsonLinesExporter,
    KafkaExporter,
    ObserverOptions,
    S3Exporter,
    TrackedDict,
    load_observers_from_json,
    register_observer,
    register_observer_part,
)
from milepost.errors import InvalidDefinition
from milepost.queues import Overflow
from tests.changes.servers import Producer


class Client:
    """What an S3 exporter needs."""

    def put_object(self, **wanted: Any) -> None:
        """Put an object."""


class LoudOptions(ObserverOptions):
    volume: int = 1


register_observer_part("test producer", Producer)
register_observer_part("test client", Client)
register_observer("loud", LoudOptions, lambda options: lambda entry: None)


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Write a configuration; return its path."""

    def write(content: Any) -> Path:
        path = tmp_path / "observers.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return path

    return write


def test_every_kind_of_observer_can_be_configured(written: Any, tmp_path: Path) -> None:
    """A file builds the observers that it describes, with their options, in its order."""
    path = written(
        [
            {"type": "change_collector", "options": {"capacity": 5}},
            {
                "type": "filtered",
                "options": {
                    "observer": {"type": "change_collector"},
                    "actions": ["update"],
                    "paths": [["deep", 0]],
                },
            },
            {"type": "logging", "options": {"logger": "app", "level": "WARNING"}},
            {"type": "json_file", "options": {"path": str(tmp_path / "a.jsonl")}},
            {"type": "telemetry"},
            {"type": "json_lines_exporter", "options": {"path": "b.jsonl", "max_bytes": 10, "overflow": "drop_newest"}},
            {"type": "http_exporter", "options": {"url": "http://localhost/x", "retries": {"max_retries": 9}}},
            {"type": "s3_exporter", "options": {"client": "test client", "bucket": "audit"}},
            {"type": "kafka_exporter", "options": {"producer": "test producer", "topic": "changes", "batch_size": 7}},
            {"type": "loud", "options": {"volume": 11}},
        ]
    )
    observers: list[Any] = load_observers_from_json(path)
    collector, filtered, _, file, _, lines, http, s3, kafka, _ = observers
    assert isinstance(collector, ChangeCollector)
    assert collector.capacity == 5
    assert isinstance(filtered, FilteredObserver)
    assert isinstance(lines, JsonLinesExporter)
    assert (lines.max_bytes, lines.overflow) == (10, Overflow.DROP_NEWEST)
    assert isinstance(http, HttpExporter)
    assert http.retries.max_retries == 9
    assert isinstance(s3, S3Exporter)
    assert isinstance(kafka, KafkaExporter)
    assert kafka.batch_size == 7
    tracked: TrackedDict[str, Any] = TrackedDict({"deep": [1]}, tracking_auto_convert=True)
    for observer in (collector, filtered, file):
        tracked.tracking_add_observer(observer)
    tracked["deep"][0] = 2
    tracked["a"] = 1
    assert len(collector) == 2
    assert len(filtered.observer) == 1
    assert len((tmp_path / "a.jsonl").read_text("utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "observers.json is not JSON"),
        ({"type": "logging"}, "must hold a list of observers"),
        ([3], "0: Input should be"),
        ([{"options": {}}], "0.type: Field required"),
        ([{"type": "os.system"}], "0.type must be one of change_collector, .*, got 'os.system'"),
        ([{"type": "logging"}, {"type": "change_collector", "options": {"size": 5}}], "1.options.size: Extra inputs"),
        ([{"type": "change_collector", "options": {"capacity": 0}}], "0.options.capacity: Input should be greater"),
        (
            [{"type": "change_collector", "options": {"capacity": "5"}}],
            "0.options.capacity: Input should be a valid int",
        ),
        ([{"type": "http_exporter", "options": {"url": "file:///etc/passwd"}}], "0.options: url must begin with http"),
        ([{"type": "s3_exporter", "options": {"client": "boto3.client", "bucket": "b"}}], "no part 'boto3.client'"),
        ([{"type": "kafka_exporter", "options": {"producer": "test producer"}}], "0.options.topic: Field required"),
        ([{"type": "filtered", "options": {"observer": {"type": "no"}}}], "observer.type must be one of"),
        ([{"type": "logging", "import": "os"}], "0.import: Extra inputs"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(written: Any, content: Any, message: str) -> None:
    """Whatever is wrong is refused with file, place and reason; nothing is imported by name."""
    with pytest.raises(InvalidDefinition, match=message):
        load_observers_from_json(written(content))


def test_names_are_registered_once() -> None:
    """A name that is taken stays what it is."""
    with pytest.raises(InvalidDefinition, match="'logging' is registered"):
        register_observer("logging", LoudOptions, lambda options: print)
    with pytest.raises(InvalidDefinition, match="'test client' is registered"):
        register_observer_part("test client", Client)
