"""The shape of a group's document, and the way from rows to it and back.

::

    {
        "_id": "user_001",                  the group
        "epoch": 1763721600000000,          everything of an earlier epoch was flushed
        "incarnation": 1763721600000000,    with counter: the revision
        "counter": 7,
        "serial": 2,                        the highest serial number given to a tracker
        "shrunk": 0,                        the counter at which trackers were last dropped
        "deadline": 1763725200.0,           when the next tracker expires, where one does
        "trackers": [
            {
                "name": "logins", "kind": "CountTracker", "definition": "PzEx…", "changed": 7,
                "progress": 12, "stage": 2, "limited": 0, "added_at": …, "updated_at": …, …
            }
        ],
        "seen": [Binary, …],                event ids that are remembered, the oldest first
        "commits": [Binary, …],             ids of the last commits, so that one sent again is known
        "outbox": [{"id": ObjectId, "stamp": …, "type": …, "time": …, "body": "{…}"}, …],
        "removed_at": datetime,             only in what is left of a group that was removed
    }

The row of a subject's property is kept as text: ``{"name": "p:age", "kind": None, "row": '{"v": 36}', "is": …}``,
with ``is``, name and text together, to look it up by where it is short.

``changed`` is the counter at which a tracker last changed, so a conflict need not return them
all. ``stage`` counts from 1. What is at its usual value (no expiry, no limiter state, …) is absent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from milepost.backends.mongodb.driver import ObjectId
from milepost.codec import dumps, loads
from milepost.lookups import LONGEST_TEXT
from milepost.records import LoadedRecord, OutboxEvent, RecordState, Revision
from milepost.trackers.rows import document_of, text_of

__all__ = [
    "Document",
    "event_document",
    "is_removed",
    "loaded_record",
    "names_in",
    "revision_of",
    "tracker_document",
    "tracker_text",
    "value_key",
]

Document = dict[str, Any]

_USUAL: Final[Document] = {
    "expires_at": None,
    "cycle": 0,
    "resets": 0,
    "limitings": 0,
    "completed_at": None,
    "removed": False,
    "limits": [],
    "state": {},
}


def tracker_document(name: str, text: str, kind: str | None, changed: int) -> Document:
    """Return the sub-document for a tracker.

    Args:
        name: the tracker's name.
        text: its row, as ``Row.encoded`` made it.
        kind: its class's kind, where that is known.
        changed: the counter of the record's revision at which it changed.
    """
    head: Document = {"name": name, "kind": kind, "changed": changed}
    try:
        fields = document_of(text)
        fields["stage"] += 1
    except (ValueError, TypeError):
        found_by = {"is": value_key(name, text)} if len(text) <= LONGEST_TEXT else {}
        return {**head, "row": text, **found_by}  # no tracker's row: kept as it is
    for field, usual in _USUAL.items():
        if fields[field] == usual:
            del fields[field]
        elif usual.__class__ in (list, dict):
            fields[field] = _storable(fields[field])
    return {**head, **fields}


def value_key(name: str, text: str) -> str:
    """Return what a row that is no tracker's is looked up by."""
    return f"{name} {text}"


def tracker_text(document: Document) -> str:
    """Return the row that a tracker's sub-document holds; one that cannot be read is returned as some other text."""
    row = document.get("row")
    if isinstance(row, str):
        return row
    try:
        fields = {**_USUAL, **document, "stage": document["stage"] - 1}
        fields["limits"], fields["state"] = _restored(fields["limits"]), _restored(fields["state"])
        return text_of(fields)
    except (KeyError, TypeError, ValueError, AttributeError):
        return json.dumps(document, default=str)


def _storable(value: Any) -> Any:
    """Return state as MongoDB can carry it: what has keys that are no field names becomes JSON text."""
    if isinstance(value, dict):
        if any(not key or key[0] == "$" or "." in key or "\0" in key for key in value) or value.keys() == {"json"}:
            return {"json": dumps(value)}
        return {key: _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"json"}:
            return loads(value["json"])
        return {key: _restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item) for item in value]
    return value


def event_document(event: OutboxEvent, stamp: int) -> Document:
    """Return an event as it waits in its group's document.

    Args:
        event: the event.
        stamp: gives the order among the events of several groups.
    """
    return {
        "id": ObjectId(),
        "stamp": stamp,
        "event": event.id,
        "type": event.type,
        "time": event.time,
        "body": event.encoded(),
    }


def revision_of(document: Document) -> Revision:
    """Return where a record stands."""
    return Revision(document["incarnation"], document["counter"])


def is_removed(document: Document) -> bool:
    """Whether a document is what is left of a record that was removed."""
    return "removed_at" in document


def names_in(trackers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of trackers, in the order of their sub-documents."""
    return [tracker["name"] for tracker in trackers]


def loaded_record(document: Document | None, since: Revision | None = None) -> LoadedRecord:
    """Return a record, or only the rows that changed since a revision where the document tells which these are.

    Args:
        document: the group's document, None where there is none.
        since: what whoever asks has.
    """
    if document is None or is_removed(document):
        return LoadedRecord(RecordState(None), {})
    revision = revision_of(document)
    part = (
        since is not None
        and since.incarnation == revision.incarnation
        and document["shrunk"] <= since.counter <= revision.counter
    )
    after = since.counter if part and since is not None else -1
    return LoadedRecord(
        RecordState(revision, document["serial"], document.get("deadline")),
        {item["name"]: tracker_text(item) for item in document["trackers"] if item["changed"] > after},
        tuple(map(bytes, document["seen"])),
        whole=not part,
    )
