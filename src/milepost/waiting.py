"""Who waits: commands in line for their group, of which one part at a time is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from milepost.bus.dispatcher import Delivery
from milepost.errors import CommitUncertain, ManagerClosed
from milepost.work import Work

__all__ = ["Batch", "Lines", "Waiting", "fail_all"]

_MOST: Final = 1000
"""Commands in one batch."""

_WORTH_A_BATCH: Final = 32
"""Groups: fewer are not divided among batches."""


class Waiting:
    """A command, and who waits for what comes of it."""

    __slots__ = ("alone", "attempts", "caused", "command", "deadline", "error", "future", "value")

    def __init__(self, command: Work, future: asyncio.Future[Delivery]) -> None:
        self.command = command
        self.future = future
        self.deadline = 0.0
        """When it gives up losing races, in the loop's time; 0 as long as it has lost none."""
        self.attempts = 0
        self.alone = False
        """Whether it shares its commit with no other command of the group."""
        self.caused = False
        """Whether events came of it, for whose delivery the caller waits."""
        self.value: Any = None
        self.error: Exception | None = None

    def settle(self, delivery: Delivery) -> None:
        if not self.future.done():
            self.future.set_result(delivery)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.error = error
            self.future.set_result(None)


def fail_all(lines: Iterable[Iterable[Waiting]], error: Exception) -> None:
    """Tell all who wait in lines of an error."""
    for line in lines:
        for waiting in line:
            waiting.fail(error)


Batch = dict[str, list[Waiting]]
"""Commands that go together, by group."""


class Lines:
    """Commands in line for their group."""

    def __init__(self) -> None:
        self._lines: Batch = {}
        self.away: Batch = {}
        """What is on its way; what follows for the same groups waits until it is back."""

    def __bool__(self) -> bool:
        return bool(self._lines or self.away)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values())) + sum(map(len, self.away.values()))

    def __contains__(self, key: str) -> bool:
        """Whether commands wait for a group."""
        return key in self._lines

    @property
    def has_some(self) -> bool:
        """Whether anything is in line."""
        return bool(self._lines)

    def add(self, key: str, line: list[Waiting], *, first: bool = False) -> None:
        """Put commands in line for a group, at its end or before all others."""
        standing = self._lines.get(key)
        if standing is None:
            self._lines[key] = line
        elif first:
            standing[:0] = line
        else:
            standing += line

    def take(self, batches: int) -> Batch:
        """Take what can go now, and note that it is away.

        Args:
            batches: among how many the groups are divided, with those that are away, so that who sends them
                and who decides work at the same time.
        """
        lines, away = self._lines, self.away
        groups = max(_WORTH_A_BATCH, -(-(len(lines) + len(away)) // batches))
        batch: Batch = {}
        taken = 0
        for key in [key for key in lines if key not in away] if away else list(lines):
            line = lines[key]
            room = 1 if line[0].alone else _MOST - taken
            if len(line) > room:
                batch[key], lines[key] = line[:room], line[room:]
            else:
                batch[key] = lines.pop(key)
            taken += len(batch[key])
            if taken >= _MOST or len(batch) == groups:
                break
        away.update(batch)
        return batch

    def back(self, keys: Iterable[str]) -> None:
        """Note that nothing of these groups is on its way any more."""
        for key in keys:
            del self.away[key]

    def close(self) -> None:
        """Tell all who wait that the manager was closed."""
        fail_all(self._lines.values(), ManagerClosed())
        self._lines.clear()
        fail_all(self.away.values(), CommitUncertain("the manager was closed while the commit was in flight"))
