"""Following a cache: its changes become edits of whatever revision the documents stand at."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from milepost._naming import spoken
from milepost.backends.mongodb.catalogue import Catalogue
from milepost.backends.mongodb.client import MongoConnection
from milepost.backends.mongodb.documents import Document, is_removed, revision_of
from milepost.backends.mongodb.edits import Edit
from milepost.backends.mongodb.epochs import Epochs
from milepost.backends.mongodb.layouts import Layouts
from milepost.backends.mongodb.writer import Answer, Made, NoRoom, Sending, Writer
from milepost.errors import RecordTooLarge, StoreUnavailable
from milepost.records import RecordChange

__all__ = ["Follower"]

_log = logging.getLogger("milepost")


class Follower:
    """Writes what a cache has changed, never an older revision over a newer one.

    Args:
        connection: to the database.
        epochs: the present epoch.
        catalogue: the definitions.
        layouts: at which revision documents were seen last.
        writer: makes the edits.
    """

    def __init__(
        self, connection: MongoConnection, epochs: Epochs, catalogue: Catalogue, layouts: Layouts, writer: Writer
    ) -> None:
        self._connection = connection
        self._epochs = epochs
        self._catalogue = catalogue
        self._layouts = layouts
        self._writer = writer
        self._epoch = 0

    async def follow(self, changes: Sequence[RecordChange]) -> None:
        """Write changes. May be called again with the same ones when it raised.

        Raises:
            StoreUnavailable: when everything was flushed meanwhile.
            RecordTooLarge: when a group has outgrown what a document can hold; the others are written.
        """
        epoch = self._epochs.known
        if epoch != self._epoch:  # what was seen of documents before a flush says nothing about those after it
            self._layouts.clear()
            self._epoch = epoch
        await self._catalogue.put({hash: text for c in changes for hash, text in c.definitions.items()}, epoch)
        await self._catalogue.learn_kinds({row.definition_hash for c in changes for row in c.puts.values()})
        too_large: list[str] = []
        waiting = list(changes)
        while waiting:
            wave = {change.key: change for change in reversed(waiting)}  # the first of each key
            waiting = [change for change in waiting if wave[change.key] is not change]
            too_large += await self._follow(wave, epoch)
        if await self._epochs.ask() != epoch:
            raise StoreUnavailable(
                f"MongoDB at {self._connection.name}: everything was flushed while changes of before were being written"
            )
        if too_large:
            raise RecordTooLarge(
                f"MongoDB at {self._connection.name} holds documents of up to 16 MB; "
                f"too large are the {', the '.join(map(spoken, too_large))}; the others are saved"
            )

    async def _follow(self, changes: dict[str, RecordChange], epoch: int) -> list[str]:
        """Write changes of different keys; return the keys for which there is no room."""
        too_large: list[str] = []
        left: dict[str, Edit] = {}
        for key, change in changes.items():
            known = self._layouts.latest(key)
            if known is None or known < change.revision:
                left[key] = Edit.of_change(change, known)
        while left:
            answers = await self._writer.make(list(left.values()), epoch, Sending())
            for key, answer in zip(list(left), answers, strict=True):
                again = await self._again(changes[key], answer, epoch)
                if isinstance(answer, NoRoom):
                    too_large.append(key)
                if again is None:
                    del left[key]
                else:
                    left[key] = again
        return too_large

    async def _again(self, change: RecordChange, answer: Answer, epoch: int) -> Edit | None:
        """Return what to try instead; None where there is nothing left to do."""
        if isinstance(answer, Made | NoRoom):
            return None
        document: Document | None = answer.document
        if document is not None and document["epoch"] > epoch:
            return None  # it was flushed meanwhile
        if document is not None and document["epoch"] < epoch:
            await self._connection.groups.delete_one({"_id": change.key, "epoch": document["epoch"]})
            document = None
        if document is None:
            return Edit.of_change(change, None)
        revision = revision_of(document)
        if not is_removed(document):
            return None if revision >= change.revision else Edit.of_change(change, revision)
        if revision >= change.revision:
            if revision.incarnation > change.revision.incarnation:
                _log.warning(
                    "the %s was removed at %s: a change of %s is ignored", spoken(change.key), revision, change.revision
                )
            return None
        return replace(Edit.of_change(change, revision), revives=True)
