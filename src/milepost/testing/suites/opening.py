"""How a suite comes to an adapter: the few things that a backend brings."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from milepost._clock import Clock
from milepost.records import Authority
from milepost.testing.clocks import ManualClock
from milepost.testing.suites.material import SOME_DEFINITIONS

__all__ = ["AdapterSuite"]


class AdapterSuite:
    """What every suite asks of a backend.

    A subclass says how to :meth:`connect`, and what it can do beyond the minimum. Tests are
    coroutines without a mark of their own: run them with pytest-asyncio in its auto mode, or
    mark the subclass ``pytest.mark.anyio``.
    """

    lasting: ClassVar[bool] = False
    """Whether what was written is there again after ``aclose`` and ``open``."""

    shared: ClassVar[bool] = False
    """Whether two adapters that were made by ``connect`` in one test reach the same records."""

    folder: Path
    """An empty folder of the test's own, for backends that keep files."""

    @pytest.fixture(autouse=True)
    def _prepare_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def connect(self) -> Authority:
        """Return an adapter that is not open. Called again in the same test, one more for the same place."""
        raise NotImplementedError(f"{type(self).__name__} must say how to connect")

    def clock(self) -> Clock:
        """Return what time passes by. By default it stands still; deadlines are set relative to it."""
        return ManualClock()

    @asynccontextmanager
    async def opened(self, *, window: int = 256) -> AsyncGenerator[Authority, None]:
        """Open an adapter for the length of a ``with`` block; it has one definition for rows to need.

        Args:
            window: how many event ids a record remembers.
        """
        adapter = self.connect()
        await adapter.open(self.clock(), window)
        try:
            await adapter.put_definitions(SOME_DEFINITIONS)
            yield adapter
        finally:
            await adapter.aclose()

    @asynccontextmanager
    async def opened_twice(self) -> AsyncGenerator[tuple[Authority, Authority], None]:
        """Open two adapters for the same place; the test is skipped where that cannot be."""
        if not self.shared:
            pytest.skip("one client at a time")
        async with self.opened() as one, self.opened() as other:
            yield one, other

    def require_lasting(self) -> None:
        """Skip the test where nothing lasts."""
        if not self.lasting:
            pytest.skip("nothing lasts")
