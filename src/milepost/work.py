"""What the committer carries out: work on one record, and the draft that it makes a commit of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from milepost.records import Commit, Record

__all__ = ["Draft", "Work"]


class Draft(Protocol):
    """What a record will be once a commit is accepted; several pieces of work, one commit."""

    @property
    def record(self) -> Record:
        """The replica to begin from; it stays as it is."""
        ...

    @property
    def puts(self) -> Mapping[str, Any]:
        """Rows to write, by name."""
        ...

    @property
    def events(self) -> list[Any]:
        """What happened, in order."""
        ...

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        ...

    @property
    def changes(self) -> int:
        """A number that grows with every change: work that raises and has changed something is taken back."""
        ...

    @property
    def tracks(self) -> bool:
        """Whether the record holds trackers."""
        ...

    def finish(self, epoch: int, id: bytes) -> Commit:
        """Return the commit that makes it so.

        Args:
            epoch: the epoch of the replica.
            id: the commit's id; empty where no reply can be lost.
        """
        ...


class Work(Protocol):
    """Something to be done to a record. What is done to records of one key shares a kind of draft."""

    def draft(self, record: Record, book: Any, now: float, incarnation: int, window: int) -> Draft:
        """Return a draft for this and for what else is done to the record.

        Args:
            record: the replica to begin from.
            book: makes plans, for records that hold trackers.
            now: when, epoch seconds.
            incarnation: the record's own, or the one to take where it is begun anew.
            window: how many event ids a record remembers.
        """
        ...

    def apply(self, draft: Any) -> Any:
        """Change the draft; return what the caller gets. One that raises has changed nothing."""
        ...
