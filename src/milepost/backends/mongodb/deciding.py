"""Deciding commits: what each edit's answer means for the commit that it came from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from milepost.backends.mongodb.catalogue import Catalogue
from milepost.backends.mongodb.client import MongoConnection
from milepost.backends.mongodb.documents import is_removed, loaded_record, revision_of
from milepost.backends.mongodb.edits import Edit
from milepost.backends.mongodb.epochs import Epochs
from milepost.backends.mongodb.writer import Answer, Made, NoRoom, Sending, Writer
from milepost.errors import StoreUnavailable
from milepost.records import (
    Commit,
    Committed,
    Conflict,
    Duplicate,
    LoadedRecord,
    NeedDefinitions,
    Outcome,
    RecordState,
    Revision,
    StaleEpoch,
    TooLarge,
)

__all__ = ["Decider"]

_COMMITTED: Final = Committed()
_ABSENT: Final = LoadedRecord(RecordState(None), {})
_TRIES: Final = 10


class Decider:
    """Decides commits by the guards of their updates.

    Args:
        connection: to the database.
        epochs: the present epoch.
        catalogue: the definitions.
        writer: makes the edits.
    """

    def __init__(self, connection: MongoConnection, epochs: Epochs, catalogue: Catalogue, writer: Writer) -> None:
        self._connection = connection
        self._epochs = epochs
        self._catalogue = catalogue
        self._writer = writer

    async def decide(self, commits: Sequence[Commit], sending: Sending) -> list[Outcome]:
        """Apply commits, each whole or not at all. May be called again with the same ones when it raised.

        Args:
            commits: for different keys.
            sending: is told what may have happened when this raises.
        """
        epoch = self._epochs.known
        if any(commit.epoch != epoch for commit in commits):
            epoch = await self._epochs.ask()
        outcomes: dict[str, Outcome] = {}
        present = [commit for commit in commits if commit.epoch == epoch]
        writes = [commit for commit in present if not commit.changes_nothing]
        questions = [commit for commit in present if commit.changes_nothing]
        if writes:
            only_read = await self._write(writes, epoch, outcomes, sending)
            if questions:
                await self._answer(questions, outcomes, epoch)
            epoch_after = await (self._epochs.confirm() if only_read else self._epochs.ask())
        else:
            epoch_after, _ = await asyncio.gather(self._epochs.ask(), self._answer(questions, outcomes, epoch))
        return [
            outcomes[commit.key] if commit.epoch == epoch == epoch_after else StaleEpoch(epoch_after)
            for commit in commits
        ]

    async def _answer(self, commits: Sequence[Commit], outcomes: dict[str, Outcome], epoch: int) -> None:
        """Say which of the bases stand; nothing is to be written."""
        keys = [commit.key for commit in commits]
        fields = {"epoch": 1, "incarnation": 1, "counter": 1, "removed_at": 1}
        standing = {
            item["_id"]: revision_of(item)
            for item in await self._writer.read(keys, projection=fields)
            if item["epoch"] == epoch and not is_removed(item)
        }
        passed = [commit for commit in commits if commit.base != standing.get(commit.key)]
        outcomes.update(dict.fromkeys(keys, _COMMITTED))
        if passed:
            found = {item["_id"]: item for item in await self._writer.read([commit.key for commit in passed])}
            for commit in passed:
                document = found.get(commit.key)
                if document is not None and document["epoch"] != epoch:
                    document = None
                outcomes[commit.key] = Conflict(loaded_record(document, commit.base))

    async def _write(
        self, commits: Sequence[Commit], epoch: int, outcomes: dict[str, Outcome], sending: Sending
    ) -> bool:
        """Apply commits; return whether an answer rests on nothing but what was read."""
        missing = await self._catalogue.missing({hash for commit in commits for hash in commit.definitions}, epoch)
        await self._catalogue.learn_kinds({row.definition_hash for commit in commits for row in commit.puts.values()})
        left: dict[str, tuple[Commit, Edit]] = {}
        for commit in commits:
            needed = missing.intersection(commit.definitions) if missing else missing
            if needed:
                outcomes[commit.key] = NeedDefinitions(needed)
            else:
                left[commit.key] = commit, Edit.of_commit(commit)
        only_read = False
        for _ in range(_TRIES):
            if not left:
                break
            answers = await self._writer.make([edit for _, edit in left.values()], epoch, sending)
            for (commit, _), answer in zip(list(left.values()), answers, strict=True):
                said = await self._judge(commit, answer, epoch)
                only_read |= isinstance(said, Duplicate) or (isinstance(answer, Made) and answer.before)
                if isinstance(said, Edit):
                    left[commit.key] = commit, said
                else:
                    outcomes[commit.key] = said
                    del left[commit.key]
        if left:
            raise StoreUnavailable(
                f"MongoDB at {self._connection.name} refused {_TRIES} times to change {', '.join(map(repr, left))} "
                f"although nobody else did"
            )
        return only_read

    async def _judge(self, commit: Commit, answer: Answer, epoch: int) -> Outcome | Edit:
        """Return the outcome of a commit, or what to try instead."""
        if isinstance(answer, Made):
            return _COMMITTED
        if isinstance(answer, NoRoom):
            return TooLarge(answer.reason)
        document = answer.document
        if document is not None and document["epoch"] != epoch:
            if document["epoch"] < epoch:  # written by somebody who had not heard of a flush; it counts for nothing
                await self._connection.groups.delete_one({"_id": commit.key, "epoch": document["epoch"]})
            document = None
        if document is None:
            return Edit.of_commit(commit) if commit.base is None else Conflict(_ABSENT)
        revision = revision_of(document)
        if is_removed(document):
            if commit.base is not None:
                return Conflict(_ABSENT)
            if revision.incarnation >= commit.incarnation:  # a clock is behind: let the next one be higher
                return Conflict(LoadedRecord(RecordState(Revision(revision.incarnation, 0)), {}))
            return replace(Edit.of_commit(commit), base=revision, revives=True)
        if revision == commit.base:
            known = frozenset(commit.seen).intersection(map(bytes, document["seen"]))
            return Duplicate(known) if known else Edit.of_commit(commit)
        return Conflict(loaded_record(document, commit.base))
