"""Observers from a file. It can name what is registered, and nothing else: no code is imported for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from milepost.changes.exporters.http import HttpExporter
from milepost.changes.exporters.json_lines import JsonLinesExporter
from milepost.changes.exporters.kafka import KafkaExporter
from milepost.changes.exporters.s3 import S3Exporter
from milepost.changes.notifying import Observer
from milepost.changes.observers import (
    ChangeCollector,
    FilteredObserver,
    json_file_observer,
    logging_observer,
    telemetry_observer,
)
from milepost.codec import loads
from milepost.errors import InvalidDefinition
from milepost.retries import RetryPolicy

__all__ = ["ObserverOptions", "load_observers_from_json", "register_observer", "register_observer_part"]


class ObserverOptions(BaseModel):
    """The base of the options of an observer: unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Spec(ObserverOptions):
    type: str
    options: dict[str, Any] = Field(default_factory=dict)


class _Collector(ObserverOptions):
    capacity: int | None = Field(None, ge=1)
    include_init_events: bool = False


class _Filtered(ObserverOptions):
    observer: _Spec
    actions: list[str] | None = None
    locations: list[str | int] | None = None
    paths: list[list[str | int]] | None = None
    actors: list[str] | None = None


class _Logging(ObserverOptions):
    logger: str | None = None
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"


class _JsonFile(ObserverOptions):
    path: str


class _Telemetry(ObserverOptions):
    counter: str | None = None


class _Retries(ObserverOptions):
    max_retries: int | None = 5
    interval_start: float = 0.1
    interval_step: float = 0.2
    interval_max: float = 30.0
    factor: float | None = 2.0
    jitter: float = 0.5


class _Exporter(ObserverOptions):
    batch_size: int = 100
    interval: float = 1.0
    capacity: int = 10_000
    overflow: Literal["drop_oldest", "drop_newest", "error"] = "drop_oldest"
    retries: _Retries = _Retries()

    def settings(self) -> dict[str, Any]:
        """Return these as arguments."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {**found, "retries": RetryPolicy(**self.retries.model_dump())}


class _JsonLines(_Exporter):
    path: str
    max_bytes: int | None = None
    keep: int = 5
    fsync: bool = False


class _Http(_Exporter):
    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    timeout: float = Field(10.0, gt=0)


class _S3(_Exporter):
    client: str
    bucket: str
    prefix: str = "changes/"


class _Kafka(_Exporter):
    producer: str
    topic: str


_observers: dict[str, tuple[type[ObserverOptions], Callable[[Any], Observer]]] = {}
_parts: dict[str, Callable[[], Any]] = {}


def register_observer(type: str, options: type[ObserverOptions], build: Callable[[Any], Observer]) -> None:
    """Let configurations name an observer.

    Args:
        type: what they call it.
        options: what its options are checked by.
        build: makes the observer from the checked options.

    Raises:
        InvalidDefinition: when the name is taken.
    """
    if type in _observers:
        raise InvalidDefinition(f"an observer type {type!r} is registered already")
    _observers[type] = (options, build)


def register_observer_part(name: str, build: Callable[[], Any]) -> None:
    """Let configurations name what an observer needs and JSON cannot say: a client, a producer, a counter.

    Args:
        name: what they call it.
        build: called each time a configuration names it.

    Raises:
        InvalidDefinition: when the name is taken.
    """
    if name in _parts:
        raise InvalidDefinition(f"a part {name!r} is registered already")
    _parts[name] = build


def load_observers_from_json(path: str | Path) -> list[Observer]:
    """Build observers from a file: a list of ``{"type": "change_collector", "options": {"capacity": 100}}``.

    Types are ``change_collector``, ``filtered`` (whose option ``observer`` is another one), ``logging``,
    ``json_file``, ``telemetry``, ``json_lines_exporter``, ``http_exporter``, ``s3_exporter``, ``kafka_exporter``,
    and what :func:`register_observer` added. ``client``, ``producer`` and ``counter`` are names of
    :func:`register_observer_part`.

    Args:
        path: the file.

    Raises:
        InvalidDefinition: when it is not as described; the message names file, place and reason.
        MissingExtra: when an observer needs what is not installed.
        OSError: when the file cannot be read.
    """
    try:
        content = loads(Path(path).read_bytes())
    except ValueError as error:
        raise InvalidDefinition(f"{path} is not JSON: {error}") from None
    if not isinstance(content, list):
        raise InvalidDefinition(f"{path} must hold a list of observers, got {content!r:.60}")
    try:
        specs = _SPECS.validate_python(content)
        return [_build(spec, (n,)) for n, spec in enumerate(specs)]
    except ValidationError as error:
        raise InvalidDefinition(f"{path}: {_first(error, ())}") from None
    except _Wrong as error:
        raise InvalidDefinition(f"{path}: {error}") from None


class _Wrong(Exception):
    """What is wrong with a configuration, and where."""


def _build(spec: _Spec, place: tuple[Any, ...]) -> Observer:
    known = _observers.get(spec.type)
    if known is None:
        raise _Wrong(f"{_at((*place, 'type'))} must be one of {', '.join(sorted(_observers))}, got {spec.type!r}")
    options, build = known
    try:
        return build(options.model_validate(spec.options))
    except ValidationError as error:
        raise _Wrong(_first(error, (*place, "options"))) from None
    except InvalidDefinition as error:
        raise _Wrong(f"{_at((*place, 'options'))}: {error}") from None


def _first(error: ValidationError, place: tuple[Any, ...]) -> str:
    first = error.errors()[0]
    return f"{_at((*place, *first['loc']))}: {first['msg']}"


def _at(place: tuple[Any, ...]) -> str:
    return ".".join(str(key) for key in place)


def _part(name: str) -> Any:
    build = _parts.get(name)
    if build is None:
        known = ", ".join(sorted(_parts)) or "none"
        raise InvalidDefinition(f"no part {name!r} is registered (there are: {known}); see register_observer_part")
    return build()


def _filtered(options: _Filtered) -> Observer:
    return FilteredObserver(
        _build(options.observer, ("observer",)),
        actions=options.actions,
        locations=options.locations,
        paths=None if options.paths is None else [tuple(path) for path in options.paths],
        actors=options.actors,
    )


def _logging(options: _Logging) -> Observer:
    import logging

    return logging_observer(options.logger, logging.getLevelNamesMapping()[options.level])


def _s3(options: _S3) -> Observer:
    return S3Exporter(**{**options.settings(), "client": _part(options.client)})


def _kafka(options: _Kafka) -> Observer:
    return KafkaExporter(**{**options.settings(), "producer": _part(options.producer)})


_SPECS: Final = TypeAdapter(list[_Spec])

register_observer("change_collector", _Collector, lambda options: ChangeCollector(**options.model_dump()))
register_observer("filtered", _Filtered, _filtered)
register_observer("logging", _Logging, _logging)
register_observer("json_file", _JsonFile, lambda options: json_file_observer(options.path))
register_observer(
    "telemetry", _Telemetry, lambda options: telemetry_observer(options.counter and _part(options.counter))
)
register_observer("json_lines_exporter", _JsonLines, lambda options: JsonLinesExporter(**options.settings()))
register_observer("http_exporter", _Http, lambda options: HttpExporter(**options.settings()))
register_observer("s3_exporter", _S3, _s3)
register_observer("kafka_exporter", _Kafka, _kafka)
