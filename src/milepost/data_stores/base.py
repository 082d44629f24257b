"""What every store is: a record adapter that lasts, and that can follow a cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final

from milepost.records import Authority, RecordChange

__all__ = ["RELAY_LAG", "BaseDataStore", "RecordChange", "RelayedStore"]

RELAY_LAG: Final = 1_000_000
"""How many events are kept for a relay that does not come; beyond that it loses them, loudly."""


class RelayedStore(ABC):
    """A store whose outbox can be moved on into a stream elsewhere: what was not confirmed is kept."""

    @property
    @abstractmethod
    def keeps_events(self) -> bool:
        """Whether events are written to the outbox."""

    @abstractmethod
    async def relayed(self, relay: str) -> int:
        """Return how far a relay has come; one that was not known begins with the next event.

        Args:
            relay: its name.

        Raises:
            StoreUnavailable: when the store does not answer.
        """

    @abstractmethod
    async def confirm_relayed(self, relay: str, position: int) -> None:
        """Note that a relay has moved everything up to a position, which need not be kept for it.

        Args:
            relay: its name.
            position: as ``outbox`` has it.

        Raises:
            StoreUnavailable: when the store does not answer.
        """


class BaseDataStore(Authority):
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
