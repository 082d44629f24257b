"""Taking over what an authority says of a record: stored text becomes snapshots again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from milepost._naming import SUBJECTS
from milepost.errors import MilepostError, UndecodableError
from milepost.records import Authority, LoadedRecord, Record, Revision
from milepost.subjects.rows import decode_subject_row
from milepost.trackers.blueprint import Blueprint, blueprint_from_text, known_blueprint
from milepost.trackers.rows import decode_row, hash_in

__all__ = ["Adopter"]


class Adopter:
    """Brings replicas to what an authority says.

    Args:
        authority: has the definitions.
    """

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def adopt(self, record: Record, loaded: LoadedRecord) -> None:
        """Bring a replica to what the authority says."""
        blueprints = await self._blueprints(loaded.rows.values())
        if loaded.whole:
            record.rows = {}
            record.broken = None
            record.seen = None
        for name in loaded.drops:
            record.rows.pop(name, None)
            if record.broken:
                record.broken.pop(name, None)
        is_subject = record.key.startswith(SUBJECTS)
        for name, row in loaded.rows.items():
            if not isinstance(row, str):
                record.rows[name] = row
                continue
            try:
                record.rows[name] = (
                    decode_subject_row(record.key, name, row)
                    if is_subject
                    else decode_row(record.key, name, row, blueprints.__getitem__)
                )
                if record.broken:
                    record.broken.pop(name, None)
            except UndecodableError as error:
                record.rows.pop(name, None)
                record.broken = {**(record.broken or {}), name: error}
        revision = loaded.state.revision
        record.incarnation, record.counter = revision or Revision(record.incarnation, 0)
        record.serial = loaded.state.serial
        record.deadline = loaded.state.deadline
        if loaded.seen:
            record.seen = dict.fromkeys(loaded.seen)
        record.plan = record.quick = None

    async def _blueprints(self, rows: Iterable[Any]) -> _Blueprints:
        hashes = {hash for row in rows if isinstance(row, str) and (hash := hash_in(row)) is not None}
        found = _Blueprints()
        for hash in hashes:
            known = known_blueprint(hash)
            if known is not None:
                found[hash] = known
        missing = [hash for hash in hashes if hash not in found]
        if missing:
            for hash, text in (await self._authority.definitions(missing)).items():
                try:
                    found[hash] = blueprint_from_text(hash, text)
                except (MilepostError, ValueError) as error:
                    found[hash] = error
        return found


class _Blueprints(dict[str, "Blueprint | Exception"]):
    """Blueprints by hash; asking for one that could not be made raises why."""

    def __getitem__(self, hash: str) -> Any:
        found = self.get(hash)
        if isinstance(found, Exception):
            raise found
        return found
