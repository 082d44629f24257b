"""What a log says of a change, how long it remembers, and how it is asked."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle  # noqa: TID251  the promise is about it
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from milepost.changes import ChangeLogEntry, TrackedAttributes, TrackedDict, TrackedList, TrackedSet, tracking_actor
from milepost.errors import InvalidDefinition
from milepost.testing import ManualClock


def said(container: Any) -> list[tuple[Any, ...]]:
    """Return a log as (action, location, old, new)."""
    return [(entry.action, entry.location, entry.old, entry.new) for entry in container.tracking_changes()]


def test_the_first_entry_of_a_new_dict_is_its_first_change() -> None:
    """Making a container logs nothing; the first change is entry 0, by the actor of the block."""
    tracked: TrackedDict[str, str] = TrackedDict()
    with tracking_actor("provisioner"):
        tracked["status"] = "ready"
    assert tracked.tracking_changes()[0].actor == "provisioner"
    assert tracked.tracking_changes()[0].extra["location"] == "status"
    assert len(tracked.tracking_changes()) == 1


def test_an_entry_says_what_where_when_and_who(clock: ManualClock) -> None:
    """An entry has ids, the time in UTC, action, location, path, old and new value and actor, and no more."""
    tracked: TrackedDict[str, Any] = TrackedDict({"a": Decimal("1.50")}, tracking_clock=clock, tracking_name="cart")
    tracked["a"] = Decimal("2.50")
    entry = tracked.last_change()
    assert entry is not None
    assert len(entry.id) == 32
    assert entry.container_id == tracked.tracking_id
    assert entry.container == "cart"
    assert entry.time == datetime.fromtimestamp(clock.time(), UTC)
    assert entry.time.tzinfo is UTC
    assert (entry.action, entry.location, entry.path) == ("update", "a", ("a",))
    assert (entry.old, entry.new) == (Decimal("1.50"), Decimal("2.50"))
    assert (entry.actor, entry.snapshot, entry.stack) == ("", None, [])
    assert (entry.uuid, entry.tracked_item_uuid, entry.created_time) == (entry.id, entry.container_id, entry.time)
    assert (entry.old_value, entry.new_value, entry.extra["value"]) == (entry.old, entry.new, entry.new)
    assert entry == tracked.last_change()
    assert hash(entry) == hash(tracked.last_change())
    with pytest.raises(AttributeError):
        entry.action = "other"  # type: ignore[misc]


def test_every_entry_has_a_location_in_its_extra() -> None:
    """``entry.extra["location"]`` is there for every entry; None where the change is about all of a container."""
    tracked: TrackedList[Any] = TrackedList([3, 1])
    tracked.append(2)
    tracked.sort()
    tracked.extend([4, 5])
    del tracked[0]
    tracked.clear()
    with tracked.batch():
        tracked.append(1)
        tracked.append(2)
    tracked.undo()
    assert [entry.extra["location"] for entry in tracked.tracking_changes()] == [
        2, None, range(3, 5), 0, None, None, None,
    ]  # fmt: skip


def test_actions_are_named_after_what_happened() -> None:
    """Adding, updating and removing are told apart, on every type; what changes nothing is no entry."""
    mapping: TrackedDict[str, Any] = TrackedDict()
    mapping["a"] = 1
    mapping["a"] = 2
    mapping.setdefault("a", 9)
    mapping.pop("none", None)
    mapping.update({})
    mapping.update({"a": 3, "b": 4})
    del mapping["a"]
    mapping.clear()
    mapping.clear()
    assert said(mapping) == [
        ("add", "a", None, 1),
        ("update", "a", 1, 2),
        ("update", None, {"a": 2}, {"a": 3, "b": 4}),
        ("remove", "a", 3, None),
        ("clear", None, {"b": 4}, {}),
    ]
    items = TrackedList([2, 1])
    items.sort()
    items.sort()
    items.insert(0, 7)
    items.pop(-1)
    items.remove(7)
    items[0] = 5
    items *= 2
    items.extend(())
    items[0:1] = []
    assert said(items) == [
        ("sort", None, [2, 1], [1, 2]),
        ("add", 0, None, 7),
        ("remove", 2, 2, None),
        ("remove", 0, 7, None),
        ("update", 0, 1, 5),
        ("add", range(1, 2), [], [5]),
        ("remove", range(1), [5], []),
    ]
    tags = TrackedSet({"a"})
    tags.add("a")
    tags.discard("none")
    tags.add("b")
    tags |= {"b", "c"}
    tags.remove("a")
    tags &= {"c"}
    tags |= {"d": 1}.keys()
    assert said(tags) == [
        ("add", "b", None, "b"),
        ("add", None, set(), {"c"}),
        ("remove", "a", "a", None),
        ("update", None, {"b"}, set()),
        ("add", None, set(), {"d"}),
    ]


def test_values_in_the_log_are_as_they_were() -> None:
    """What happens to a value after it was logged, and to what the log hands out, does not reach the log."""
    tracked: TrackedDict[str, Any] = TrackedDict()
    value = {"deep": [1]}
    tracked["a"] = value
    value["deep"].append(2)
    entry = tracked.last_change()
    assert entry is not None
    assert entry.new == {"deep": [1]}
    entry.new["deep"].append(3)
    assert entry.new == {"deep": [1]}
    assert tracked["a"] is value


def test_the_log_forgets_the_oldest_and_counts_them() -> None:
    """A log holds ``history`` entries, 10,000 unless told otherwise; what it had to drop is counted."""
    tracked: TrackedDict[int, int] = TrackedDict(history=3)
    for n in range(5):
        tracked[n] = n
    assert [entry.location for entry in tracked.tracking_changes()] == [2, 3, 4]
    assert tracked.tracking_dropped == 2
    assert TrackedDict(history=0).tracking_changes() == []
    many: TrackedList[int] = TrackedList()
    for n in range(10_001):
        many.append(n)
    assert (len(many.tracking_changes()), many.tracking_dropped) == (10_000, 1)
    for wrong in (-1, 1.5, True, "many"):
        with pytest.raises(InvalidDefinition, match="history must be a whole number"):
            TrackedDict(history=wrong)  # type: ignore[arg-type]


async def test_recent_changes_and_changes_since(clock: ManualClock) -> None:
    """The latest n, and all since an entry or a moment, that one included, can be asked for."""
    tracked: TrackedDict[str, int] = TrackedDict(tracking_clock=clock)
    entries: list[ChangeLogEntry] = []
    for name in "abc":
        tracked[name] = 1
        entries.append(tracked.tracking_changes()[-1])
        await clock.advance(10)
    assert tracked.tracking_changes(most_recent=2) == entries[1:]
    assert tracked.tracking_changes(most_recent=0) == []
    assert tracked.changes_since(entries[1]) == entries[1:]
    assert tracked.changes_since(entries[1].time) == entries[1:]
    assert tracked.changes_since(entries[1].time + timedelta(microseconds=1)) == entries[2:]
    assert tracked.changes_since(None) == entries
    with pytest.raises(ValueError, match="time zone"):
        tracked.changes_since(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="since must be"):
        tracked.changes_since("yesterday")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="most_recent"):
        tracked.tracking_changes(-1)
    assert TrackedDict().last_change() is None


def test_snapshots_and_stacks_are_captured_each_by_itself() -> None:
    """Each is off until asked for, on its own, at the start or later; a stack names the caller's line."""
    for snapshots in (False, True):
        for stacks in (False, True):
            tracked: TrackedDict[str, Any] = TrackedDict(
                {"a": 1}, tracking_capture_snapshots=snapshots, tracking_capture_stack=stacks
            )
            tracked["b"] = [2]
            entry = tracked.tracking_changes()[-1]
            assert (entry.snapshot, entry.snapshot_before) == (
                ({"a": 1, "b": [2]}, {"a": 1}) if snapshots else (None, None)
            )
            assert bool(entry.stack) is stacks
            if stacks:
                assert "in test_snapshots_and_stacks_are_captured_each_by_itself" in entry.stack[0]
    late = TrackedList([1])
    late.append(2)
    late.tracking_capture_snapshots = True
    late.tracking_capture_stack = True
    late.append(3)
    late.tracking_capture_snapshots = False
    late.append(4)
    assert [entry.snapshot for entry in late.tracking_changes()] == [None, [1, 2, 3], None]
    assert [bool(entry.stack) for entry in late.tracking_changes()] == [False, True, True]


def test_an_entry_is_a_line_of_text_and_of_json() -> None:
    """Text names container, place, values and actor; JSON carries types that it lacks as tags."""
    tracked: TrackedDict[str, Any] = TrackedDict(tracking_name="cart", tracking_capture_snapshots=True)
    with tracking_actor("ada"):
        tracked["total"] = Decimal("9.50")
    entry = tracked.tracking_changes()[0]
    assert str(entry).endswith("cart['total'] add: Decimal('9.50') by ada")
    content = json.loads(entry.to_json())
    assert content["new"] == {"$decimal": "9.50"}
    assert content["snapshot"] == {"total": {"$decimal": "9.50"}}
    assert (content["action"], content["path"], content["actor"]) == ("add", ["total"], "ada")
    assert "old" not in content
    tracked["odd"] = {1: float("nan"), "x": {2, 1}, "f": test_an_entry_is_a_line_of_text_and_of_json, "n": 2**70}
    odd = json.loads(tracked.tracking_changes()[-1].to_json())["new"]["$dict"]
    assert odd[0] == [1, {"$repr": "nan"}]
    assert odd[1] == ["x", {"$set": [1, 2]}]
    assert odd[3] == ["n", 2**70]


def test_named_fields_are_never_shown() -> None:
    """Redacted fields are hidden in entries, snapshots, texts, JSON and patches, at any depth, also a child's."""
    tracked: TrackedDict[str, Any] = TrackedDict(
        {"user": {"password": "s3cret"}},
        tracking_auto_convert=True,
        tracking_capture_snapshots=True,
        tracking_redact=["password", "card"],
    )
    child = tracked["user"]
    child["password"] = "s3cret2"
    tracked["card"] = {"number": "s3cret3"}
    tracked["list"] = [{"password": "s3cret4"}]
    tracked.update(user={"password": "s3cret5"})
    adopted = TrackedDict()
    tracked["late"] = adopted
    adopted["password"] = "s3cret6"
    with tracked.batch():
        tracked["card"] = "s3cret7"
    for container in (tracked, child, adopted):
        for entry in container.tracking_changes():
            assert "s3cret" not in f"{entry} {entry!r} {entry.to_json()} {entry.extra} {entry.snapshot} {entry.changes}"
        assert "s3cret" not in json.dumps(container.diff())
    assert child.tracking_changes()[0].new == "***"
    tracked.undo()
    assert tracked["card"] == {"number": "s3cret3"}


def test_an_actor_belongs_to_its_task_and_its_thread() -> None:
    """Tasks and threads that work at the same time have their own actors; blocks nest, also where they raise."""
    tracked: TrackedDict[str, str] = TrackedDict()

    async def work(name: str) -> None:
        with tracking_actor(name):
            for n in range(5):
                await asyncio.sleep(0)
                tracked[f"{name} {n}"] = name

    async def all_at_once() -> None:
        with tracking_actor("outer"):
            await asyncio.gather(*(work(f"task {n}") for n in range(5)))
            tracked["outer"] = "outer"

    def in_a_thread(name: str) -> None:
        asyncio.run(work(name))

    asyncio.run(all_at_once())
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(in_a_thread, [f"thread {n}" for n in range(5)]))
    with pytest.raises(KeyError), tracking_actor("inner"):
        raise KeyError
    tracked["after"] = ""
    assert len(tracked.tracking_changes()) == 52
    assert all(entry.actor == entry.new for entry in tracked.tracking_changes())
    with pytest.raises(TypeError, match="must be text"), tracking_actor(3):  # type: ignore[arg-type]
        pass


def test_threads_leave_a_log_that_agrees_with_the_contents() -> None:
    """However many threads write at once, replaying the log backwards from what is there leads to what was."""
    tracked: TrackedDict[str, Any] = TrackedDict({"list": [], "n": 0}, tracking_auto_convert=True, history=100_000)
    ready = threading.Barrier(4)

    def work(seed: int) -> None:
        ready.wait()
        for n in range(500):
            tracked["n"] = (seed, n)
            tracked["list"].append(n)
            if n % 3 == 0:
                tracked["list"].pop(0)
            tracked[f"{seed}"] = {"n": n}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    entries = tracked.tracking_changes()
    assert len(entries) == 4 * (500 * 3 + 167)
    state: Any = {"list": [], "n": 0}
    for entry in entries:
        *way, last = entry.path
        target = state
        for key in way:
            target = target[key]
        if entry.action == "remove":
            assert target.pop(last) == entry.old
        elif isinstance(target, list):
            assert last == len(target)
            target.append(entry.new)
        else:
            assert target.get(last) == entry.old
            target[last] = entry.new
    assert state == tracked


def test_observers_are_called_outside_the_lock() -> None:
    """An observer may wait for another thread that changes containers, also this one."""
    tracked: TrackedDict[str, int] = TrackedDict()
    started = threading.Event()

    def wait_for_another(entry: ChangeLogEntry) -> None:
        if not started.is_set():
            started.set()
            other = threading.Thread(target=tracked.__setitem__, args=("b", 2))
            other.start()
            other.join(10)
            assert tracked["b"] == 2

    tracked.tracking_add_observer(wait_for_another)
    tracked["a"] = 1
    assert tracked.tracking_observer_failures == 0
    assert tracked == {"a": 1, "b": 2}


FORKED = """if True:
    import os
    from milepost.changes import TrackedDict
    tracked = TrackedDict()
    tracked["before"] = 1
    reading, writing = os.pipe()
    child = os.fork()
    tracked["after"] = 1
    if not child:
        os.write(writing, tracked.last_change().id.encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100).decode()
    print(len(theirs), theirs != tracked.last_change().id)
"""


def test_a_forked_process_has_ids_of_its_own() -> None:
    """After a fork both processes go on with entry ids that the other does not have."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("32 True\n", "")


class Job(TrackedAttributes):
    """What can be pickled has a name that can be imported."""


def test_objects_entries_and_locks_when_copied() -> None:
    """A copied or pickled object has its attributes and a log of its own; copies are not locked; an entry is itself."""
    job = Job(state="new", steps=[1], tracking_auto_convert=True, history=3)
    job.state = "done"
    job.lock()
    for twin in (copy.copy(job), copy.deepcopy(job), pickle.loads(pickle.dumps(job)), job.copy(untracked=False)):  # noqa: S301
        assert type(twin) is Job
        assert (twin.state, twin.steps, twin.tracking_changes()) == ("done", [1], [])
        twin.state = "again"
        assert twin.tracking_changes()[0].type == "Job"
    assert job.state == "done"
    entry = job.tracking_changes()[0]
    assert copy.deepcopy([entry])[0] is entry
    assert json.loads(json.dumps(TrackedDict({"a": [TrackedDict(b=1)]}, tracking_auto_convert=True))) == {
        "a": [{"b": 1}]
    }


def test_an_object_reports_like_any_container() -> None:
    """A tracked object in a dict, and a dict in an object, report with the attribute's name in the path."""
    root: TrackedDict[str, Any] = TrackedDict(tracking_auto_convert=True)
    root["job"] = TrackedAttributes(state="new", tracking_auto_convert=True, tracking_name="job 1")
    root["job"].steps = [{"name": "first"}]
    root["job"].steps[0]["done"] = True
    assert root.tracking_changes()[-1].path == ("job", "steps", 0, "done")
    assert root["job"].last_change().path == ("steps", 0, "done")
    root.undo()
    assert root["job"].steps == [{"name": "first"}]
    with pytest.raises(InterruptedError), root["job"].batch():
        root["job"].state = "broken"
        raise InterruptedError
    assert root["job"].state == "new"
    assert vars(root["job"].copy()) == {"state": "new", "steps": [{"name": "first"}]}
