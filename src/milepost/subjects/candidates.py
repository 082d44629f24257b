"""Which records of a collection a look-up has to look at: those that may match, and as few others as can be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from milepost.data_caches.base import LeadingCache
from milepost.data_stores.base import BaseDataStore
from milepost.lookups import RowIndex, RowIs
from milepost.records import Authority

__all__ = ["Candidates"]


class Candidates:
    """Finds the keys of records that may match.

    Args:
        authority: decides commits.
        leader: the cache that decides where a store follows; None where none does.
        store: lasts; the authority itself, or what follows it.
    """

    def __init__(self, authority: Authority, leader: LeadingCache | None, store: BaseDataStore) -> None:
        self._authority = authority
        self._leader = leader
        self._index = store if isinstance(store, RowIndex) and (leader is not None or store is authority) else None

    @property
    def are_exact(self) -> bool:
        """Whether the conditions hold for all that is found, so that it need not be looked at."""
        return self._index is not None and self._leader is None

    @property
    def are_sorted(self) -> bool:
        """Whether keys come in order."""
        return self._index is not None

    async def find(self, prefix: str, conditions: Sequence[RowIs]) -> AsyncIterator[str]:
        """Iterate over the keys that begin with a prefix; those whose records do not match are left out if possible.

        A store that follows may not have seen the newest. What it has not seen is looked at too, and is asked for
        first: what it is told meanwhile it shows.
        """
        if self._index is None:
            async for key in self._authority.keys(f"{prefix}*"):
                if key.startswith(prefix):  # in a pattern, `*` and `?` of a name stand for others too
                    yield key
            return
        unseen: list[str] = []
        if self._leader is not None:
            unseen = sorted(key for key in await self._leader.unsaved_keys() if key.startswith(prefix))
        told, unseen = frozenset(unseen), unseen[::-1]
        async for key in self._index.find(prefix, conditions):
            while unseen and unseen[-1] < key:
                yield unseen.pop()
            if key not in told:
                yield key
        while unseen:
            yield unseen.pop()
