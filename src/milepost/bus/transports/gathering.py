"""Appending together what several publish at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Gathering"]

T = TypeVar("T")


class Gathering(Generic[T]):
    """Appends batches, all that wait in one go; what comes meanwhile goes into the next one.

    Args:
        append: appends events, all or none, and returns for each whether it is new.
    """

    def __init__(self, append: Callable[[Sequence[T]], Awaitable[list[bool]]]) -> None:
        self._append = append
        self._waiting: list[tuple[Sequence[T], asyncio.Future[list[bool]]]] = []
        self._appending: asyncio.Task[None] | None = None

    async def append(self, events: Sequence[T]) -> list[bool]:
        """Append a batch; return for each event whether it is new.

        Raises:
            Exception: what keeps this batch from being appended.
        """
        appended: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, appended))
        if self._appending is None or self._appending.done():
            self._appending = asyncio.get_running_loop().create_task(self._append_all())
        return await appended

    async def settle(self) -> None:
        """Return when all was appended that waits."""
        if self._appending is not None:
            await asyncio.wait([self._appending])

    async def _append_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                new = iter(await self._append([event for events, _ in group for event in events]))
            except Exception as error:
                if len(group) == 1:
                    _answer(group[0][1], error)
                else:  # one batch may be refused where another is not
                    await self._append_each(group)
                continue
            for events, appended in group:
                _answer(appended, [next(new) for _ in events])

    async def _append_each(self, group: Sequence[tuple[Sequence[T], asyncio.Future[list[bool]]]]) -> None:
        for events, appended in group:
            try:
                _answer(appended, await self._append(events))
            except Exception as error:
                _answer(appended, error)


def _answer(waiting: asyncio.Future[list[bool]], answer: list[bool] | Exception) -> None:
    if waiting.done():
        return
    if isinstance(answer, Exception):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)
