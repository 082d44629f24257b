"""What every store is: a record adapter that lasts, and that can follow a cache."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from milepost.records import Authority, OutboxEvent, Revision

__all__ = ["BaseDataStore", "RecordChange"]


@dataclass(slots=True)
class RecordChange:
    """What happened to a record since the store last saw it, for a store that follows a cache.

    Args:
        key: the record's key.
        revision: where the record stands; an older one than the store has is ignored.
        serial: the highest serial number given to a row.
        deadline: the earliest moment at which a row expires.
        puts: rows that are new or changed.
        drops: names of rows that are gone.
        whole: ``puts`` is everything there is; what else the store has of the record goes.
        removed: the record holds nothing any more.
        seen: all event ids that the record remembers.
        events: what was appended to the outbox.
        definitions: the definitions that the rows need, text by hash.
    """

    key: str
    revision: Revision
    serial: int
    deadline: float | None
    puts: Mapping[str, Any]
    drops: Sequence[str]
    whole: bool
    removed: bool
    seen: Sequence[bytes]
    events: Sequence[OutboxEvent]
    definitions: Mapping[str, str]


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

    async def lease(self, *, exclusive: bool) -> None:
        """Hold the store for this process: alone, or together with others that do not hold it alone.

        Args:
            exclusive: alone.

        Raises:
            StoreLeased: when another process's hold excludes this one.
        """
