"""When the cache may have lost data: this process offers what it holds, and says what became of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from milepost.data_caches.base import MendingCache
from milepost.errors import BackendUnavailable
from milepost.records import Record
from milepost.trackers.snapshot import TrackerSnapshot

__all__ = ["Healer"]

_log = logging.getLogger("milepost")


class Healer:
    """Offers replicas to a cache in which a later epoch has begun.

    Args:
        cache: the cache.
    """

    def __init__(self, cache: MendingCache) -> None:
        self._cache = cache
        self.restored = 0
        self.lost = 0

    async def heal(self, records: Sequence[Record], epoch: int) -> None:
        """Offer what this process held in an epoch that is over.

        Args:
            records: the replicas; what was removed is among them, what cannot be read whole is left out.
            epoch: the epoch in which they were.
        """
        whole = [record for record in records if record.incarnation and not record.broken]
        definitions: dict[str, str] = {}
        for record in whole:
            for row in record.rows.values():
                if isinstance(row, TrackerSnapshot):
                    definitions[row.blueprint.hash] = row.blueprint.text
        if not whole:
            return
        try:
            mended = await self._cache.mend(whole, definitions, epoch)
        except BackendUnavailable as error:
            _log.error("what this process held of %d groups could not be offered to the cache: %s", len(whole), error)
            return
        self.restored += mended.restored
        self.lost += mended.lost
        if mended.lost:
            _log.error(
                "the cache has lost data: %d groups went on from an older state than this process held", mended.lost
            )
        if mended.restored:
            _log.warning("the cache has lost data: %d groups were brought back by this process", mended.restored)
