"""Several handlers of one event at the same time, and no task for those that do not suspend."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from milepost.bus.handlers import Handler

__all__ = ["SideBySide"]


class SideBySide:
    """Begins one handler after the other; where one suspends, a task of its own begins the next.

    Args:
        handlers: what is to be run.
        deliver: runs one of them to its end, and does not raise.
    """

    def __init__(self, handlers: tuple[Handler, ...], deliver: Callable[[Handler], Awaitable[Any]]) -> None:
        self._left = deque(handlers)
        self._deliver = deliver
        self._context = copy_context()
        self._waking: asyncio.Handle | None = None
        self._helpers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Return when all handlers have come to their end."""
        helpers = self._helpers
        try:
            await self._work()
            while running := [helper for helper in helpers if not helper.done()]:
                await asyncio.wait(running)
        finally:
            self._left.clear()
            if self._waking is not None:
                self._waking.cancel()
            for helper in helpers:
                helper.cancel()
        for helper in helpers:
            helper.result()

    async def _work(self) -> None:
        left = self._left
        while left:
            handler = left.popleft()
            if left and self._waking is None:
                self._waking = asyncio.get_running_loop().call_soon(self._wake)  # it runs only if this one suspends
            await self._deliver(handler)
            if left and copy_context() != self._context:
                self._wake()  # a handler changed a context variable: the next one begins with a clean context
                break

    def _wake(self) -> None:
        self._waking = None
        if self._left:
            helper = asyncio.get_running_loop().create_task(self._work(), context=self._context.copy())
            self._helpers.append(helper)
