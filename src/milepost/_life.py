"""What is opened and closed: it begins once, whoever asks first, and is an async context manager."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from milepost.errors import ManagerClosed

__all__ = ["Life"]


class Life(ABC):
    """The life of a manager or a bus: not begun, begun, closed."""

    def __init__(self) -> None:
        self._running = False
        self._closed = False
        self._starting: asyncio.Task[None] | None = None

    @abstractmethod
    async def _start(self) -> None:
        """Begin, and note that it is running."""

    @abstractmethod
    async def aclose(self) -> None:
        """End what was begun. Doing it twice is harmless."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Connect and begin the background work. Doing it twice is harmless.

        Raises:
            ManagerClosed: after ``aclose``.
            BackendUnavailable: when what it connects to does not answer.
            StoreLeased: when another process holds the store in a way that excludes this one.
        """
        if self._closed:
            raise ManagerClosed
        if self._running:
            return
        if self._starting is None:  # a task of its own: a cancelled caller leaves nothing half open
            self._prepare()
            self._starting = asyncio.get_running_loop().create_task(self._start())
        starting = self._starting
        try:
            await asyncio.shield(starting)
        finally:
            if starting.done():
                self._starting = None

    def _prepare(self) -> None:
        """Settle what has to be settled before the start."""
        return
