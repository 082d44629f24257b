"""Where an exporter's work is done: in the event loop that runs, or in a thread where none does."""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

__all__ = ["Worker"]


class Worker(ABC):
    """Work that begins when it is first needed, or with ``async with`` or ``with``, and ends in good order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._wake: asyncio.Event | None = None

    @abstractmethod
    async def _work(self) -> None:
        """Work until :attr:`_closing`; waits on :attr:`_wake` when there is nothing to do."""

    @property
    def _started(self) -> bool:
        return self._loop is not None or self._thread is not None

    def _rouse(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            with suppress(RuntimeError):  # the loop was closed: what waits stays counted as waiting
                loop.call_soon_threadsafe(wake.set)

    async def blocking(self, call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Call what blocks, where that stops nobody: in a worker thread, or in the thread that does just this work."""
        if threading.current_thread() is self._thread:
            return call(*arguments, **more)
        return await asyncio.to_thread(call, *arguments, **more)

    def _start_somewhere(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._start_thread()
        else:
            self._start_task(loop)

    def _start_task(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            if not self._started:
                self._loop, self._wake = loop, asyncio.Event()
                self._task = loop.create_task(self._work(), name=f"milepost: {type(self).__name__}")

    def _start_thread(self) -> None:
        with self._lock:
            if self._started:
                return
            self._thread = threading.Thread(
                target=self._work_alone, name=f"milepost: {type(self).__name__}", daemon=True
            )
            atexit.register(_close, weakref.ref(self))
        self._thread.start()

    def _work_alone(self) -> None:
        async def work() -> None:
            self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
            await self._work()

        asyncio.run(work())

    async def start(self) -> None:
        """Start the work in this loop, where it has not been started."""
        self._start_task(asyncio.get_running_loop())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        self._start_thread()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def aclose(self, timeout: float = 30.0) -> None:
        """Send what is in the buffer, then stop; entries that come later are dropped and counted.

        Args:
            timeout: after so many seconds what is left is given up and counted as failed.
        """
        if self._thread is not None:
            await asyncio.to_thread(self.close, timeout)
            return
        self._closing = True
        if self._task is None:
            return
        self._rouse()
        await asyncio.wait([self._task], timeout=timeout)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def close(self, timeout: float = 30.0) -> None:
        """The same as :meth:`aclose`, for a program without an event loop.

        Raises:
            RuntimeError: when the work is done in an event loop; await ``aclose()`` there.
        """
        thread = self._thread
        if thread is None:
            if self._task is not None and not self._task.done():
                raise RuntimeError(f"this {type(self).__name__} works in an event loop; await aclose() there")
            self._closing = True
            return
        self._closing = True
        self._rouse()
        thread.join(timeout)


def _close(worker: weakref.ref[Worker]) -> None:
    """Send what is left when the program ends."""
    left = worker()
    if left is not None:
        left.close()
