"""What every cache is: a record adapter that can tell what it holds."""

from __future__ import annotations

from abc import abstractmethod

from milepost.records import Authority

__all__ = ["BaseDataCache"]


class BaseDataCache(Authority):
    """Where a manager's processes work on records."""

    @abstractmethod
    async def is_cached(self, group_id: str, name: str | None = None) -> bool:
        """Return whether a group, or one of its trackers, is held; loads nothing.

        Args:
            group_id: the group.
            name: a tracker's name; None asks for the group.
        """
