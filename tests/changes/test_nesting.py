"""Containers in containers: who reports to whom, from where, until when; locks and batches over all of them."""

from __future__ import annotations

import gc
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest

from milepost.changes import ContainerLocked, TrackedAttributes, TrackedDict, TrackedList, TrackedSet


def paths(container: Any) -> list[tuple[Any, ...]]:
    """Return the paths of a log."""
    return [entry.path for entry in container.tracking_changes()]


def test_plain_children_are_converted_where_that_is_asked_for() -> None:
    """With ``tracking_auto_convert`` dicts, lists and sets become tracked ones at every depth, however they come in."""
    root: TrackedDict[str, Any] = TrackedDict({"a": [{"b": {1}}]}, tracking_auto_convert=True)
    assert [type(root["a"]), type(root["a"][0]), type(root["a"][0]["b"])] == [TrackedList, TrackedDict, TrackedSet]
    root.update(x={})
    root |= {"y": []}
    root["a"].extend([{}])
    root["a"][1:1] = [[]]
    root["a"] += [set()]
    assert isinstance(root.setdefault("z", {}), TrackedDict)
    assert [type(root["x"]), type(root["y"])] == [TrackedDict, TrackedList]
    assert [type(item) for item in root["a"]] == [TrackedDict, TrackedList, TrackedDict, TrackedSet]
    ordered = OrderedDict(a=1)
    root["o"] = ordered
    assert root["o"] is ordered, "a subclass would lose what it is"
    plain: TrackedDict[str, Any] = TrackedDict({"a": {}})
    assert type(plain["a"]) is dict


def test_children_report_to_every_ancestor_with_their_path() -> None:
    """A change is in the log of its container and of every container around it, each with the way from there."""
    root: TrackedDict[str, Any] = TrackedDict({"a": [{"b": {}}]}, tracking_auto_convert=True)
    heard: list[tuple[Any, ...]] = []
    root.tracking_add_observer(lambda entry: heard.append(entry.path))
    leaf = root["a"][0]["b"]
    leaf["c"] = 1
    assert paths(leaf) == [("c",)]
    assert paths(root["a"][0]) == [("b", "c")]
    assert paths(root["a"]) == [(0, "b", "c")]
    assert paths(root) == heard == [("a", 0, "b", "c")]
    assert root.last_change() == leaf.last_change()
    assert root.tracking_changes()[0].container_id == leaf.tracking_id


def test_indices_are_right_however_a_list_shifts() -> None:
    """Inserting, deleting, sorting and reversing move children; their paths follow."""
    items: TrackedList[Any] = TrackedList([{"n": 2}, {"n": 1}, {"n": 3}], tracking_auto_convert=True)
    child = items[1]

    def where() -> Any:
        child["touched"] = True
        return paths(items)[-1][0]

    assert where() == 1
    items.insert(0, None)
    assert where() == 2
    del items[:1]
    assert where() == 1
    items.sort(key=lambda item: item["n"])
    assert where() == 0
    items.reverse()
    assert where() == 2
    items[0:2] = []
    assert where() == 0
    items.extend([1, 2])
    items.insert(0, 0)
    assert where() == 1
    items *= 2
    assert where() == 1


def test_every_child_of_a_long_list_is_found_after_a_shift() -> None:
    """After an insertion at the front, a deletion and a reversal, all of a thousand children know their place."""
    items: TrackedList[Any] = TrackedList([{"n": n} for n in range(1000)], tracking_auto_convert=True)
    items.insert(0, {"n": -1})
    del items[500:510]
    items.reverse()
    for place, child in enumerate(items):
        child["touched"] = True
        assert paths(items)[-1] == (place, "touched")


REMOVALS: list[tuple[str, Callable[[Any], Any]]] = [
    ("replaced", lambda root: root.__setitem__("k", 1)),
    ("deleted", lambda root: root.__delitem__("k")),
    ("popped", lambda root: root.pop("k")),
    ("popped as an item", lambda root: root.popitem()),
    ("updated", lambda root: root.update(k=2)),
    ("cleared", lambda root: root.clear()),
    ("merged over", lambda root: root.__ior__({"k": 3})),
]


@pytest.mark.parametrize(("how", "remove"), REMOVALS, ids=[how for how, _ in REMOVALS])
def test_a_child_stops_to_report_when_it_is_gone(how: str, remove: Callable[[Any], Any]) -> None:
    """However a child leaves, from then on its changes are its own."""
    root: TrackedDict[str, Any] = TrackedDict({"k": {}}, tracking_auto_convert=True)
    child = root["k"]
    remove(root)
    before = len(root.tracking_changes())
    child["later"] = 1
    assert len(root.tracking_changes()) == before
    assert paths(child) == [("later",)]
    root["k"] = child
    child["again"] = 1
    assert paths(root)[-1] == ("k", "again")


LIST_REMOVALS: list[Callable[[Any], Any]] = [
    lambda items: items.pop(0),
    lambda items: items.remove({}),
    lambda items: items.clear(),
    lambda items: items.__setitem__(0, 1),
    lambda items: items.__setitem__(slice(0, 1), [1, 2]),
    lambda items: items.__setitem__(slice(None, None, 2), [1, 2]),
    lambda items: items.__delitem__(0),
    lambda items: items.__delitem__(slice(None, None, -1)),
    lambda items: items.__imul__(0),
    lambda items: items.__init__([]),
]


@pytest.mark.parametrize("remove", LIST_REMOVALS)
def test_an_item_stops_to_report_when_it_is_gone(remove: Callable[[Any], Any]) -> None:
    """The same of a list's items."""
    items: TrackedList[Any] = TrackedList([{}, 5, 6], tracking_auto_convert=True)
    child = items[0]
    remove(items)
    before = len(items.tracking_changes())
    child["later"] = 1
    assert len(items.tracking_changes()) == before


def test_a_child_in_two_places_reports_until_it_is_in_none() -> None:
    """What is held twice reports once a change, from a place where it is, also by way of two parents."""
    shared: TrackedList[int] = TrackedList()
    root: TrackedDict[str, Any] = TrackedDict({"a": shared, "b": shared}, tracking_capture_snapshots=True)
    other: TrackedDict[str, Any] = TrackedDict({"x": shared})
    shared.append(1)
    assert len(root.tracking_changes()) == len(other.tracking_changes()) == 1
    assert root.tracking_changes()[0].snapshot == {"a": [1], "b": [1]}
    del root["a"]
    shared.append(2)
    assert paths(root)[-1] == ("b", 1)
    del root["b"]
    shared.append(3)
    assert len(root.tracking_changes()) == 4
    assert len(other.tracking_changes()) == 3


def test_what_holds_itself_reports_once() -> None:
    """A container that is in itself does not report in circles, and its log can be read."""
    root: TrackedDict[str, Any] = TrackedDict()
    root["me"] = root
    root["n"] = 1
    assert paths(root) == [("me",), ("n",)]
    assert [entry.to_json() for entry in root.tracking_changes()]
    plain: dict[str, Any] = {}
    plain["me"] = plain
    converted: TrackedDict[str, Any] = TrackedDict(plain, tracking_auto_convert=True)
    converted["me"]["n"] = 1
    assert converted["me"]["me"] is converted["me"]
    thing = TrackedAttributes()
    thing.me = thing
    assert thing.tracking_changes()[-1].new["me"]["me"] is not None


def test_a_child_does_not_keep_its_parent_alive() -> None:
    """A parent that nobody holds goes, also where its child lives on."""
    root: TrackedDict[str, Any] = TrackedDict({"k": {}}, tracking_auto_convert=True)
    child, gone = root["k"], weakref.ref(root)
    del root
    gc.collect()
    assert gone() is None
    child["n"] = 1
    assert paths(child) == [("n",)]


DICT_CHANGES: list[Callable[[Any], Any]] = [
    lambda box: box.__setitem__("k", 1),
    lambda box: box.__delitem__("k"),
    lambda box: box.pop("k"),
    lambda box: box.pop("none", None),
    lambda box: box.popitem(),
    lambda box: box.setdefault("k", 1),
    lambda box: box.update({}),
    lambda box: box.update(k=1),
    lambda box: box.__ior__({"k": 1}),
    lambda box: box.clear(),
    lambda box: box.__init__(k=1),
    lambda box: box.undo(),
    lambda box: box.redo(),
    lambda box: box.batch().__enter__(),
]
LIST_CHANGES: list[Callable[[Any], Any]] = [
    lambda box: box.append(1),
    lambda box: box.extend([]),
    lambda box: box.insert(0, 1),
    lambda box: box.pop(),
    lambda box: box.remove(2),
    lambda box: box.clear(),
    lambda box: box.sort(),
    lambda box: box.reverse(),
    lambda box: box.__setitem__(0, 1),
    lambda box: box.__setitem__(slice(0), []),
    lambda box: box.__delitem__(0),
    lambda box: box.__delitem__(slice(0)),
    lambda box: box.__iadd__([1]),
    lambda box: box.__imul__(1),
    lambda box: box.__init__([1]),
    lambda box: box.undo(),
]
SET_CHANGES: list[Callable[[Any], Any]] = [
    lambda box: box.add(1),
    lambda box: box.discard(1),
    lambda box: box.remove(2),
    lambda box: box.pop(),
    lambda box: box.clear(),
    lambda box: box.update([]),
    lambda box: box.difference_update([]),
    lambda box: box.intersection_update([]),
    lambda box: box.symmetric_difference_update([]),
    lambda box: box.__ior__({1}),
    lambda box: box.__iand__({1}),
    lambda box: box.__isub__({1}),
    lambda box: box.__ixor__({1}),
    lambda box: box.__init__({1}),
]
OBJECT_CHANGES: list[Callable[[Any], Any]] = [
    lambda box: setattr(box, "k", 1),
    lambda box: delattr(box, "k"),
    lambda box: vars(box).update(k=1),
    lambda box: box.__dict__.pop("k"),
    lambda box: setattr(box, "__dict__", {}),
]


@pytest.mark.parametrize(
    ("make", "change"),
    [
        *((lambda: TrackedDict(k=0), change) for change in DICT_CHANGES),
        *((lambda: TrackedList([2]), change) for change in LIST_CHANGES),
        *((lambda: TrackedSet([2]), change) for change in SET_CHANGES),
        *((lambda: TrackedAttributes(k=0), change) for change in OBJECT_CHANGES),
    ],
)
def test_a_locked_container_refuses_every_way_to_change_it(
    make: Callable[[], Any], change: Callable[[Any], Any]
) -> None:
    """Locked, every mutating method and operator raises ``ContainerLocked`` and changes and logs nothing."""
    box = make()
    before = box.copy()
    box.lock()
    with pytest.raises(ContainerLocked, match=r"is locked .* unlock\(\)"):
        change(box)
    assert vars(box.copy()) == vars(before) if isinstance(box, TrackedAttributes) else box == before
    assert box.tracking_changes() == []
    box.unlock()
    change(box)


def test_a_lock_holds_for_all_that_is_inside() -> None:
    """Locking goes down to every child, also through objects, and unlocking too; a lock is a RuntimeError."""
    root: TrackedDict[str, Any] = TrackedDict(
        {"a": [{}], "s": {1}, "o": TrackedAttributes(k={})}, tracking_auto_convert=True
    )
    root.lock()
    for change in (
        lambda: root["a"].append(1),
        lambda: root["a"][0].update(k=1),
        lambda: root["s"].add(2),
        lambda: setattr(root["o"], "k", 1),
    ):
        with pytest.raises(RuntimeError):
            change()
    assert root["a"][0].tracking_locked
    assert root["a"] == [{}]
    assert TrackedDict(root.copy())["a"] == [{}]
    root.unlock()
    root["a"][0]["k"] = 1
    assert root.tracking_changes()[-1].path == ("a", 0, "k")


def test_a_batch_is_one_entry_with_its_changes() -> None:
    """What happens in a batch is one entry in every log that it concerns, told to observers once, undone as one."""
    root: TrackedDict[str, Any] = TrackedDict({"a": {}}, tracking_auto_convert=True)
    heard: list[Any] = []
    root.tracking_add_observer(heard.append)
    outer: TrackedDict[str, Any] = TrackedDict({"root": root})
    with root.batch():
        root["a"]["x"] = 1
        root["b"] = 2
        assert heard == []
    (entry,) = root.tracking_changes()
    assert heard == [entry]
    assert entry.action == "batch"
    assert [change.path for change in entry.changes] == [("a", "x"), ("b",)]
    assert [[change.path for change in each.changes] for each in outer.tracking_changes()] == [
        [("root", "a", "x"), ("root", "b")]
    ]
    assert [each.action for each in root["a"].tracking_changes()] == ["batch"]
    with root.batch():
        pass
    assert len(root.tracking_changes()) == 1
    root.undo()
    assert root == {"a": {}}
    root.redo()
    assert root == {"a": {"x": 1}, "b": 2}


def test_batches_nest() -> None:
    """An inner batch that fails takes back its own changes; the outer one goes on and is one entry."""
    root: TrackedList[int] = TrackedList()
    with root.batch():
        root.append(1)
        with pytest.raises(InterruptedError), root.batch():
            root.append(2)
            raise InterruptedError
        with root.batch():
            root.append(3)
    assert root == [1, 3]
    assert len(root.tracking_changes()) == 1
    assert len(root.tracking_changes()[0].changes) == 2


def test_a_new_change_ends_what_can_be_redone() -> None:
    """After an undo, a change of something else makes the undone one history."""
    root: TrackedDict[str, int] = TrackedDict()
    root["a"] = 1
    root["a"] = 2
    assert root.undo() is not None
    assert root == {"a": 1}
    root["b"] = 1
    assert root.redo() is None
    root.undo()
    root.undo()
    assert (root, root.undo()) == ({}, None)
    assert [entry.action for entry in root.tracking_changes()] == ["add", "update", "undo", "add", "undo", "undo"]


def test_a_removed_child_comes_back_with_undo_as_it_was_then() -> None:
    """Undo puts the same child back where it is as it was, else one like it; it reports again either way."""
    root: TrackedDict[str, Any] = TrackedDict({"k": {"n": 1}}, tracking_auto_convert=True)
    child = root.pop("k")
    root.undo()
    assert root["k"] is child
    del root["k"]
    child["n"] = 2
    root.undo()
    assert root == {"k": {"n": 1}}
    assert child == {"n": 2}
    root["k"]["n"] = 3
    assert paths(root)[-1] == ("k", "n")
