"""Wrong arguments raise at once, say what was wrong and what is allowed, and change nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from milepost import CountTracker, KeyExists, TrackingManager

Call = Callable[[TrackingManager], Awaitable[Any]]

WRONG: dict[str, tuple[Call, type[Exception], str]] = {
    "group of another type": (lambda m: m.track(3, {}), TypeError, "group_id must be a string, got 3"),
    "group unhashable": (lambda m: m.track([], {}), TypeError, r"group_id must be a string, got \[\]"),
    "group None": (lambda m: m.get_trackers(None), TypeError, "group_id must be a string, got None"),
    "group empty": (lambda m: m.track("", {}), ValueError, "group_id must not be empty"),
    "group no Unicode": (lambda m: m.track("\ud800", {}), ValueError, "group_id must be valid Unicode"),
    "data None": (lambda m: m.track("g", None), TypeError, "data must be a mapping, got NoneType"),
    "data list": (lambda m: m.track("g", [("a", 1)]), TypeError, "data must be a mapping, got list"),
    "data text": (lambda m: m.track("g", "a"), TypeError, "data must be a mapping, got str"),
    "explain data": (lambda m: m.explain("g", 3), TypeError, "data must be a mapping, got int"),
    "no tracker": (lambda m: m.add_tracker("g", "n"), TypeError, "must be an instance of BaseTracker, got 'n'"),
    "tracker class": (lambda m: m.add_tracker("g", CountTracker), TypeError, "must be an instance of BaseTracker"),
    "condition": (lambda m: m.add_tracker("g", KeyExists("k")), TypeError, "must be an instance of BaseTracker"),
    "if_exists": (
        lambda m: m.add_tracker("g", CountTracker("x", 1), if_exists="overwrite"),
        ValueError,
        'if_exists must be "error", "keep" or "replace", got \'overwrite\'',
    ),
    "name of another type": (lambda m: m.get_tracker("g", 3), TypeError, "name must be a string, got 3"),
    "names of another type": (
        lambda m: m.get_trackers("g", ["n", 3]),
        TypeError,
        "name must be a string or a list of strings, got 3",
    ),
    "names no list": (lambda m: m.get_trackers("g", 3), TypeError, "name must be a string or a list of strings"),
    "remove no name": (lambda m: m.remove_tracker("g", 3), TypeError, "name must be a string or a list of strings"),
    "reset no name": (lambda m: m.reset_tracker("g", None), TypeError, "name must be a string, got None"),
    "reset policy": (lambda m: m.reset_tracker("g", "n", 9), ValueError, "reset_policy must be a ResetPolicy or None"),
    "reset policy text": (
        lambda m: m.reset_tracker("g", "n", "all"),
        ValueError,
        "reset_policy must be a ResetPolicy or None, got 'all'",
    ),
    "reset policy bool": (lambda m: m.reset_tracker("g", "n", True), ValueError, "reset_policy must be a ResetPolicy"),
    "pattern": (lambda m: anext(aiter(m.groups(3))), TypeError, "pattern must be a string, got 3"),
    "items": (lambda m: m.track_many(3), TypeError, "items|iterable"),
    "is_cached": (lambda m: m.track("g", {}, event_id=3), TypeError, "event_id must be a string, got 3"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_argument_is_refused_and_changes_nothing(name: str, manager: TrackingManager) -> None:
    """Wrong types raise TypeError, wrong values ValueError, both in one line; the group stays as it was."""
    call, error, says = WRONG[name]
    await manager.add_tracker("g", CountTracker("n", 9))
    before = await manager.get_trackers("g")
    with pytest.raises(error, match=says) as caught:
        await call(manager)
    assert "\n" not in str(caught.value)
    assert await manager.get_trackers("g") == before


class ReadOnly(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return {"k": 1}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(["k"])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("data", [{"k": 1}, MappingProxyType({"k": 1}), ReadOnly()], ids=["dict", "proxy", "mapping"])
async def test_any_mapping_is_data(data: Mapping[str, Any], in_memory: TrackingManager) -> None:
    """Data may be any mapping, not only a dict."""
    await in_memory.add_tracker("g", CountTracker("n", 9, conditions=[KeyExists("k")]))
    assert (await in_memory.track("g", data)).dirtied
