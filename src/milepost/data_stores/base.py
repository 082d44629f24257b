"""What every store is: a record adapter that lasts, and that can follow a cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from milepost.backends.following import FollowingAuthority
from milepost.records import RecordChange

__all__ = ["BaseDataStore", "RecordChange", "RelayedOutbox"]


class BaseDataStore(FollowingAuthority):
    """Where records last."""

    lasting: ClassVar[bool] = True
    """Whether records outlive the process."""

    @abstractmethod
    async def save(self, changes: Sequence[RecordChange]) -> None:
        """Follow a cache: write what changed, never an older revision over a newer one.

        Args:
            changes: at most one for each key.

        Raises:
            StoreUnavailable: when the store does not answer; nothing was written.
            RecordTooLarge: when a record has outgrown what the store can hold; nothing was written.
        """

    async def last_removed(self) -> int:
        """Return the highest incarnation of the removals that :meth:`save` goes by; 0 where it knows of none.

        What is begun anew must have a higher one, also where the clock was set back since.

        Raises:
            StoreUnavailable: when the store does not answer.
        """
        return 0

    async def lease(self, *, exclusive: bool) -> None:
        """Hold the store for this process: alone, or together with others that do not hold it alone.

        Args:
            exclusive: alone.

        Raises:
            StoreLeased: when another process's hold excludes this one.
        """


class RelayedOutbox(ABC):
    """A store that keeps the events of its outbox until they were moved on, to a stream that is somewhere else."""

    @property
    @abstractmethod
    def keeps_events(self) -> bool:
        """Whether events are written to the outbox."""

    @abstractmethod
    async def begin_relay(self) -> None:
        """Keep events from now on until they were moved; where that was begun before, go on there.

        Raises:
            StoreUnavailable: when the store does not answer.
        """

    @abstractmethod
    async def unmoved(self, limit: int) -> list[tuple[int, str]]:
        """Return the next events that were not moved, position and JSON text of each, in commit order.

        Args:
            limit: how many to return at most.

        Raises:
            StoreUnavailable: when the store does not answer.
        """

    @abstractmethod
    async def moved(self, position: int) -> None:
        """Note that events were moved, up to a position: they may go.

        Raises:
            StoreUnavailable: when the store does not answer.
        """
