"""Keys are dotted paths."""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest

from milepost import AccumulationTracker, KeyExists, KeyValueEQ, TrackingManager

FOUND: list[tuple[str, dict[str, Any]]] = [
    ("a", {"a": 1}),
    ("a.b", {"a": {"b": 1}}),
    ("a.b.c", {"a": {"b": {"c": 1}}}),
    ("a.0", {"a": [1]}),
    ("a.1.b", {"a": [0, {"b": 1}]}),
    ("a.0", {"a": (1,)}),
    ("a.0", {"a": {"0": 1}}),
    (r"a\.b", {"a.b": 1}),
    (r"a\.b.c", {"a.b": {"c": 1}}),
    (r"a\\.b", {"a\\": {"b": 1}}),
    (r"a\\b", {"a\\b": 1}),
    ("", {"": 1}),
    ("a..b", {"a": {"": {"b": 1}}}),
    ("a.b", {"a": OrderedDict(b=1)}),
    ("a.b", {"a": MappingProxyType({"b": 1})}),
]

NOT_FOUND: list[tuple[str, dict[str, Any]]] = [
    ("a.b", {"a.b": 1}),
    (r"a\.b", {"a": {"b": 1}}),
    ("a.b", {"a": 1}),
    ("a.b", {"a": None}),
    ("a.b", {"a": "b"}),
    ("a.1", {"a": [1]}),
    ("a.-1", {"a": [1]}),
    ("a.0", {"a": "text"}),
    ("a.0", {"a": {0: 1}}),
    ("a.x", {"a": [1]}),
    ("a.99999999999999999999", {"a": [1]}),
    ("1", {1: 1}),
]


@pytest.mark.parametrize(("path", "data"), FOUND)
async def test_a_path_leads_through_mappings_and_lists(
    path: str, data: dict[str, Any], in_memory: TrackingManager
) -> None:
    """``a.0.b`` steps into mappings by key and into lists by index; a backslash makes a dot part of the key."""
    assert KeyValueEQ(path, 1).check(data)
    await in_memory.add_tracker(
        "g", AccumulationTracker("t", 10, key=path, conditions=[KeyExists(path), KeyValueEQ(path, 1)])
    )
    await in_memory.track("g", data)
    assert (await in_memory.get_trackers("g"))[0].progress == 1


@pytest.mark.parametrize(("path", "data"), NOT_FOUND)
async def test_a_path_that_leads_nowhere_is_a_missing_key(
    path: str, data: dict[str, Any], in_memory: TrackingManager
) -> None:
    """Where a segment is not there, or the value cannot be stepped into, the key is missing and nothing raises."""
    assert not KeyExists(path).check(data)
    await in_memory.add_tracker("g", AccumulationTracker("t", 10, key=path))
    result = await in_memory.track("g", data)
    assert (result.dirtied, result.rejected) == ([], ())
