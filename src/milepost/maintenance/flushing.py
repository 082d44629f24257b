"""Write-behind: a store follows the cache, an interval later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from milepost._alarm import Alarm
from milepost._clock import Clock
from milepost.data_caches.base import LeadingCache
from milepost.data_stores.base import BaseDataStore, RecordChange
from milepost.errors import BackendUnavailable, RecordTooLarge

__all__ = ["Flusher"]

_log = logging.getLogger("milepost")

_BATCH: Final = 500


class Flusher:
    """Saves what the store has not seen.

    Args:
        cache: the authority.
        store: follows it.
        clock: what the interval goes by.
        interval: seconds between flushes.
    """

    def __init__(self, cache: LeadingCache, store: BaseDataStore, clock: Clock, interval: float) -> None:
        self._cache = cache
        self._store = store
        self._interval = interval
        self._alarm = Alarm(clock)
        self._one_at_a_time = asyncio.Lock()
        self._late: list[RecordChange] = []
        """What the store was told after everything had been flushed, and has to be taken back from it."""
        self.last_error: str | None = None

    async def run(self) -> None:
        """Flush every interval, until cancelled. While the store is down the backlog waits."""
        while True:
            await self._alarm.sleep(self._interval)
            try:
                try:
                    await self.flush()
                except RecordTooLarge:
                    await self._cache.let_go()  # all others are saved
                    raise
                await self._cache.let_go()
            except (BackendUnavailable, RecordTooLarge) as error:
                with suppress(BackendUnavailable):
                    await self._cache.measure()  # a store may be silent for long, and the backlog grows meanwhile
                if self.last_error is None:
                    _log.warning("the store is behind by %d groups: %s", self._cache.backlog, error)
                self.last_error = self._cache.trouble = str(error)

    async def flush(self) -> None:
        """Save all that is unsaved now.

        Raises:
            StoreUnavailable: when the store does not answer; what is unsaved stays so.
            RecordTooLarge: when a group has outgrown what the store can hold; that stays unsaved, the others are saved.
        """
        async with self._one_at_a_time:  # two at once would save the same events twice
            await self._flush()

    async def clear(self) -> None:
        """Delete everything in the store and the cache, and let nothing be saved meanwhile.

        Raises:
            StoreUnavailable: when the store does not answer.
        """
        async with self._one_at_a_time:
            await self._cache.flush()
            await self._store.flush()
            await self._cache.flush()  # what was read from the store between the two

    async def _flush(self) -> None:
        await self._take_back()
        too_large: list[RecordChange] = []
        trouble: RecordTooLarge | None = None
        before = left = await self._cache.measure()
        while left > 0:
            changes = await self._cache.unsaved(min(_BATCH, left))
            if not changes:
                break
            try:
                await self._save(changes)
            except _TooLarge as error:
                too_large += error.changes
                trouble = error.trouble
            left -= len(changes)
        if left < before:
            await self._cache.measure()  # the status tells of what is left
        if trouble is not None:
            await self._cache.not_saved(too_large)
            raise trouble
        self.last_error = self._cache.trouble = None

    async def _save(self, changes: Sequence[RecordChange]) -> None:
        """Save a batch, or all of it but what is too large: that must not keep the others from the store."""
        parts = [changes]
        too_large: list[RecordChange] = []
        trouble: RecordTooLarge | None = None
        while parts:
            part = parts.pop()
            try:
                await self._store.save(part)
            except RecordTooLarge as error:
                if len(part) > 1:
                    parts += (part[len(part) // 2 :], part[: len(part) // 2])
                else:
                    too_large += part
                    trouble = error
                continue
            except BaseException:
                await self._cache.not_saved([change for unsaved in (too_large, part, *parts) for change in unsaved])
                raise
            self._late += await self._cache.saved(part)
            await self._take_back()
        if trouble is not None:
            raise _TooLarge(too_large, trouble)

    async def _take_back(self) -> None:
        if self._late:
            await self._store.save(self._late)
            self._late.clear()


class _TooLarge(Exception):
    """What of a batch the store cannot hold, and what it said of the last of that."""

    def __init__(self, changes: list[RecordChange], trouble: RecordTooLarge) -> None:
        super().__init__(str(trouble))
        self.changes = changes
        self.trouble = trouble
