"""Stores that can be asked for records by their rows."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from milepost.data_stores.base import BaseDataStore
from milepost.lookups import LONGEST_TEXT, RowIndex, RowIs
from milepost.records import Committed, Revision
from milepost.testing.suites.material import INCARNATION, SuiteProperty, change_to, commit_to
from milepost.testing.suites.opening import AdapterSuite

__all__ = ["LookupSuite"]

ROWS = {
    "c:1": {"p:name": "a", "p:age": "1"},
    "c:2": {"p:name": "b", "p:age": "1"},
    "c:30": {"p:name": "a"},
    "c:4": {"p:name": "é\0", "e:name": "a", "p:age": "2"},
    "c": {"p:name": "a"},
    "c;": {"p:name": "a"},
    "d:1": {"p:name": "a", "p:age": "1"},
}


class Asked(BaseDataStore, RowIndex):
    """A store that can be asked, for type checkers."""


class LookupSuite(AdapterSuite):
    """What ``find`` promises."""

    @asynccontextmanager
    async def filled(self, rows: Mapping[str, Mapping[str, str]]) -> AsyncGenerator[Asked, None]:
        """Open the store with these records in it."""
        async with self.opened() as store:
            if not isinstance(store, RowIndex):
                pytest.skip("it cannot be asked by rows")
            await store.flush()
            epoch = await store.epoch()
            commits = [
                replace(
                    commit_to(key, epoch=epoch), puts={name: SuiteProperty(name, text) for name, text in own.items()}
                )
                for key, own in rows.items()
            ]
            assert all(isinstance(outcome, Committed) for outcome in await store.commit(commits))
            yield store  # type: ignore[misc]

    async def test_records_are_found_by_their_rows(self) -> None:
        """By one of several texts, by several rows, by a row that is there or is not; in order of their keys."""
        questions = {
            (): ["c:1", "c:2", "c:30", "c:4"],
            (RowIs("p:name", ("a",)),): ["c:1", "c:30"],
            (RowIs("p:name", ("a", "é\0")),): ["c:1", "c:30", "c:4"],
            (RowIs("p:name", ("a",)), RowIs("p:age", ("1",))): ["c:1"],
            (RowIs("p:name", ("a",)), RowIs("p:age", ("1",), True)): ["c:1", "c:30"],
            (RowIs("p:age", ("2",), True),): ["c:30", "c:4"],
            (RowIs("p:age", ()),): ["c:1", "c:2", "c:4"],
            (RowIs("p:age", ()), RowIs("p:name", ("a", "b"))): ["c:1", "c:2"],
            (RowIs("p:name", ("nobody",)),): [],
            (RowIs("p:nothing", ("a",)),): [],
        }
        async with self.filled(ROWS) as store:
            for question, answer in questions.items():
                assert [key async for key in store.find("c:", question)] == answer, question
            assert [key async for key in store.find("d:", [RowIs("p:name", ("a",))])] == ["d:1"]

    async def test_the_newest_is_found(self) -> None:
        """What was committed or saved is found as it is now, what was dropped, removed or flushed is not."""
        by_name = [RowIs("p:name", ("a",))]
        async with self.filled(ROWS) as store:
            epoch, base = await store.epoch(), Revision(INCARNATION, 1)
            now_b = {"p:name": SuiteProperty("p:name", "b")}
            await store.commit(
                [
                    replace(commit_to("c:1", base, epoch=epoch), puts=now_b),
                    commit_to("c:30", base, epoch=epoch, drops=("p:name",), removes=True),
                ]
            )
            assert [key async for key in store.find("c:", by_name)] == []
            change = change_to("c:2", Revision(INCARNATION, 5), definitions={})
            await store.save([replace(change, puts={"p:name": SuiteProperty("p:name", "a")})])
            assert [key async for key in store.find("c:", by_name)] == ["c:2"]
            await store.flush()
            assert [key async for key in store.find("c:", [])] == []
            assert [key async for key in store.find("c:", by_name)] == []

    async def test_many_are_found(self) -> None:
        """Thousands, page by page, and the few among them that are wanted; also next to texts that are too long."""
        chance = random.Random(7)
        rows = {
            f"c:{n:05}": {"p:odd": str(n % 2), "p:n": str(n), "p:long": "x" * chance.choice([1, 2 * LONGEST_TEXT])}
            for n in range(1500)
        }
        async with self.filled(rows) as store:
            keys = sorted(rows)
            assert [key async for key in store.find("c:", [])] == keys
            assert [key async for key in store.find("c:", [RowIs("p:odd", ("1",))])] == keys[1::2]
            assert [key async for key in store.find("c:", [RowIs("p:odd", ("1",), True)])] == keys[1::2]
            assert [key async for key in store.find("c:", [RowIs("p:odd", ("0",)), RowIs("p:n", ("7", "8"))])] == [
                keys[8]
            ]
