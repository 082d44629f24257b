"""When the cache may have lost data: what this process holds is offered, the rest compared with the store, all told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from milepost._alarm import Alarm
from milepost._clock import Clock, utc
from milepost.data_caches.base import Mended, MendingCache
from milepost.errors import BackendUnavailable
from milepost.events.types import DataLost
from milepost.records import Loss, Record, Settled
from milepost.trackers.snapshot import TrackerSnapshot

__all__ = ["Healer"]

_log = logging.getLogger("milepost")

_PAUSE: Final = 1.0
_LOOKS: Final = 5
"""After how many looks at a loss it is told of, though not all is compared yet."""


class Healer:
    """Offers replicas to a cache in which a later epoch has begun, and sees to it that the rest is compared.

    Args:
        cache: the cache.
        clock: what pauses go by.
        announce: delivers the event that tells of a loss.
    """

    def __init__(self, cache: MendingCache, clock: Clock, announce: Callable[[DataLost], None]) -> None:
        self._cache = cache
        self._clock = clock
        self._announce = announce
        self._alarm = Alarm(clock)
        self._alarm.ring()  # something may have been noticed when the cache was opened
        self._offering = asyncio.Lock()
        self._kept: list[tuple[list[Record], int]] = []
        self._mended = self._behind = 0
        self._settled = Settled(0, 0, True)
        self._loss: Loss | None = None
        self._looks = 0
        self._told: tuple[int, ...] = ()
        self._counts_before = (0, 0, 0)
        self._failing = False

    @property
    def restored(self) -> int:
        """How many records this process has brought back, from what it held and from the store."""
        return self._mended + self._settled.restored

    @property
    def lost(self) -> int:
        """How many had gone on from an older state than this process held."""
        return self._behind

    async def heal(self, records: Sequence[Record], epoch: int) -> None:
        """Offer what this process held in an epoch that is over; go on in the background where that cannot be now.

        Args:
            records: the replicas; what was removed is among them, what cannot be read whole is left out.
            epoch: the epoch in which they were.
        """
        whole = [record for record in records if record.incarnation and not record.broken]
        if whole:
            self._kept.append((whole, epoch))
        self._begin(self._cache.take_loss())
        try:
            await self._offer()
        except BackendUnavailable as error:
            self._note_failure(error)
        self._alarm.ring()

    async def _offer(self) -> None:
        async with self._offering:  # two at once would count what the other did
            while self._kept:
                whole, epoch = self._kept[0]
                definitions: dict[str, str] = {}
                for record in whole:
                    for row in record.rows.values():
                        if isinstance(row, TrackerSnapshot):
                            definitions[row.blueprint.hash] = row.blueprint.text
                self._note(await self._cache.mend(whole, definitions, epoch))
                del self._kept[0]

    def _note(self, mended: Mended) -> None:
        self._mended += mended.restored
        self._behind += mended.lost
        if mended.lost:
            _log.error(
                "the cache has lost data: %d groups went on from an older state than this process held", mended.lost
            )
        if mended.restored:
            _log.warning("the cache has lost data: %d groups were brought back by this process", mended.restored)

    async def run(self) -> None:
        """Mend what was noticed, until cancelled."""
        while True:
            await self._alarm.sleep(None)
            while not await self._mend():
                await self._clock.sleep(_PAUSE)

    async def _mend(self) -> bool:
        """Do what can be done now, and tell of it; return whether everything is done."""
        self._begin(self._cache.take_loss())
        before = self._settled.restored
        try:
            await self._offer()
            self._settled = await self._cache.settle()
        except BackendUnavailable as error:
            self._note_failure(error)
        else:
            self._failing = False
        if self._settled.restored > before:
            _log.warning(
                "the cache has lost data: %d groups were brought back from the store", self._settled.restored - before
            )
        done = self._settled.done and not self._failing
        self._tell(complete=done)
        return done

    def _begin(self, loss: Loss | None) -> None:
        if loss is not None:
            self._loss, self._looks, self._told = loss, 0, ()
            self._counts_before = (self._mended, self._settled.restored, self._behind)

    def _note_failure(self, error: BackendUnavailable) -> None:
        if not self._failing:
            _log.error("what the cache may have lost cannot be brought back yet: %s", error)
        self._failing = True

    def _tell(self, *, complete: bool) -> None:
        """Announce a loss: when all is compared, when that cannot be now, or takes long; and again what is new."""
        self._looks += 1
        if self._loss is None or not (complete or self._failing or self._looks >= _LOOKS):
            return
        now = (self._mended, self._settled.restored, self._behind)
        counts = [count - before for count, before in zip(now, self._counts_before, strict=True)]
        if self._told != (*counts, complete):
            self._told = (*counts, complete)
            self._announce(DataLost.of(self._loss, utc(self._clock.time()), *counts, complete=complete))
