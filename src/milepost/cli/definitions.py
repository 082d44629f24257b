"""Trackers written down in JSON files: for ``--declare`` and ``milepost add``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from milepost._kinds import load_definition
from milepost.cli.failing import BadInput
from milepost.codec import loads
from milepost.errors import InvalidDefinition, UnknownKindError
from milepost.trackers.base import BaseTracker

__all__ = ["EVERY_GROUP", "declared_in", "trackers_in"]

EVERY_GROUP: Final = "*"


def trackers_in(path: Path) -> list[BaseTracker]:
    """Return the trackers in a file that holds one definition, or a list of them.

    Raises:
        BadInput: when the file cannot be read, or holds something else.
    """
    return _trackers(path, _content(path))


def declared_in(path: Path) -> dict[str, list[BaseTracker]]:
    """Return the trackers in a file by group pattern.

    The file holds an object of patterns, ``{"user:*": [definition, ...]}``, or else what
    :func:`trackers_in` takes, which is then for every group.

    Raises:
        BadInput: when the file cannot be read, or holds something else.
    """
    content = _content(path)
    if not isinstance(content, dict) or "kind" in content:
        return {EVERY_GROUP: _trackers(path, content)}
    if not content:
        raise BadInput(f'{path} declares nothing; it must hold patterns, such as {{"user:*": [...]}}')
    if "" in content:
        raise BadInput(f"{path} declares trackers for an empty pattern, which no group matches; every group is '*'")
    return {pattern: _trackers(path, definitions) for pattern, definitions in content.items()}


def _content(path: Path) -> Any:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from None
    try:
        return loads(text.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from None


def _trackers(path: Path, content: Any) -> list[BaseTracker]:
    definitions: Sequence[Any] = content if isinstance(content, list) else [content]
    if not definitions:
        raise BadInput(f"{path} holds no tracker definition")
    return [_tracker(path, definition) for definition in definitions]


def _tracker(path: Path, definition: Any) -> BaseTracker:
    if not isinstance(definition, dict) or not isinstance(definition.get("kind"), str):
        raise BadInput(
            f"{path}: a tracker definition is an object with a kind, "
            f'such as {{"kind": "CountTracker", "name": "logins", "target": [10, 50]}}'
        )
    try:
        tracker = load_definition("tracker", definition)
    except UnknownKindError as error:
        raise BadInput(
            f"{path}: nothing is registered under the kind {error.kind!r}; --import names the module that defines it"
        ) from None
    except (InvalidDefinition, ValueError, TypeError, AttributeError, LookupError) as error:
        raise BadInput(f"{path}: {error}") from None
    if not isinstance(tracker, BaseTracker):
        raise BadInput(f"{path}: the kind {definition['kind']!r} is no tracker")
    return tracker
