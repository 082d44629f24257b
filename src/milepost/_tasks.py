"""Background work: tasks that somebody holds, whose errors are logged, and that end together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

__all__ = ["Tasks"]

_log = logging.getLogger("milepost")


class Tasks:
    """The background tasks of one manager. They belong to no caller, so no caller's cancellation ends them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closed = False
        """Whether nothing new should be started."""

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str, context: Context | None = None) -> asyncio.Task[Any]:
        """Start a task and keep it until it ends; in a context of its own where one is given."""
        task = asyncio.get_running_loop().create_task(work, name=f"milepost: {name}", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("the background task %r failed", task.get_name(), exc_info=task.exception())

    async def aclose(self) -> None:
        """Cancel what still runs and wait until all have ended."""
        self.closed = True
        current = asyncio.current_task()
        while others := [task for task in self._tasks if task is not current]:
            for task in others:
                task.cancel()
            await asyncio.wait(others)
