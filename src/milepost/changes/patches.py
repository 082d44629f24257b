"""JSON Patch (RFC 6902): what turns one JSON document into another."""

from __future__ import annotations

from typing import Any

from milepost.codec import canonical

__all__ = ["json_patch", "pointer"]

Operation = dict[str, Any]


def pointer(path: tuple[str, ...]) -> str:
    """Return a path as a JSON Pointer (RFC 6901)."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def json_patch(before: Any, after: Any) -> list[Operation]:
    """Return the operations that turn one document into another.

    Objects are compared key by key. Of arrays, what they begin and end with in common stays, and the
    items between are compared in their order.
    """
    found: list[Operation] = []
    _compare(before, after, (), found)
    return found


def _compare(before: Any, after: Any, path: tuple[str, ...], found: list[Operation]) -> None:
    if isinstance(before, dict) and isinstance(after, dict):
        _compare_objects(before, after, path, found)
    elif isinstance(before, list) and isinstance(after, list):
        _compare_arrays(before, after, path, found)
    elif not _equal(before, after):
        found.append({"op": "replace", "path": pointer(path), "value": after})


def _compare_objects(
    before: dict[str, Any], after: dict[str, Any], path: tuple[str, ...], found: list[Operation]
) -> None:
    found.extend({"op": "remove", "path": pointer((*path, key))} for key in before if key not in after)
    for key, value in after.items():
        if key in before:
            _compare(before[key], value, (*path, key), found)
        else:
            found.append({"op": "add", "path": pointer((*path, key)), "value": value})


def _compare_arrays(before: list[Any], after: list[Any], path: tuple[str, ...], found: list[Operation]) -> None:
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and _equal(before[start], after[start]):
        start += 1
    end = 0
    while end < shorter - start and _equal(before[-1 - end], after[-1 - end]):
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    common = min(len(old), len(new))
    for n in range(common):
        _compare(old[n], new[n], (*path, str(start + n)), found)
    found.extend({"op": "remove", "path": pointer((*path, str(start + n)))} for n in reversed(range(common, len(old))))
    found.extend(
        {"op": "add", "path": pointer((*path, str(start + n))), "value": new[n]} for n in range(common, len(new))
    )


def _equal(before: Any, after: Any) -> bool:
    """Whether two documents are the same; 1, 1.0 and true are not."""
    return canonical(before) == canonical(after)
