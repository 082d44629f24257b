"""Loading records into the table of replicas, while a flush or a loss of data may begin another epoch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from milepost.adoption import Adopter
from milepost.data_caches.base import LeadingCache
from milepost.records import Authority, ImmediateAuthority, LoadedRecord, Record
from milepost.replicas import Replicas

__all__ = ["Loader"]


class Loader:
    """Loads records for one manager.

    Args:
        authority: has them.
        table: where they are held.
        adopter: makes rows of what was loaded.
        epoch: returns the present epoch, as far as this process knows.
    """

    def __init__(self, authority: Authority, table: Replicas, adopter: Adopter, epoch: Callable[[], int]) -> None:
        self._authority = authority
        self._immediate = authority if isinstance(authority, ImmediateAuthority) else None
        self._table = table
        self._adopter = adopter
        self._epoch = epoch

    async def load(self, keys: Sequence[str]) -> None:
        """Hold records, those that do not exist too.

        Raises:
            BackendUnavailable: when the authority does not answer.
        """
        if not keys:
            return
        for record in await self._load_with(self._authority.load, keys):
            self._table.hold(record)
            if self._immediate is not None:
                self._immediate.note_deadline(record, record.deadline)

    async def load_held(self, leader: LeadingCache, keys: Sequence[str]) -> list[str]:
        """Hold records that a cache holds; return those that only the store may have.

        Raises:
            BackendUnavailable: when the cache does not answer.
        """
        elsewhere: list[str] = []

        async def load(wanted: Sequence[str]) -> Mapping[str, LoadedRecord]:
            nonlocal elsewhere
            found, elsewhere = await leader.load_held(wanted)
            return found

        for record in await self._load_with(load, keys):
            if record.key not in elsewhere:
                self._table.hold(record)
        return elsewhere

    async def _load_with(
        self, load: Callable[[Sequence[str]], Awaitable[Mapping[str, LoadedRecord]]], keys: Sequence[str]
    ) -> list[Record]:
        while True:
            epoch = self._epoch()
            loaded = await load(keys)
            records = [Record(key, 0 if self._immediate is None else self._immediate.new_incarnation()) for key in keys]
            for record in records:
                if record.key in loaded:
                    await self._adopter.adopt(record, loaded[record.key])
            if self._epoch() == epoch:
                return records  # otherwise everything was flushed meanwhile
