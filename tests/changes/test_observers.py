"""Observers: who hears what, in which order, from which thread, and that none can do harm."""

from __future__ import annotations

import asyncio
import json
import logging
import queue as queues
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from milepost.changes import (
    ChangeCollector,
    ChangeLogEntry,
    FilteredObserver,
    TrackedDict,
    TrackedList,
    async_queue_observer,
    filtered_observer,
    json_file_observer,
    logging_observer,
    telemetry_observer,
)
from milepost.errors import InvalidDefinition


def test_observers_hear_in_the_order_of_their_priority() -> None:
    """Lower priorities first, equal ones in the order of adding; each once, until it is removed."""
    tracked: TrackedDict[str, int] = TrackedDict()
    heard: list[str] = []
    observers = {name: (lambda entry, name=name: heard.append(name)) for name in ("late", "first", "middle", "second")}
    tracked.tracking_add_observer(observers["late"], priority=90)
    tracked.tracking_add_observer(observers["first"], priority=10)
    tracked.tracking_add_observer(observers["second"], priority=10)
    tracked.tracking_add_observer(observers["middle"])
    tracked["a"] = 1
    assert heard == ["first", "second", "middle", "late"]
    heard.clear()
    tracked.tracking_add_observer(observers["late"], priority=1)
    assert tracked.tracking_remove_observer(observers["second"]) is True
    assert tracked.tracking_remove_observer(observers["second"]) is False
    tracked["a"] = 2
    assert heard == ["late", "first", "middle"]
    with pytest.raises(TypeError, match="must be callable"):
        tracked.tracking_add_observer(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="priority"):
        tracked.tracking_add_observer(print, priority="high")  # type: ignore[arg-type]


def test_an_observer_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The change stands, the other observers hear of it, the failure is logged with its traceback and counted."""
    tracked: TrackedDict[str, int] = TrackedDict()
    collector = ChangeCollector()

    def broken(entry: ChangeLogEntry) -> None:
        raise ZeroDivisionError("broken")

    tracked.tracking_add_observer(broken, priority=1)
    tracked.tracking_add_observer(collector)
    tracked["a"] = 1
    assert tracked == {"a": 1}
    assert len(collector) == 1
    assert tracked.tracking_observer_failures == 1
    assert "broken" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_an_observer_may_change_the_container() -> None:
    """A change made by an observer is a change like any other, and is heard of."""
    tracked: TrackedDict[str, int] = TrackedDict()

    def follow(entry: ChangeLogEntry) -> None:
        if entry.location == "a":
            tracked["b"] = entry.new + 1

    tracked.tracking_add_observer(follow)
    collector = ChangeCollector()
    tracked.tracking_add_observer(collector)
    tracked["a"] = 1
    assert tracked == {"a": 1, "b": 2}
    assert sorted(entry.location for entry in collector) == ["a", "b"]


async def test_async_observers_are_awaited_also_for_changes_in_other_threads(caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine function is run in the loop; one that raises is logged and counted."""
    tracked: TrackedDict[str, int] = TrackedDict()
    heard: asyncio.Queue[ChangeLogEntry] = asyncio.Queue()

    async def hear(entry: ChangeLogEntry) -> None:
        await asyncio.sleep(0)
        heard.put_nowait(entry)
        if entry.location == "bad":
            raise ZeroDivisionError("broken later")

    tracked.tracking_add_observer(hear)
    tracked["a"] = 1
    assert (await heard.get()).location == "a"
    await asyncio.to_thread(tracked.__setitem__, "b", 2)
    assert (await heard.get()).location == "b"
    tracked["bad"] = 3
    await heard.get()
    await asyncio.sleep(0)
    assert tracked.tracking_observer_failures == 1
    assert "broken later" in caplog.text


def test_an_async_observer_without_a_loop_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Where no loop runs nor ran when it was added, an async observer cannot work, and that is said."""
    tracked: TrackedDict[str, int] = TrackedDict()

    async def hear(entry: ChangeLogEntry) -> None:
        raise AssertionError("never called")

    tracked.tracking_add_observer(hear)
    tracked["a"] = 1
    assert tracked == {"a": 1}
    assert tracked.tracking_observer_failures == 1
    assert "needs an event loop" in caplog.text


def test_a_collector_keeps_what_it_has_room_for() -> None:
    """A collector keeps all entries, or the latest; they can be asked for by action, and forgotten."""
    tracked: TrackedList[int] = TrackedList()
    everything, latest = ChangeCollector(), ChangeCollector(capacity=2)
    tracked.tracking_add_observer(everything)
    tracked.tracking_add_observer(latest)
    assert everything.last() is None
    assert everything, "an empty collector is true: `collector or default` must not lose it"
    for n in range(3):
        tracked.append(n)
    tracked.pop()
    assert everything.as_list() == tracked.tracking_changes() == list(everything)
    assert latest.as_list() == tracked.tracking_changes(2)
    assert [entry.new for entry in everything.filtered("add")] == [0, 1, 2]
    last = everything.last()
    assert last is not None
    assert last.action == "remove"
    assert everything.as_list()[-1].extra["location"] == 2
    everything.clear()
    assert len(everything) == 0
    with pytest.raises(InvalidDefinition, match="capacity"):
        ChangeCollector(capacity=0)


def test_init_events_are_for_those_who_ask() -> None:
    """A collector that includes them hears what a container held at its start and what converted children hold."""
    asked, ordinary = ChangeCollector(include_init_events=True), ChangeCollector()
    tracked: TrackedDict[str, Any] = TrackedDict(
        {"a": 1}, tracking_auto_convert=True, tracking_observers=[asked, ordinary]
    )
    tracked["child"] = {"b": 2}
    tracked["list"] = []
    tracked["list"].extend([{}, 5])
    assert [(entry.action, entry.path, entry.new) for entry in asked] == [
        ("init", (), {"a": 1}),
        ("init", ("child",), {"b": 2}),
        ("add", ("child",), {"b": 2}),
        ("init", ("list",), []),
        ("add", ("list",), []),
        ("init", ("list", 0), {}),
        ("add", ("list", range(2)), [{}, 5]),
    ]
    assert [entry.action for entry in ordinary] == ["add", "add", "add"]
    assert [entry.action for entry in tracked.tracking_changes()] == ["add", "add", "add"]


def test_a_filter_passes_on_what_matches_all_of_it() -> None:
    """Actions, locations, paths and actors each narrow down; what is not given does not."""
    tracked: TrackedDict[str, Any] = TrackedDict({"deep": {"foo": 1}}, tracking_auto_convert=True)
    heard: dict[str, list[Any]] = {"updates of foo": [], "below deep": [], "all": [], "nobody's": []}
    tracked.tracking_add_observer(
        filtered_observer(heard["updates of foo"].append, actions={"update"}, locations={"foo"})
    )
    tracked.tracking_add_observer(FilteredObserver(heard["below deep"].append, paths=[("deep",)]))
    tracked.tracking_add_observer(FilteredObserver(heard["all"].append))
    tracked.tracking_add_observer(FilteredObserver(heard["nobody's"].append, actors=["nobody"]))
    tracked["foo"] = 1
    tracked["foo"] = 3
    tracked["bar"] = 2
    tracked["deep"]["foo"] = 4
    assert {name: [entry.new for entry in entries] for name, entries in heard.items()} == {
        "updates of foo": [3, 4],
        "below deep": [4],
        "all": [1, 3, 2, 4],
        "nobody's": [],
    }


def test_a_logger_gets_a_line_and_the_entry(caplog: pytest.LogCaptureFixture) -> None:
    """The record's message is the entry's text, its ``change`` the entry; the level is the caller's."""
    tracked: TrackedDict[str, int] = TrackedDict()
    tracked.tracking_add_observer(logging_observer(logging.getLogger("app.changes"), logging.WARNING))
    tracked.tracking_add_observer(logging_observer("app.changes", logging.DEBUG))
    with caplog.at_level(logging.INFO, "app.changes"):
        tracked["foo"] = 1
    (record,) = caplog.records
    assert record.message == str(tracked.last_change())
    assert record.__dict__["change"] == tracked.last_change()
    assert logging_observer() is not None


def test_a_json_file_has_the_line_when_the_change_returns(tmp_path: Path) -> None:
    """Without a loop every change is in the file at once, also after the file was moved away."""
    path = tmp_path / "deep" / "log.jsonl"
    tracked: TrackedDict[str, str] = TrackedDict()
    tracked.tracking_add_observer(json_file_observer(path))
    tracked["foo"] = "bär"
    (line,) = path.read_text("utf-8").splitlines()
    assert json.loads(line)["new"] == "bär"
    path.rename(tmp_path / "old.jsonl")
    tracked["foo"] = "2"
    assert len(path.read_text("utf-8").splitlines()) == 1


async def test_a_json_file_is_written_beside_the_loop(tmp_path: Path) -> None:
    """In a loop a thread writes, in order, and the loop is never blocked; close waits for the last line."""
    tracked: TrackedList[int] = TrackedList()
    observer = json_file_observer(tmp_path / "log.jsonl")
    tracked.tracking_add_observer(observer)
    for n in range(50):
        tracked.append(n)
    await asyncio.to_thread(observer.close)
    written = (tmp_path / "log.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["new"] for line in written] == list(range(50))


async def test_a_queue_is_bounded_and_counts_what_it_drops() -> None:
    """Beyond its size the oldest or the newest entry goes, or an error is reported; nothing is lost uncounted."""
    tracked: TrackedList[int] = TrackedList()
    queues_by_policy: dict[str, asyncio.Queue[ChangeLogEntry]] = {
        policy: asyncio.Queue() for policy in ("drop_oldest", "drop_newest", "error")
    }
    observers = {}
    for policy, queue in queues_by_policy.items():
        observers[policy] = async_queue_observer(queue, size=3, overflow=policy)
        tracked.tracking_add_observer(observers[policy])
    narrow: asyncio.Queue[ChangeLogEntry] = asyncio.Queue(maxsize=1)
    tracked.tracking_add_observer(async_queue_observer(narrow))
    for n in range(5):
        tracked.append(n)
    kept = {
        policy: [queue.get_nowait().new for _ in range(queue.qsize())] for policy, queue in queues_by_policy.items()
    }
    assert kept == {"drop_oldest": [2, 3, 4], "drop_newest": [0, 1, 2], "error": [0, 1, 2]}
    assert {policy: (observer.delivered, observer.dropped) for policy, observer in observers.items()} == {
        "drop_oldest": (3, 2),
        "drop_newest": (3, 2),
        "error": (3, 2),
    }
    assert narrow.get_nowait().new == 4
    assert tracked.tracking_observer_failures == 2
    for wrong in ("block", "sometimes"):
        with pytest.raises(InvalidDefinition, match="overflow must be one of 'drop_oldest', 'drop_newest', 'error'"):
            async_queue_observer(narrow, overflow=wrong)
    with pytest.raises(InvalidDefinition, match="size"):
        async_queue_observer(narrow, size=0)


async def test_a_queue_is_fed_from_other_threads() -> None:
    """Changes in other threads reach the queue in its own loop, in order, and wake who waits there."""
    tracked: TrackedList[int] = TrackedList()
    queue: asyncio.Queue[ChangeLogEntry] = asyncio.Queue()
    observer = async_queue_observer(queue, size=1000)
    tracked.tracking_add_observer(observer)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    writer = threading.Thread(target=lambda: [tracked.append(n) for n in range(500)])
    writer.start()
    got = [(await waiting).new]
    while len(got) < 500:
        got.append((await queue.get()).new)
    await asyncio.to_thread(writer.join)
    assert got == list(range(500))
    assert (observer.delivered, observer.dropped) == (500, 0)


async def test_a_busy_loop_bounds_what_other_threads_send_it() -> None:
    """While the loop does not come round, what waits for it stays within the size, and the rest is counted."""
    tracked: TrackedList[int] = TrackedList()
    queue: asyncio.Queue[ChangeLogEntry] = asyncio.Queue()
    observer = async_queue_observer(queue, size=10)
    tracked.tracking_add_observer(observer)
    writer = threading.Thread(target=lambda: [tracked.append(n) for n in range(100)])
    writer.start()
    writer.join()  # the loop stands still
    while observer.delivered + observer.dropped < 100:
        await asyncio.sleep(0)
    assert [queue.get_nowait().new for _ in range(queue.qsize())] == list(range(90, 100))


def test_other_queues_are_fed_too() -> None:
    """A thread's queue, and anything with ``put``, will do."""
    tracked: TrackedList[int] = TrackedList()
    plain: queues.Queue[ChangeLogEntry] = queues.Queue(maxsize=2)

    class Own:
        def __init__(self) -> None:
            self.items: list[ChangeLogEntry] = []

        def put(self, item: ChangeLogEntry) -> None:
            self.items.append(item)

    own = Own()
    tracked.tracking_add_observer(async_queue_observer(plain))
    tracked.tracking_add_observer(async_queue_observer(own))
    for n in range(3):
        tracked.append(n)
    assert [plain.get_nowait().new for _ in range(2)] == [1, 2]
    assert [entry.new for entry in own.items] == [0, 1, 2]


def test_a_prometheus_counter_counts_by_action() -> None:
    """A counter of the caller's counts each action; the default one can be asked for again and again."""
    registry = CollectorRegistry()
    counter = Counter("my_changes", "Mine", ["action"], registry=registry)
    tracked: TrackedDict[str, int] = TrackedDict()
    tracked.tracking_add_observer(telemetry_observer(counter))
    tracked.tracking_add_observer(telemetry_observer())
    tracked.tracking_add_observer(telemetry_observer())
    tracked["a"] = 1
    tracked["a"] = 2
    tracked["b"] = 1
    assert registry.get_sample_value("my_changes_total", {"action": "add"}) == 2
    assert registry.get_sample_value("my_changes_total", {"action": "update"}) == 1

    class Own:
        def __init__(self) -> None:
            self.counts: dict[str, int] = {}

        def labels(self, *, action: str) -> Any:
            self.action = action
            return self

        def inc(self) -> None:
            self.counts[self.action] = self.counts.get(self.action, 0) + 1

    own = Own()
    tracked.tracking_add_observer(telemetry_observer(own))
    tracked.clear()
    assert own.counts == {"clear": 1}
    with pytest.raises(InvalidDefinition, match="labels"):
        telemetry_observer(3)
