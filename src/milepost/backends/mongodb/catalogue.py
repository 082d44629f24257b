"""Definitions: which of them are stored, and the kinds of trackers that they define."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from milepost.backends.mongodb.client import MongoConnection, Update, find_all, update_all
from milepost.codec import loads

__all__ = ["Catalogue"]

_PAGE: Final = 500


class Catalogue:
    """The definitions' collection: ``{"_id": hash, "epoch", "kind", "name", "body"}``, the body as JSON text.

    Args:
        connection: to the database.
    """

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        self._epoch = 0
        self._stored: set[str] = set()
        self._kinds: dict[str, str | None] = {}

    def kind_of(self, hash: str) -> str | None:
        """Return the kind of the trackers that a definition defines, None where that is not known."""
        return self._kinds.get(hash)

    async def read(self, hashes: Sequence[str], **guard: int) -> dict[str, str]:
        """Return definitions by hash; unknown ones are absent."""
        found: dict[str, str] = {}
        for start in range(0, len(hashes), _PAGE):
            page = hashes[start : start + _PAGE]
            for item in await find_all(self._connection.definitions, {"_id": {"$in": page}, **guard}):
                found[item["_id"]] = item["body"]
                self._kinds[item["_id"]] = item["kind"]
        return found

    async def put(self, definitions: Mapping[str, str], epoch: int) -> None:
        """Store definitions; known ones keep their text."""
        if definitions.keys() <= self._in(epoch):
            return
        updates = []
        for hash, text in definitions.items():
            kind, name = _kind_and_name(text)
            first = {"kind": kind, "name": name, "body": text}
            updates.append(Update({"_id": hash}, {"$setOnInsert": first, "$max": {"epoch": epoch}}, True))
            self._kinds[hash] = kind
        await update_all(self._connection.definitions, updates)
        self._in(epoch).update(definitions)

    async def missing(self, hashes: Iterable[str], epoch: int) -> frozenset[str]:
        """Return which definitions are not stored; what was found is remembered for as long as the epoch lasts."""
        unknown = set(hashes) - self._in(epoch)
        if unknown:
            self._in(epoch).update(await self.read(list(unknown), epoch=epoch))
        return frozenset(unknown - self._in(epoch))

    def _in(self, epoch: int) -> set[str]:
        """Return what is known to be stored in an epoch; of another epoch nothing is."""
        if epoch != self._epoch:
            self._stored = set()
            self._epoch = epoch
        return self._stored

    async def learn_kinds(self, hashes: Iterable[str]) -> None:
        """Find out the kinds of definitions that this process has neither put nor read."""
        unknown = [hash for hash in hashes if hash not in self._kinds]
        if unknown:
            found = await find_all(self._connection.definitions, {"_id": {"$in": unknown}}, projection={"kind": 1})
            self._kinds |= {**dict.fromkeys(unknown), **{item["_id"]: item["kind"] for item in found}}


def _kind_and_name(text: str) -> tuple[str | None, str | None]:
    try:
        definition: Any = loads(text)
    except ValueError:
        return None, None
    if not isinstance(definition, dict):
        return None, None
    kind, name = definition.get("kind"), definition.get("name")
    return kind if isinstance(kind, str) else None, name if isinstance(name, str) else None
