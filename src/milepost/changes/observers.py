"""Observers for the common cases: collect, filter, log, write to a file, feed a queue, count."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from milepost.changes.entries import ChangeLogEntry
from milepost.changes.notifying import Observer, wants_init
from milepost.errors import InvalidDefinition, MissingExtra

__all__ = [
    "ChangeCollector",
    "FilteredObserver",
    "filtered_observer",
    "json_file_observer",
    "logging_observer",
    "telemetry_observer",
]


class ChangeCollector:
    """An observer that keeps entries in memory.

    Args:
        capacity: how many it keeps, the latest ones; None for all.
        include_init_events: whether to hear what converted children, and containers that got this
            observer from their start, held when they were made.

    Raises:
        InvalidDefinition: when the capacity is no whole number of at least 1.
    """

    def __init__(self, capacity: int | None = None, include_init_events: bool = False) -> None:
        if capacity is not None and (isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1):
            raise InvalidDefinition(f"capacity must be a whole number of at least 1, or None, got {capacity!r}")
        self.capacity = capacity
        self.include_init_events = include_init_events
        self._entries: deque[ChangeLogEntry] = deque(maxlen=capacity)

    def __call__(self, entry: ChangeLogEntry) -> None:
        if self.include_init_events or entry.action != "init":
            self._entries.append(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def __bool__(self) -> bool:
        return True  # an empty collector is an observer too

    def __iter__(self) -> Iterator[ChangeLogEntry]:
        return iter(self.as_list())

    def as_list(self) -> list[ChangeLogEntry]:
        """Return what was collected, the oldest first."""
        return list(self._entries)

    def last(self) -> ChangeLogEntry | None:
        """Return the latest entry; None where there is none."""
        return self._entries[-1] if self._entries else None

    def filtered(self, action: str) -> list[ChangeLogEntry]:
        """Return the entries with this action."""
        return [entry for entry in self.as_list() if entry.action == action]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


class FilteredObserver:
    """Passes on to another observer the entries that match all that is given.

    Args:
        observer: the other one, plain or async.
        actions: actions to pass on; None for all.
        locations: keys, indices or attributes to pass on; None for all.
        paths: beginnings of paths to pass on, as tuples; None for all.
        actors: actors to pass on; None for all.
    """

    def __init__(
        self,
        observer: Observer,
        *,
        actions: Collection[str] | None = None,
        locations: Collection[Any] | None = None,
        paths: Collection[tuple[Any, ...]] | None = None,
        actors: Collection[str] | None = None,
    ) -> None:
        self.observer = observer
        self._actions = None if actions is None else frozenset(actions)
        self._locations = None if locations is None else list(locations)
        self._paths = None if paths is None else [tuple(path) for path in paths]
        self._actors = None if actors is None else frozenset(actors)
        self.include_init_events = wants_init(observer)

    def __call__(self, entry: ChangeLogEntry) -> Any:
        return self.observer(entry) if self.matches(entry) else None

    def matches(self, entry: ChangeLogEntry) -> bool:
        """Whether an entry is passed on."""
        if self._actions is not None and entry.action not in self._actions:
            return False
        if self._actors is not None and entry.actor not in self._actors:
            return False
        if self._locations is not None and entry.location not in self._locations:
            return False
        if self._paths is None:
            return True
        path = entry.path
        return any(path[: len(beginning)] == beginning for beginning in self._paths)


filtered_observer: Final = FilteredObserver
"""The same as :class:`FilteredObserver`."""


def logging_observer(
    logger: logging.Logger | str | None = None, level: int = logging.INFO
) -> Callable[[ChangeLogEntry], None]:
    """Return an observer that logs each entry as a line of text, with the entry as ``record.change``.

    Args:
        logger: a logger or its name; by default ``milepost.changes``.
        level: the level of the records.
    """
    target = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger or "milepost.changes")

    def log(entry: ChangeLogEntry) -> None:
        if target.isEnabledFor(level):
            target.log(level, "%s", entry, extra={"change": entry})

    return log


class _JsonFile:
    """Appends a line to a file for every entry; see :func:`json_file_observer`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._writer: ThreadPoolExecutor | None = None

    def __call__(self, entry: ChangeLogEntry) -> Any:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write(entry)
            return None
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="milepost: changes")
        return loop.run_in_executor(self._writer, self._write, entry)

    def _write(self, entry: ChangeLogEntry) -> None:
        line = entry.to_json() + "\n"
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)

    def close(self) -> None:
        """Wait until everything has been written."""
        if self._writer is not None:
            self._writer.shutdown(wait=True)
            self._writer = None


def json_file_observer(path: str | Path) -> _JsonFile:
    """Return an observer that appends each entry to a file, as a line of JSON.

    The file is opened for every line, so that it may be moved away at any time. Without a running
    event loop the line is there when the change returns; in one a thread writes it, in order, and
    the observer's ``close()`` waits for that. For many changes use ``JsonLinesExporter``.

    Args:
        path: the file; it and its folders are made when they are needed.
    """
    return _JsonFile(Path(path))


_counters: dict[str, Any] = {}


def telemetry_observer(counter: Any = None) -> Callable[[ChangeLogEntry], None]:
    """Return an observer that counts entries by action.

    Args:
        counter: a Prometheus counter with the one label ``action``, or anything with
            ``.labels(action=...).inc()``; by default the Prometheus counter ``milepost_changes``.

    Raises:
        InvalidDefinition: when the counter has no ``labels``.
        MissingExtra: without a counter, when prometheus-client is not installed.
    """
    target = _default_counter() if counter is None else counter
    if not callable(getattr(target, "labels", None)):
        raise InvalidDefinition(f"counter must have .labels(action=...).inc(), got {counter!r}")

    def count(entry: ChangeLogEntry) -> None:
        target.labels(action=entry.action).inc()

    return count


def _default_counter() -> Any:
    if "changes" not in _counters:
        try:
            from prometheus_client import Counter
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "prometheus_client":
                raise
            raise MissingExtra("prometheus", "prometheus-client") from None
        _counters["changes"] = Counter("milepost_changes", "Changes of tracked containers", ["action"])
    return _counters["changes"]
