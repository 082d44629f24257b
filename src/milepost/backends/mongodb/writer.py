"""Sends edits, many in one round trip, and finds out which of them were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from milepost.backends.mongodb.client import MongoConnection, Update, find_all
from milepost.backends.mongodb.documents import Document, is_removed, revision_of
from milepost.backends.mongodb.driver import BulkWriteError, DuplicateKeyError, UpdateOne, encode
from milepost.backends.mongodb.edits import Edit, Recorder, layout_after
from milepost.backends.mongodb.errors import DRIVER_ERRORS, DUPLICATE_KEY, TOO_LARGE, judge
from milepost.backends.mongodb.layouts import Layout, Layouts

__all__ = ["Answer", "Found", "Made", "NoRoom", "Sending", "Writer"]

_LIMIT: Final = 16 * 2**20
_FOR_MOVING: Final = 4 * 2**20
"""Kept free when somebody adds trackers: what is there grows when it moves, and events wait in the document."""
_FOR_EVENTS: Final = 2**18
"""Kept free when declared trackers get their row because they move."""


class Made(NamedTuple):
    """The edit was made."""

    before: bool = False
    """Whether it was found to be there already, from when it was sent first."""


class Found(NamedTuple):
    """The edit was not made; this is the document that was found instead, None where there was none."""

    document: Document | None


class NoRoom(NamedTuple):
    """The edit was not made: the document would be too large, in bytes."""

    size: int
    limit: int

    @property
    def reason(self) -> str:
        """What to tell who asked for it."""
        return f"its document would take {self.size:,} bytes, and {self.limit:,} are allowed for that"


Answer = Made | Found | NoRoom
_MADE: Final = Made()
_MADE_BEFORE: Final = Made(before=True)


class Sending:
    """Whether something of what was sent may be there although no reply said so."""

    def __init__(self) -> None:
        self.open = False


class _Prepared(NamedTuple):
    edit: Edit
    update: Update
    layout: Layout | None
    grown: int


class Writer:
    """Makes edits in the groups' collection.

    Args:
        connection: to the database.
        layouts: where trackers lie.
        recorder: makes updates of edits.
    """

    def __init__(self, connection: MongoConnection, layouts: Layouts, recorder: Recorder) -> None:
        self._connection = connection
        self._layouts = layouts
        self._recorder = recorder

    async def make(self, edits: Sequence[Edit], epoch: int, sending: Sending) -> list[Answer]:
        """Make each edit whose base stands, whole or not at all.

        Args:
            edits: for different documents.
            epoch: the epoch that they belong to.
            sending: is told what may have happened when this raises.
        """
        answers: dict[str, Answer] = {}
        batch: list[_Prepared] = []
        await self._learn_layouts(edits)
        for edit in edits:
            prepared = await self._prepare(edit, epoch)
            if isinstance(prepared, _Prepared):
                batch.append(prepared)
            elif prepared is not None:
                answers[edit.key] = prepared
        if batch:
            await self._send(batch, answers, sending)
        unmade = [edit for edit in edits if edit.key not in answers]
        if unmade:
            await self._look_at(unmade, answers)
        for edit, _, layout, grown in batch:
            if answers[edit.key] is _MADE:
                self._layouts.keep(edit.key, layout_after(edit, layout, grown))
        return [answers[edit.key] for edit in edits]

    # --- before --------------------------------------------------------------------------

    async def _learn_layouts(self, edits: Sequence[Edit]) -> None:
        """Find out where trackers lie in documents of which that is not known."""
        unknown = [
            edit.key
            for edit in edits
            if edit.needs_layout and edit.base is not None and self._layouts.find(edit.key, edit.base) is None
        ]
        if unknown:
            fields = {"incarnation": 1, "counter": 1, "trackers.name": 1, "removed_at": 1}
            for document in await self.read(unknown, projection=fields):
                self._layouts.learn(document, part=True)

    async def _prepare(self, edit: Edit, epoch: int) -> _Prepared | NoRoom | None:
        """Return what is to be sent for an edit; None where its base is known to stand no longer."""
        recorder, base, limit = self._recorder, edit.base, _limit(edit)
        trackers = recorder.trackers(edit)
        if base is None:
            grown = _size(trackers)
            return (
                NoRoom(grown, limit)
                if grown > limit
                else _Prepared(edit, recorder.begin(edit, epoch, trackers), None, grown)
            )
        layout = self._layouts.find(edit.key, base)
        if not edit.needs_layout:
            grown = _size(trackers)
            if grown > limit:
                return NoRoom(grown, limit)
            return _Prepared(edit, recorder.change(edit, base, epoch, trackers, layout), layout, grown)
        if layout is None:
            return None
        grown = _size(trackers) if edit.puts.keys() - layout.positions.keys() else 0
        crowded = bool(grown) and (layout.size is None or layout.size + grown > limit)
        others: list[Document] | None = None
        if edit.drops or crowded:
            document = await self._connection.groups.find_one({"_id": edit.key})
            if document is None or is_removed(document) or revision_of(document) != base:
                return None
            layout.size = len(encode(document))
            if grown and layout.size + grown > limit:
                return NoRoom(layout.size + grown, limit)
            others = document["trackers"] if edit.drops else None
        return _Prepared(edit, recorder.change(edit, base, epoch, trackers, layout, others), layout, grown)

    # --- sending -------------------------------------------------------------------------

    async def _send(self, batch: Sequence[_Prepared], answers: dict[str, Answer], sending: Sending) -> None:
        """Send updates; note the answers of those of which the reply tells."""
        before, sending.open = sending.open, True
        try:
            if len(batch) == 1:
                await self._send_one(batch[0], answers)
            else:
                await self._send_many(batch, answers)
        except DRIVER_ERRORS as error:
            sending.open = before or judge(error).open
            raise

    async def _send_one(self, prepared: _Prepared, answers: dict[str, Answer]) -> None:
        filter, update, upsert = prepared.update
        try:
            result = await self._connection.groups.update_one(filter, update, upsert=upsert)
        except DuplicateKeyError:
            return
        if result.upserted_id is not None if upsert else result.matched_count:
            answers[prepared.edit.key] = _MADE

    async def _send_many(self, batch: Sequence[_Prepared], answers: dict[str, Answer]) -> None:
        """Send updates in one command; where all were made, its counts tell that without another look."""
        updates = [UpdateOne(*prepared.update) for prepared in batch]
        try:
            result: Any = (await self._connection.groups.bulk_write(updates, ordered=False)).bulk_api_result
        except BulkWriteError as error:
            result = error.details
            if not _explained(result, batch, answers):
                raise
        made = {item["index"] for item in result["upserted"]}
        changes = [n for n, prepared in enumerate(batch) if not prepared.update.upsert]
        in_vain = len(batch) - len(changes) - len(made)  # documents that were to be begun match as they are
        if result["nMatched"] - in_vain == len(changes) and not result["writeErrors"]:
            made.update(changes)
        answers.update((batch[n].edit.key, _MADE) for n in made)

    # --- afterwards ----------------------------------------------------------------------

    async def _look_at(self, edits: Sequence[Edit], answers: dict[str, Answer]) -> None:
        """Read what is there: an edit whose id the document remembers was made, also when it was sent before."""
        if len(edits) > 1:
            short = await self.read([edit.key for edit in edits], projection={"commits": 1})
            commits = {item["_id"]: item["commits"] for item in short}
            answers.update((edit.key, _MADE_BEFORE) for edit in edits if edit.id in commits.get(edit.key, ()))
        unmade = [edit for edit in edits if edit.key not in answers]
        if not unmade:
            return
        documents = {item["_id"]: item for item in await self.read([edit.key for edit in unmade])}
        for edit in unmade:
            document = documents.get(edit.key)
            if document is not None and edit.id in document["commits"]:
                answers[edit.key] = _MADE_BEFORE
            else:
                answers[edit.key] = Found(document)
            if document is not None:
                self._layouts.learn(document)

    async def read(self, keys: Sequence[str], **options: Any) -> Sequence[Document]:
        """Return documents by their keys."""
        return await find_all(self._connection.groups, {"_id": {"$in": keys}}, batch_size=len(keys) + 1, **options)


def _size(trackers: Sequence[Document]) -> int:
    """Return how many bytes sub-documents take."""
    return sum(len(encode(tracker)) for tracker in trackers)


def _limit(edit: Edit) -> int:
    return _LIMIT - (_FOR_MOVING if edit.adds else _FOR_EVENTS)


def _explained(result: Document, batch: Sequence[_Prepared], answers: dict[str, Answer]) -> bool:
    """Note which updates were refused for a reason that concerns them alone; return whether there were no others."""
    if result["writeConcernErrors"]:
        return False
    for refused in result["writeErrors"]:
        if refused["code"] in TOO_LARGE:
            answers[batch[refused["index"]].edit.key] = NoRoom(_LIMIT, _LIMIT)
        elif refused["code"] != DUPLICATE_KEY:
            return False
    return True
