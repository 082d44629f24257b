"""What a store promises beyond keeping records: to last, and to follow a cache."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from milepost.data_stores.base import BaseDataStore
from milepost.errors import StoreLeased
from milepost.records import Committed, Conflict, Revision
from milepost.testing.suites.following import FollowingSuite
from milepost.testing.suites.looking_up import LookupSuite
from milepost.testing.suites.material import (
    DEFINITION,
    INCARNATION,
    SOME_DEFINITIONS,
    Reading,
    change_to,
    event_id,
    events_of,
    outbox_ids,
    read,
    send,
    texts,
)
from milepost.testing.suites.records import RecordSuite

__all__ = ["DataStoreSuite"]


class DataStoreSuite(FollowingSuite, LookupSuite, RecordSuite):
    """What every data store promises.

    ::

        class TestMyDataStore(DataStoreSuite):
            lasting = shared = leased = True

            def connect(self) -> MyDataStore:
                return MyDataStore(...)
    """

    leased = False
    """Whether ``lease`` keeps others out."""

    def connect(self) -> BaseDataStore:
        """Return a store that is not open. Called again in the same test, one more for the same place."""
        raise NotImplementedError(f"{type(self).__name__} must say how to connect")

    async def test_what_it_says_of_itself(self) -> None:
        """A store that lasts says so."""
        assert self.connect().lasting or not self.lasting

    async def test_everything_lasts(self) -> None:
        """After ``aclose`` and ``open`` rows, event ids, deadlines, events, definitions and the epoch are there."""
        self.require_lasting()
        async with self.opened() as store:
            await store.flush()
            await store.put_definitions(SOME_DEFINITIONS)
            epoch = await store.epoch()
            await send(
                store,
                "a",
                None,
                {"x": "1"},
                deadline=2e9,
                serial=4,
                seen=(event_id(1), event_id(2)),
                events=events_of("1"),
            )
        async with self.opened() as store:
            revision = Revision(INCARNATION, 1)
            assert await read(store, "a") == Reading(revision, texts({"x": "1"}), (event_id(1), event_id(2)), 4, 2e9)
            assert await store.definitions([DEFINITION]) == SOME_DEFINITIONS
            assert await outbox_ids(store) == ["1"]
            assert (await store.epoch(), await store.next_deadline()) == (epoch, 2e9)
            await send(store, "a", revision, {"x": "2"}, events=events_of("2"))
            assert await outbox_ids(store) == ["1", "2"]

    async def test_what_was_saved_lasts(self) -> None:
        """What a cache was told is saved is there after ``aclose`` and ``open``."""
        self.require_lasting()
        revision = Revision(INCARNATION, 6)
        async with self.opened_store() as store:
            await store.save([change_to("a", revision, {"x": "1"}, seen=(event_id(1),), events=events_of("1"))])
        async with self.opened() as reopened:
            assert await read(reopened, "a") == Reading(revision, texts({"x": "1"}), (event_id(1),))
            assert await outbox_ids(reopened) == ["1"]

    async def test_an_older_window_is_cut_to_size(self) -> None:
        """Opened with a smaller window, a record remembers no more than that from its next event on."""
        self.require_lasting()
        ids = tuple(event_id(n) for n in range(6))
        async with self.opened() as store:
            await send(store, "a", None, {"x": "1"}, seen=ids[:5])
        async with self.opened(window=3) as store:
            assert isinstance(await send(store, "a", Revision(INCARNATION, 1), seen=ids[5:]), Committed)
            assert (await read(store, "a")).seen == ids[-3:]

    @asynccontextmanager
    async def _two_stores(self) -> AsyncGenerator[tuple[BaseDataStore, BaseDataStore], None]:
        if not self.leased:
            pytest.skip("it keeps nobody out")
        async with self.opened_twice() as (one, other):
            assert isinstance(one, BaseDataStore)
            assert isinstance(other, BaseDataStore)
            yield one, other

    async def test_one_alone_keeps_others_out(self) -> None:
        """While one has the store alone nobody else can hold it; when it is closed others can."""
        async with self._two_stores() as (one, other):
            await one.lease(exclusive=True)
            for exclusive in (True, False):
                with pytest.raises(StoreLeased):
                    await other.lease(exclusive=exclusive)
            await one.aclose()
            await other.lease(exclusive=True)

    async def test_several_keep_one_alone_out(self) -> None:
        """Several hold a store together; nobody gets it alone while they do, and a refusal costs them nothing."""
        async with self._two_stores() as (one, other):
            await one.lease(exclusive=False)
            await other.lease(exclusive=False)
            third = self.connect()
            await third.open(self.clock(), 256)
            try:
                with pytest.raises(StoreLeased):
                    await third.lease(exclusive=True)
                await one.aclose()
                with pytest.raises(StoreLeased):
                    await third.lease(exclusive=True)
                await other.aclose()
                await third.lease(exclusive=True)
            finally:
                await third.aclose()

    async def test_a_saved_record_is_an_ordinary_one(self) -> None:
        """A store that followed a cache can decide commits itself: what was saved is the base that stands."""
        revision = Revision(INCARNATION, 3)
        async with self.opened_store() as store:
            await store.save([change_to("a", revision, {"x": "1", "y": "1"}, serial=2)])
            assert isinstance(await send(store, "a", None, {"x": "2"}), Conflict)
            assert isinstance(await send(store, "a", revision, {"x": "2"}, serial=2), Committed)
            now = await read(store, "a")
            assert now == Reading(Revision(INCARNATION, 4), texts({"x": "2", "y": "1"}), (), 2)
