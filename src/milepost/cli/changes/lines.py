"""The lines of a change log: which are wanted, and how one reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.text import Text

from milepost.cli.printing import printable
from milepost.codec import loads

__all__ = ["Wanted", "as_text", "parsed"]

_STYLES = {"add": "green", "remove": "red", "clear": "red", "undo": "magenta", "redo": "magenta", "batch": "cyan"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are wanted: those that match all that is given.

    Args:
        actions: one of these.
        actors: by one of these.
        containers: of a container with one of these names or ids.
        path: what the path begins with, as text.
        since: not older than this.
    """

    actions: Sequence[str] = ()
    actors: Sequence[str] = ()
    containers: Sequence[str] = ()
    path: str | None = None
    since: datetime | None = None

    def has(self, entry: dict[str, Any]) -> bool:
        """Whether an entry is wanted; a batch is when one of its changes is."""
        changes = entry.get("changes")
        if self.since is not None and datetime.fromisoformat(entry["time"]) < self.since:
            return False
        if self.actors and entry.get("actor") not in self.actors:
            return False
        if isinstance(changes, list) and not self._is_about(entry):
            return any(self._is_about(change) for change in changes)
        return self._is_about(entry)

    def _is_about(self, entry: dict[str, Any]) -> bool:
        if self.actions and entry.get("action") not in self.actions:
            return False
        if self.containers and not {entry.get("container"), entry.get("container_id")} & set(self.containers):
            return False
        if self.path is None:
            return True
        where = _where(entry)
        return where == self.path or where.startswith((f"{self.path}.", f"{self.path}["))


def parsed(line: bytes) -> dict[str, Any] | None:
    """Return what a line says; None where it is no entry of a change log."""
    try:
        entry = loads(line)
        if isinstance(entry, dict) and isinstance(entry["action"], str) and isinstance(entry["path"], list):
            return entry if datetime.fromisoformat(entry["time"]).tzinfo is not None else None
    except (KeyError, TypeError, ValueError):
        pass
    return None


def as_text(entry: dict[str, Any], *, details: bool = False) -> Text:
    """Return an entry for people: a line, and one for each change of a batch.

    Args:
        entry: the entry.
        details: show ids, snapshot and stack too.
    """
    moment = datetime.fromisoformat(entry["time"]).astimezone()
    text = Text(f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}", "dim")
    if entry.get("actor"):
        text.append(f" {printable(str(entry['actor']))}", "yellow")
    _append_change(text, entry)
    for change in entry.get("changes") or ():
        text.append("\n   ")
        _append_change(text, change)
    if details:
        text.append(f"\n    entry {entry.get('id')} of container {entry.get('container_id')}", "dim")
        if "snapshot" in entry:
            text.append(f"\n    then: {_value(entry['snapshot'])}")
        for frame in entry.get("stack") or ():
            text.append(f"\n    {printable(str(frame))}", "dim")
    return text


def _append_change(text: Text, entry: dict[str, Any]) -> None:
    text.append(f" {printable(str(entry.get('container', '')))}", "cyan")
    if where := _where(entry):
        text.append(f" {printable(where)}", "bold")
    action = str(entry["action"])
    text.append(f" {printable(action)}", _STYLES.get(action, "blue"))
    if "changes" in entry:
        text.append(f" of {len(entry['changes'])} changes")
    elif "old" in entry and "new" in entry:
        text.append(f" {_value(entry['old'])} → {_value(entry['new'])}")
    elif "old" in entry or "new" in entry:
        text.append(f" {_value(entry.get('new', entry.get('old')))}")


def _where(entry: dict[str, Any]) -> str:
    """Return a path as text: ``items[0].name``."""
    text = ""
    for key in entry["path"]:
        if isinstance(key, str) and key.isidentifier():
            text += f".{key}" if text else key
        elif isinstance(key, str) and key.replace(":", "").isdigit():
            text += f"[{key}]"
        else:
            text += f"[{json.dumps(key, ensure_ascii=False)}]"
    return text


def _value(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False))
