"""What is to become of a document, and the one guarded update that makes it so."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from milepost.backends.mongodb.client import Update
from milepost.backends.mongodb.documents import Document, event_document, tracker_document
from milepost.backends.mongodb.layouts import Layout
from milepost.records import Commit, OutboxEvent, RecordChange, Revision, Row

__all__ = ["Edit", "Recorder", "layout_after"]

_COMMITS_OF_A_RECORD: Final = 16


@dataclass(slots=True)
class Edit:
    """One change of one document, from a revision that must still stand.

    Args:
        key: the record's key.
        base: the revision that must stand; None where there must be no document.
        after: the revision that it makes.
        puts: rows to write.
        drops: names of rows to drop.
        whole: what is not in ``puts`` goes.
        removes: only a tombstone is left.
        serial: the highest serial number given to a row.
        deadline: the earliest moment at which a row expires.
        seen: event ids to remember.
        forgets: whether the ids remembered so far go.
        events: what to append to the outbox.
        id: by which it is known when it is sent again.
        adds: trackers are added by somebody, so that the size of the document is limited.
        revives: the document is a tombstone.
    """

    key: str
    base: Revision | None
    after: Revision
    puts: Mapping[str, Row]
    drops: Sequence[str]
    whole: bool
    removes: bool
    serial: int
    deadline: float | None
    seen: Sequence[bytes]
    forgets: bool
    events: Sequence[OutboxEvent]
    id: bytes
    adds: bool = False
    revives: bool = False

    @classmethod
    def of_commit(cls, commit: Commit) -> Edit:
        """Return what a commit makes of a document."""
        base = commit.base
        goes_on = base is not None and base.incarnation == commit.incarnation
        counter = base.counter + 1 if base is not None and (goes_on or commit.removes) else 1
        incarnation = base.incarnation if base is not None and commit.removes else commit.incarnation
        return cls(
            commit.key,
            base,
            Revision(incarnation, counter),
            commit.puts,
            commit.drops,
            False,
            commit.removes,
            commit.serial,
            commit.deadline,
            commit.seen,
            False,
            commit.events,
            commit.id or os.urandom(16),
            commit.reshapes,
        )

    @classmethod
    def of_change(cls, change: RecordChange, base: Revision | None) -> Edit:
        """Return what a cache's change makes of a document that stands at a revision."""
        another_life = base is not None and base.incarnation != change.revision.incarnation
        return cls(
            change.key,
            base,
            change.revision,
            change.puts,
            change.drops,
            change.whole or another_life,
            change.removed,
            change.serial,
            change.deadline,
            change.seen,
            True,
            change.events,
            os.urandom(16),
        )

    @property
    def needs_layout(self) -> bool:
        """Whether it writes trackers by their positions."""
        return bool(self.puts) and self.base is not None and not (self.whole or self.removes or self.revives)


class Recorder:
    """Makes updates of edits.

    Args:
        window: how many event ids a record remembers.
        keeps_events: whether there is an outbox.
        kind_of: returns the kind of the trackers of a definition, by its hash.
        stamp: returns a number for an event, higher than those before.
    """

    def __init__(
        self, window: int, keeps_events: bool, kind_of: Callable[[str], str | None], stamp: Callable[[], int]
    ) -> None:
        self._window = window
        self._keeps_events = keeps_events
        self._kind_of = kind_of
        self._stamp = stamp

    def trackers(self, edit: Edit) -> list[Document]:
        """Return the sub-documents of the rows that an edit puts."""
        kind_of, changed = self._kind_of, edit.after.counter
        return [
            tracker_document(name, row.encoded(), kind_of(row.definition_hash), changed)
            for name, row in edit.puts.items()
        ]

    def begin(self, edit: Edit, epoch: int, trackers: list[Document]) -> Update:
        """Return the update that makes a document where there is none, and does nothing where there is one."""
        document: Document = {
            "epoch": epoch,
            "incarnation": edit.after.incarnation,
            "counter": edit.after.counter,
            "serial": edit.serial,
            "shrunk": 0,
            "trackers": [] if edit.removes else trackers,
            "seen": [] if edit.removes else self._last(edit.seen),
            "commits": [edit.id],
            "outbox": self._events(edit),
        }
        if edit.removes:
            document["removed_at"] = datetime.now(UTC)
        elif edit.deadline is not None:
            document["deadline"] = edit.deadline
        return Update({"_id": edit.key}, {"$setOnInsert": document}, upsert=True)

    def change(
        self,
        edit: Edit,
        base: Revision,
        epoch: int,
        trackers: list[Document],
        layout: Layout | None,
        others: list[Document] | None = None,
    ) -> Update:
        """Return the update that changes a document which stands at a revision, and does nothing to any other.

        Args:
            edit: what is to become of it.
            base: the revision.
            epoch: the epoch that it must be of.
            trackers: the sub-documents of the rows that the edit puts.
            layout: where trackers lie; needed where rows are put into a document that keeps others.
            others: all the sub-documents that there are, where some are dropped and others put.
        """
        filter: Document = {
            "_id": edit.key,
            "epoch": epoch,
            "incarnation": base.incarnation,
            "counter": base.counter,
        }
        sets: Document = {"counter": edit.after.counter, "serial": edit.serial}
        unsets: Document = {}
        pushes: Document = {"commits": {"$each": [edit.id], "$slice": -_COMMITS_OF_A_RECORD}}
        update: Document = {"$set": sets, "$push": pushes}
        if edit.after.incarnation != base.incarnation:
            sets["incarnation"], sets["shrunk"] = edit.after.incarnation, 0
        if edit.drops or edit.whole:
            sets["shrunk"] = edit.after.counter
        if edit.removes:
            sets |= {"trackers": [], "seen": [], "removed_at": datetime.now(UTC)}
        else:
            self._remember(edit, filter, sets, pushes)
            if edit.revives:
                unsets["removed_at"] = ""
            if edit.drops and not trackers and not edit.whole:
                update["$pull"] = {"trackers": {"name": {"$in": list(edit.drops)}}}
            else:
                sets |= _placed(edit, trackers, layout, others)
        if edit.deadline is None or edit.removes:
            unsets["deadline"] = ""
        else:
            sets["deadline"] = edit.deadline
        if unsets:
            update["$unset"] = unsets
        if edit.events and self._keeps_events:
            pushes["outbox"] = {"$each": self._events(edit)}
        return Update(filter, update)

    def _remember(self, edit: Edit, filter: Document, sets: Document, pushes: Document) -> None:
        """Remember event ids; ids that are known already refuse the update."""
        if edit.forgets or edit.revives:
            sets["seen"] = self._last(edit.seen)
        elif edit.seen:
            filter["seen"] = {"$nin": list(edit.seen)}
            pushes["seen"] = {"$each": list(edit.seen), "$slice": -self._window}

    def _last(self, ids: Sequence[bytes]) -> list[bytes]:
        return list(ids[-self._window :]) if self._window else []

    def _events(self, edit: Edit) -> list[Document]:
        if not self._keeps_events:
            return []
        return [event_document(event, self._stamp()) for event in edit.events]


def _placed(edit: Edit, trackers: list[Document], layout: Layout | None, others: list[Document] | None) -> Document:
    """Return what is to be set so that trackers are where they lie, and new ones behind the last."""
    if edit.whole or edit.revives:
        return {"trackers": trackers}
    if others is not None:
        puts = {tracker["name"]: tracker for tracker in trackers}
        kept = [puts.pop(other["name"], other) for other in others if other["name"] not in edit.drops]
        return {"trackers": [*kept, *puts.values()]}
    sets: Document = {}
    positions = layout.positions if layout is not None else {}
    end = len(positions)
    for tracker in trackers:
        position = positions.get(tracker["name"])
        if position is None:
            position, end = end, end + 1
        sets[f"trackers.{position}"] = tracker
    return sets


def layout_after(edit: Edit, layout: Layout | None, grown: int) -> Layout | None:
    """Return the layout that a document has when an edit was made; None where that is not known.

    Args:
        edit: what was made.
        layout: where trackers lay before.
        grown: by how many bytes the document has grown at most.
    """
    if edit.removes:
        return None
    if edit.base is None or edit.whole or edit.revives:
        return Layout(edit.after, {name: n for n, name in enumerate(edit.puts)}, grown)
    if layout is None:
        return None
    if edit.drops:
        layout = layout.without(edit.drops, edit.after)
    positions = layout.positions
    for name in edit.puts:
        positions.setdefault(name, len(positions))
    if layout.size is not None:
        layout.size += grown
    layout.revision = edit.after
    return layout
