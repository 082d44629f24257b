"""What a cache promises beyond keeping records."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from milepost.data_caches.base import BaseDataCache
from milepost.records import Revision
from milepost.testing.suites.material import INCARNATION, event_id, send
from milepost.testing.suites.records import RecordSuite

__all__ = ["DataCacheSuite"]

FIRST = Revision(INCARNATION, 1)


class DataCacheSuite(RecordSuite):
    """What every data cache promises.

    ::

        class TestMyDataCache(DataCacheSuite):
            def connect(self) -> MyDataCache:
                return MyDataCache(...)
    """

    def connect(self) -> BaseDataCache:
        """Return a cache that is not open. Called again in the same test, one more for the same place."""
        raise NotImplementedError(f"{type(self).__name__} must say how to connect")

    @asynccontextmanager
    async def opened_cache(self) -> AsyncGenerator[BaseDataCache, None]:
        """Open the cache for the length of a ``with`` block."""
        async with self.opened() as cache:
            assert isinstance(cache, BaseDataCache)
            yield cache

    async def test_what_was_never_there_is_not_cached(self) -> None:
        """Asking about an unknown group answers no, and asking does not make it known."""
        async with self.opened_cache() as cache:
            for _ in range(2):
                assert await cache.is_cached("a") is False
                assert await cache.is_cached("a", "x") is False
            assert await cache.load(["a"]) == {}

    async def test_what_was_committed_is_cached(self) -> None:
        """A group that holds rows is cached, and so is each of its rows by name."""
        async with self.opened_cache() as cache:
            await send(cache, "a", None, {"x": "1", "y": "1"})
            assert await cache.is_cached("a") is True
            assert [await cache.is_cached("a", name) for name in ("x", "y", "z", "")] == [True, True, False, False]
            assert await cache.is_cached("b") is False

    async def test_only_strings_can_be_cached(self) -> None:
        """To ask for anything else is a mistake of the caller's, said as one."""
        async with self.opened_cache() as cache:
            mistakes: list[tuple[Any, ...]] = [(3,), (b"a",), (None,), ("a", 3)]
            for asked in mistakes:
                with pytest.raises(TypeError, match="must be a string"):
                    await cache.is_cached(*asked)

    async def test_what_was_dropped_is_not_cached(self) -> None:
        """A dropped row is not cached any more, nor a group that lost all rows, nor one that was removed or flushed."""
        async with self.opened_cache() as cache:
            await send(cache, "a", None, {"x": "1", "y": "1"}, seen=(event_id(1),))
            await send(cache, "a", FIRST, drops=("x",))
            assert [await cache.is_cached("a", name) for name in ("x", "y")] == [False, True]
            await send(cache, "a", Revision(INCARNATION, 2), drops=("y",))
            assert await cache.is_cached("a") is False
            await send(cache, "b", None, {"x": "1"})
            await send(cache, "b", FIRST, drops=("x",), removes=True)
            assert await cache.is_cached("b") is False
            await send(cache, "c", None, {"x": "1"})
            await cache.flush()
            assert await cache.is_cached("c") is False
            assert await cache.is_cached("c", "x") is False
