"""What a cache that may lose data asks of the store that follows it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from milepost.records import Authority, CacheMark, Standing

__all__ = ["FollowingAuthority"]


class FollowingAuthority(Authority):
    """An authority that can tell where it has records, and how far the cache had come that it follows."""

    @abstractmethod
    async def standings(self, keys: Sequence[str]) -> dict[str, Standing]:
        """Return where records stand, removed ones too as long as ``save`` goes by them; others are absent.

        Args:
            keys: the records' keys, each once.

        Raises:
            StoreUnavailable: when the store does not answer.
        """

    @abstractmethod
    async def cache_mark(self) -> CacheMark | None:
        """Return what :meth:`mark_cache` has been told; None where that is nothing. A flush leaves it there.

        Raises:
            StoreUnavailable: when the store does not answer.
        """

    @abstractmethod
    async def mark_cache(self, mark: CacheMark) -> None:
        """Remember what is known of the cache that is followed: one that knows less has lost data.

        Args:
            mark: the highest epoch and generation of all that were told are kept.

        Raises:
            StoreUnavailable: when the store does not answer.
        """
