"""What every cache is: a record adapter that can tell what it holds; and some decide while a store follows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from milepost.data_stores.base import BaseDataStore, RecordChange
from milepost.records import Authority, Commit, LoadedRecord, Loss, Outcome, Record, Settled

__all__ = ["BaseDataCache", "LeadingCache", "Mended", "MendingCache", "check_asked"]


def check_asked(group_id: str, name: str | None) -> None:
    """Check what ``is_cached`` was asked for.

    Raises:
        TypeError: when one of them is no string.
    """
    if not isinstance(group_id, str):
        raise TypeError(f"group_id must be a string, got {group_id!r}")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string or None, got {name!r}")


class Mended(NamedTuple):
    """What became of records that a process held when the cache had lost data.

    Args:
        restored: how many were brought back.
        lost: how many had gone on from an older state, so that what was newer is lost.
    """

    restored: int
    lost: int


class BaseDataCache(Authority):
    """Where a manager's processes work on records."""

    @abstractmethod
    async def is_cached(self, group_id: str, name: str | None = None) -> bool:
        """Return whether a group, or one of its trackers, is held; loads nothing.

        Args:
            group_id: the group.
            name: a tracker's name; None asks for the group.

        Raises:
            TypeError: when one of them is no string.
        """


class LeadingCache(BaseDataCache):
    """A cache that decides commits itself, and tells a store that follows what changed."""

    alone: ClassVar[bool] = False
    """Whether what the store has not seen is lost with this process, so that nobody else may have the store."""
    max_backlog: int | None = None
    """How many records the store may not have seen as they are; None for any number."""
    trouble: str | None = None
    """Why the store did not take what changed, as far as this process knows."""

    @abstractmethod
    def lead(self, store: BaseDataStore) -> None:
        """Be the authority; ``store`` follows. Called before ``open``."""

    @property
    @abstractmethod
    def backlog(self) -> int:
        """How many records the store has not seen as they are, as far as this process knows."""

    @abstractmethod
    async def measure(self) -> int:
        """Count the records that the store has not seen as they are."""

    @abstractmethod
    async def unsaved_keys(self) -> set[str]:
        """Return the keys of the records that the store may not have as they are."""

    @abstractmethod
    async def unsaved(self, limit: int) -> list[RecordChange]:
        """Return what the store has not seen of up to ``limit`` records; nobody else is given the same meanwhile."""

    @abstractmethod
    async def saved(self, changes: Sequence[RecordChange]) -> list[RecordChange]:
        """Note that the store has confirmed these; what changed meanwhile stays unsaved.

        Returns:
            What has to be taken back from the store, because everything was flushed meanwhile.
        """

    async def load_held(self, keys: Sequence[str]) -> tuple[dict[str, LoadedRecord], list[str]]:
        """Read records without asking the store.

        Returns:
            The records, and the keys of those that only the store may have.
        """
        return await self.load(keys), []

    async def commit_held(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Like :meth:`commit`, but answer ``NotHeld`` where the store would have to be asked first."""
        return await self.commit(commits)

    @abstractmethod
    async def not_saved(self, changes: Sequence[RecordChange]) -> None:
        """Note that the store did not take these: anybody may try again."""

    async def let_go(self) -> None:
        """Let records go that the store has and that nobody asked for in a while, where that is not done otherwise."""


class MendingCache(BaseDataCache):
    """A cache that may lose data, notices, and takes back what processes hold of it."""

    @abstractmethod
    def tell_of_epochs(self, told: Callable[[int], None]) -> None:
        """Have ``told`` called with each later epoch that is learned of."""

    @abstractmethod
    async def mend(self, records: Sequence[Record], definitions: Mapping[str, str], epoch: int) -> Mended:
        """Offer records that this process held in an earlier epoch.

        Args:
            records: as they were acknowledged.
            definitions: the definitions that their rows need, text by hash.
            epoch: the epoch in which they were.

        Raises:
            BackendUnavailable: when the cache or the store does not answer.
        """

    @abstractmethod
    def take_loss(self) -> Loss | None:
        """Return what was noticed since this was asked last; None where nothing was."""

    @abstractmethod
    async def settle(self) -> Settled:
        """Compare what the cache holds with the store that follows, where data may have been lost.

        What the store has as new or newer is brought back, what was removed goes. Until a record has been compared,
        it is neither read nor committed on. Several processes may do so at once: the work is shared.

        Raises:
            BackendUnavailable: when the cache or the store does not answer; nothing is undone.
        """
