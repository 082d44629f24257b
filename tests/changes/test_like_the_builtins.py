"""Tracked containers do what the built-in ones do, and their logs can take it all back."""

from __future__ import annotations

import copy
import json
import pickle  # noqa: TID251  the promise is about it
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost.changes import ChangeLogEntry, TrackedAttributes, TrackedDict, TrackedList, TrackedSet
from milepost.changes.values import document, freeze
from tests.changes.histories import (
    KEYS,
    VALUES,
    Operation,
    dict_operations,
    list_operations,
    object_operations,
    outcome,
    set_operations,
)

KINDS = [
    pytest.param(dict, TrackedDict, st.dictionaries(KEYS, VALUES, max_size=3), dict_operations, id="dict"),
    pytest.param(list, TrackedList, st.lists(VALUES, max_size=4), list_operations, id="list"),
    pytest.param(set, TrackedSet, st.sets(st.integers(0, 6)), set_operations, id="set"),
]


def in_order(container: Any) -> Any:
    """Return contents with their order, where they have one."""
    return list(container.items()) if isinstance(container, dict) else container


@pytest.mark.parametrize("converts", [False, True], ids=["as given", "converting"])
@pytest.mark.parametrize(("builtin", "tracked", "contents", "operations"), KINDS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_every_operation_does_what_it_does_to_a_builtin(
    data: st.DataObject, builtin: Any, tracked: Any, contents: Any, operations: Any, converts: bool
) -> None:
    """Whatever is done, result, exception type, contents, order, JSON and repr are those of the built-in type."""
    start = data.draw(contents)
    plain = builtin(copy.deepcopy(start))
    ours = tracked(copy.deepcopy(start), tracking_auto_convert=converts)
    for operation in data.draw(st.lists(operations, max_size=12)):
        expected, got = outcome(operation, plain), outcome(operation, ours)
        if operation.name == "pop" and builtin is set:  # some item: it is another one
            plain = set(ours)
        assert got == expected, operation
        assert in_order(ours) == in_order(plain)
        assert ours == plain
        assert plain == ours
        assert len(ours) == len(plain)
        if builtin is not set:  # the order of a set's items is nobody's promise
            assert repr(freeze(ours)) == repr(plain)


@pytest.mark.parametrize("converts", [False, True], ids=["as given", "converting"])
@pytest.mark.parametrize(("builtin", "tracked", "contents", "operations"), KINDS)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_the_log_takes_everything_back_and_does_it_again(
    data: st.DataObject, builtin: Any, tracked: Any, contents: Any, operations: Any, converts: bool
) -> None:
    """Snapshots are what was there, a diff is what happened, and undo and redo lead to every state on the way."""
    start = data.draw(contents)
    ours = tracked(copy.deepcopy(start), tracking_auto_convert=converts, tracking_capture_snapshots=True)
    states = [freeze(ours)]
    entries: list[ChangeLogEntry] = []
    for operation in data.draw(st.lists(operations, max_size=12)):
        outcome(operation, ours)
        assert len(ours.tracking_changes()) - len(entries) in (0, 1)
        if len(ours.tracking_changes()) > len(entries):
            states.append(freeze(ours))
            entries = ours.tracking_changes()
        else:
            assert freeze(ours) == states[-1], "a change that was not logged"
    for n, entry in enumerate(entries):
        assert (entry.snapshot_before, entry.snapshot) == (states[n], states[n + 1])
        json.dumps(entry.to_dict())
        patch = jsonpatch.JsonPatch(ours.diff(entry))
        assert patch.apply(document(states[n])) == document(states[-1])
    for n in reversed(range(len(entries))):
        assert ours.undo() == entries[n]
        assert freeze(ours) == states[n]
    assert ours.undo() is None
    for n in range(len(entries)):
        assert ours.redo() == entries[n]
        assert freeze(ours) == states[n + 1]
    assert ours.redo() is None


class _Plain:
    limit = 10

    @property
    def doubled(self) -> int:
        return len(vars(self))

    @doubled.setter
    def doubled(self, value: int) -> None:
        self.a = value * 2


class _Ours(TrackedAttributes):
    limit = 10
    doubled = _Plain.doubled


@pytest.mark.parametrize("converts", [False, True], ids=["as given", "converting"])
@given(operations=st.lists(object_operations, max_size=12))
@settings(max_examples=150, deadline=None)
def test_every_operation_does_what_it_does_to_an_object(operations: list[Operation], converts: bool) -> None:
    """Whatever is done to an object, its attributes are those of a plain one; its log leads to every state."""
    plain, ours = _Plain(), _Ours(tracking_auto_convert=converts, tracking_capture_snapshots=True)
    states = [freeze(ours)]
    for operation in operations:
        expected, got = outcome(operation, plain), outcome(operation, ours)
        assert got == expected, operation
        assert list(vars(ours).items()) == list(vars(plain).items())
        if len(ours.tracking_changes()) == len(states):
            states.append(freeze(ours))
        assert freeze(ours) == states[-1]
    assert [entry.snapshot for entry in ours.tracking_changes()] == states[1:]
    for state in reversed(states[:-1]):
        ours.undo()
        assert freeze(ours) == state
    for state in states[1:]:
        ours.redo()
        assert freeze(ours) == state


class _Nested:
    """Draws operations on containers somewhere in a tree, in the plain one and the tracked one alike."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def step(self, plain: Any, tracked: Any) -> Operation:
        """Go down some way; do something there, to both."""
        while True:
            inner = [
                key
                for key, value in (plain.items() if isinstance(plain, dict) else enumerate(plain))
                if isinstance(value, dict | list | set)
            ] if isinstance(plain, dict | list) else []  # fmt: skip
            if not inner or self._data.draw(st.booleans()):
                break
            key = self._data.draw(st.sampled_from(inner))
            plain, tracked = plain[key], tracked[key]
        kind = (
            dict_operations
            if isinstance(plain, dict)
            else list_operations
            if isinstance(plain, list)
            else set_operations
        )
        operation = self._data.draw(
            kind.filter(lambda each: each.name not in ("pop", "set slice to itself", "extend itself"))
        )
        assert outcome(operation, tracked) == outcome(operation, plain), operation
        return operation


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_tree_reports_to_its_root_where_and_what_was_changed(data: st.DataObject) -> None:
    """Whatever is changed anywhere, the root's log has it with its path: undone from there, all is as it was."""
    start = data.draw(st.dictionaries(KEYS, VALUES, max_size=4))
    plain = copy.deepcopy(start)
    root: TrackedDict[Any, Any] = TrackedDict(
        copy.deepcopy(start), tracking_auto_convert=True, tracking_capture_snapshots=True
    )
    states = [freeze(root)]
    nested = _Nested(data)
    for _ in range(data.draw(st.integers(1, 10))):
        before = len(root.tracking_changes())
        nested.step(plain, root)
        assert root == plain
        if len(root.tracking_changes()) > before:
            states.append(freeze(root))
        else:
            assert freeze(root) == states[-1]
    entries = root.tracking_changes()
    assert [entry.snapshot for entry in entries] == states[1:]
    for n, entry in enumerate(entries):
        assert jsonpatch.JsonPatch(root.diff(entry)).apply(document(states[n])) == document(states[-1])
    for n in reversed(range(len(entries))):
        root.undo()
        assert freeze(root) == states[n]
    for state in states[1:]:
        root.redo()
        assert freeze(root) == state


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_batch_that_fails_leaves_all_as_it_was_even_the_order(data: st.DataObject) -> None:
    """All that happened in a failed batch is taken back: contents, order of keys, log, and who reports to whom."""
    start = data.draw(st.dictionaries(KEYS, VALUES, min_size=1, max_size=5))
    root: TrackedDict[Any, Any] = TrackedDict(copy.deepcopy(start), tracking_auto_convert=True)
    heard: list[ChangeLogEntry] = []
    root.tracking_add_observer(heard.append)
    plain = copy.deepcopy(start)
    nested = _Nested(data)
    with pytest.raises(InterruptedError), root.batch():
        for _ in range(data.draw(st.integers(1, 6))):
            nested.step(plain, root)
        raise InterruptedError
    assert repr(freeze(root)) == repr(start)
    assert (root.tracking_changes(), heard) == ([], [])
    reporting = 0
    for key, child in root.items():
        if isinstance(child, TrackedDict):
            child["touched"] = True
            reporting += 1
            assert root.tracking_changes()[-1].path == (key, "touched")
    assert len(heard) == len(root.tracking_changes()) == reporting


@given(contents=st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES), converts=st.booleans())
@settings(max_examples=60, deadline=None)
def test_copies_and_pickles_have_the_contents_and_a_log_of_their_own(contents: Any, converts: bool) -> None:
    """copy, deepcopy and pickle keep type, contents and settings; changes to them are nobody else's."""
    for ours in (
        TrackedDict(copy.deepcopy(contents), tracking_auto_convert=converts, history=7, tracking_name="it"),
        TrackedList(list(contents.values()), tracking_auto_convert=converts, history=7, tracking_name="it"),
        TrackedSet(contents, history=7, tracking_name="it"),
    ):
        before = freeze(ours)
        for twin in (
            copy.copy(ours),
            copy.deepcopy(ours),
            pickle.loads(pickle.dumps(ours)),  # noqa: S301
            ours.copy(untracked=False),
        ):
            assert type(twin) is type(ours)
            assert twin == ours
            assert (twin.tracking_changes(), twin.tracking_name, twin._tracking.history) == ([], "it", 7)
            twin.clear()
            assert freeze(ours) == before
        assert ours.tracking_changes() == []
        plain = ours.copy()
        assert type(plain) in (dict, list, set)
        assert plain == ours


def test_an_object_is_as_it_would_be_without_tracking() -> None:
    """Attributes, properties, slots, class attributes, methods, ``vars``, equality and hashing work as ever."""

    class Plain:
        limit = 10

        def __init__(self, name: str) -> None:
            self.name = name

        @property
        def loud(self) -> str:
            return self.name.upper()

        @loud.setter
        def loud(self, value: str) -> None:
            self.name = value.lower()

        def greet(self) -> str:
            return f"hello {self.name}"

    class Ours(TrackedAttributes):
        limit = 10
        __init__ = Plain.__init__
        loud = Plain.loud
        greet = Plain.greet

    def life(kind: Any) -> list[Any]:
        obj = kind("ada")
        obj.loud = "BEN"
        obj.limit = 3
        vars(obj)["extra"] = [1]
        obj.__dict__.update(more=2)
        found = [obj.greet(), obj.loud, obj.limit, kind.limit, dict(vars(obj)), hasattr(obj, "nothing")]
        del obj.limit
        found += [obj.limit, sorted(vars(obj)), obj == obj, obj == kind("ada"), len({obj, obj}), json.dumps(vars(obj))]
        for wrong in (lambda: obj.nothing, lambda: delattr(obj, "nothing"), lambda: delattr(obj, "loud")):
            with pytest.raises(AttributeError):
                wrong()
        obj.__dict__ = {"name": "cleo"}
        found += [dict(vars(obj)), vars(copy.copy(obj)), vars(copy.deepcopy(obj))]
        return found

    assert life(Ours) == life(Plain)
    ours = Ours("ada")
    ours.loud = "BEN"
    del ours.name
    assert [(entry.action, entry.location, entry.old, entry.new) for entry in ours.tracking_changes()] == [
        ("add", "name", None, "ada"),
        ("update", "name", "ada", "ben"),
        ("remove", "name", "ben", None),
    ]
