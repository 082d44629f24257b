"""What subjects and models ask of their manager: to have work done, now or soon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from milepost.errors import ManagerClosed
from milepost.records import LoadedRecord
from milepost.subjects.candidates import Candidates
from milepost.subjects.commands import SubjectWork
from milepost.subjects.draft import Cause

__all__ = ["Keeper", "Pending"]


class Pending(Protocol):
    """Work that has not come to its end."""

    @property
    def future(self) -> Any:
        """Done when it has; its result is what to wait for until events are delivered."""
        ...

    @property
    def value(self) -> Any:
        """What the work returned."""
        ...

    @property
    def error(self) -> Exception | None:
        """Why it was not done."""
        ...


class Committing(Protocol):
    """What carries work out."""

    def run_now(self, key: str, command: Any) -> tuple[Any, Any] | None:
        """Carry work out on the spot; None where a store must be asked first."""
        ...

    def submit(self, key: str, command: Any) -> Pending:
        """Put work in line."""
        ...


class Reading(Protocol):
    """Where records are."""

    async def load(self, keys: Sequence[str]) -> dict[str, LoadedRecord]:
        """Read records."""
        ...


class Keeper:
    """Has work done for one manager.

    Args:
        committer: carries it out.
        authority: where records are.
        candidates: finds records by what they hold.
        ready: starts the manager where it was not started; raises where it was closed.
        is_ready: whether it is started and not closed.
        delivered: waits until events are delivered, unless a listener would wait for itself.
        is_quick: whether no store ever has to be asked.
    """

    def __init__(
        self,
        committer: Committing,
        authority: Reading,
        candidates: Candidates,
        *,
        ready: Callable[[], Awaitable[None]],
        is_ready: Callable[[], bool],
        delivered: Callable[[Any], Awaitable[None]],
        is_quick: bool,
    ) -> None:
        self.authority = authority
        self.candidates = candidates
        self.ready = ready
        self.delivered = delivered
        self.is_quick = is_quick
        self.cause: Callable[[], Cause | None] = lambda: None
        """Returns the event in whose handler this code runs."""
        self._committer = committer
        self._is_ready = is_ready

    def run_now(self, key: str, work: SubjectWork) -> tuple[Any, Any] | None:
        """Have work done on the spot; None where that cannot be."""
        return self._committer.run_now(key, work) if self._is_ready() else None

    def submit(self, key: str, work: SubjectWork) -> Pending:
        """Put work in line.

        Raises:
            ManagerClosed: when the manager was closed.
        """
        if not self._is_ready():
            raise ManagerClosed
        return self._committer.submit(key, work)

    async def run(self, key: str, work: SubjectWork) -> Any:
        """Have work done, and wait until its events are delivered.

        Raises:
            ManagerClosed: when the manager was closed.
            CommitConflict: when others were faster for too long.
            BackendUnavailable: when the authority or the store does not answer.
            MilepostError: what the work itself has to say.
        """
        await self.ready()
        done = self.run_now(key, work)
        if done is None:
            pending = self.submit(key, work)
            delivery = await pending.future
            if pending.error is not None:
                raise pending.error
            done = pending.value, delivery
        await self.delivered(done[1])
        return done[0]
