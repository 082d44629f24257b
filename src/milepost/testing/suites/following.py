"""Stores that follow a cache: ``save`` takes what changed, and never the past."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from milepost.data_stores.base import BaseDataStore, RecordChange
from milepost.records import CacheMark, Conflict, Record, Revision, Standing
from milepost.testing.suites.material import (
    ABSENT,
    DEFINITION,
    INCARNATION,
    Reading,
    change_to,
    commit_to,
    event_id,
    events_of,
    merged,
    outbox_ids,
    read,
    reading_of_record,
    send,
    texts,
)
from milepost.testing.suites.opening import AdapterSuite
from milepost.testing.suites.properties import BODIES, KEY, properties, property_texts

__all__ = ["FollowingSuite"]


def at(counter: int, incarnation: int = INCARNATION) -> Revision:
    """Return a revision."""
    return Revision(incarnation, counter)


class FollowingSuite(AdapterSuite):
    """What ``save`` promises."""

    @asynccontextmanager
    async def opened_store(self) -> AsyncGenerator[BaseDataStore, None]:
        """Open the store for the length of a ``with`` block."""
        async with self.opened() as store:
            assert isinstance(store, BaseDataStore)
            yield store

    async def test_properties_that_changed_are_there(self) -> None:
        """A subject's rows need no definition when they are saved, either."""
        async with self.opened_store() as store:
            await store.flush()
            change = change_to(KEY, at(4), definitions={})
            await store.save([replace(change, puts=properties(BODIES))])
            change = change_to(KEY, at(5), definitions={}, drops=("p:nested",))
            await store.save([replace(change, puts=properties({"p:name": "Grace"}))])
            rest = {name: body for name, body in BODIES.items() if name != "p:nested"}
            now = await read(store, KEY)
            assert now.rows == property_texts({**rest, "p:name": "Grace"})
            assert now.revision == at(5)

    async def test_what_changed_is_there(self) -> None:
        """Rows, event ids, deadline, serial number, events and definitions are written under their revision."""
        async with self.opened_store() as store:
            change = change_to(
                "a",
                at(4),
                {"x": "1", "y": "1"},
                "n" * 22,
                serial=2,
                deadline=2e9,
                seen=(event_id(2), event_id(1)),
                events=events_of("1", "2"),
                definitions={"n" * 22: "text"},
            )
            await store.save([change, change_to("b", at(1), {"x": "1"})])
            assert await read(store, "a") == Reading(
                at(4), texts({"x": "1", "y": "1"}, "n" * 22), (event_id(2), event_id(1)), 2, 2e9
            )
            assert sorted([key async for key in store.keys("*")]) == ["a", "b"]
            assert await store.definitions(["n" * 22]) == {"n" * 22: "text"}
            assert (await store.next_deadline(), await store.due(2e9)) == (2e9, ["a"])
            assert await outbox_ids(store) == ["1", "2"]

    async def test_changes_add_up(self) -> None:
        """A later change names only what is new; the other rows stay, dropped ones go, event ids are replaced."""
        async with self.opened_store() as store:
            await store.save([change_to("a", at(1), {"x": "1", "y": "1", "z": "1"}, seen=(event_id(1),), deadline=1e9)])
            await store.save([change_to("a", at(2), {"x": "2"})])
            await store.save(
                [change_to("a", at(7), {"y": "7", "new": "7"}, drops=("z",), seen=(event_id(1), event_id(2)), serial=9)]
            )
            assert await read(store, "a") == Reading(
                at(7), texts({"x": "2", "y": "7", "new": "7"}), (event_id(1), event_id(2)), 9, None
            )
            assert await store.next_deadline() is None

    @pytest.mark.parametrize("late", [at(5), at(4), at(9, INCARNATION - 1)], ids=["same", "older", "earlier life"])
    async def test_the_past_never_overwrites(self, late: Revision) -> None:
        """A change of the same or an older revision writes nothing, whatever it holds, and its events come once."""
        async with self.opened_store() as store:
            await store.save([change_to("a", at(5), {"x": "5"}, seen=(event_id(5),), events=events_of("5"))])
            before = await read(store, "a")
            for fields in ({}, {"whole": True}, {"removed": True, "whole": True}, {"drops": ("x",)}):
                past: dict[str, Any] = {"seen": (event_id(4),), "events": events_of("late"), "deadline": 1e9, **fields}
                await store.save([change_to("a", late, {"x": "late", "z": "late"}, **past)])
                assert await read(store, "a") == before
            assert await outbox_ids(store) == ["5"]
            assert await store.next_deadline() is None

    async def test_one_late_change_does_not_hold_up_the_others(self) -> None:
        """In one call some changes are late, and the others are written."""
        async with self.opened_store() as store:
            await store.save([change_to("a", at(5), {"x": "5"})])
            await store.save(
                [
                    change_to("before", at(1), {"x": "1"}),
                    change_to("a", at(4), {"x": "4"}),
                    change_to("after", at(1), {"x": "1"}),
                ]
            )
            assert sorted([key async for key in store.keys("*")]) == ["a", "after", "before"]
            assert (await read(store, "a")).rows == texts({"x": "5"})

    async def test_a_whole_record_replaces_what_was_there(self) -> None:
        """Rows that a whole record does not have are gone."""
        async with self.opened_store() as store:
            await store.save([change_to("a", at(1), {"x": "1", "y": "1"}, seen=(event_id(1),))])
            await store.save([change_to("a", at(2), {"x": "2"}, whole=True)])
            assert await read(store, "a") == Reading(at(2), texts({"x": "2"}))

    async def test_another_life_replaces_what_was_there(self) -> None:
        """Under a later incarnation nothing of the earlier one is left, also where the counter is lower."""
        async with self.opened_store() as store:
            await store.save([change_to("a", at(9), {"x": "9", "y": "9"}, seen=(event_id(1),), deadline=1e9)])
            await store.save([change_to("a", at(1, INCARNATION + 1), {"x": "1"})])
            assert await read(store, "a") == Reading(at(1, INCARNATION + 1), texts({"x": "1"}))
            assert await store.next_deadline() is None

    async def test_a_removed_record_is_gone(self) -> None:
        """Its rows, event ids and deadline are gone and its events there; it can be made again."""
        async with self.opened_store() as store:
            await store.save([change_to("a", at(1), {"x": "1"}, seen=(event_id(1),), deadline=1e9)])
            await store.save([change_to("a", at(2), removed=True, whole=True, events=events_of("gone"))])
            assert await read(store, "a") == ABSENT
            assert [key async for key in store.keys("*")] == []
            assert (await store.next_deadline(), await outbox_ids(store)) == (None, ["gone"])
            await store.save([change_to("a", at(1, INCARNATION + 1), {"y": "1"}, whole=True)])
            assert await read(store, "a") == Reading(at(1, INCARNATION + 1), texts({"y": "1"}))

    async def test_removing_what_was_never_saved(self) -> None:
        """A record that came and went between two saves leaves its events and nothing else."""
        async with self.opened_store() as store:
            events = events_of("came", "went")
            await store.save([change_to("a", at(2), removed=True, whole=True, events=events)])
            assert await read(store, "a") == ABSENT
            assert await outbox_ids(store) == ["came", "went"]
            await store.save([])

    @pytest.mark.parametrize("saved_before", [True, False], ids=["of a saved record", "of one never saved"])
    async def test_a_removal_is_not_overtaken_by_the_past(self, saved_before: bool) -> None:
        """What comes late of a record that was removed brings nothing back, and its events come once."""
        async with self.opened_store() as store:
            if saved_before:
                await store.save([change_to("a", at(1), {"x": "1"}, deadline=1e9)])
            removal = change_to("a", at(3), removed=True, whole=True, events=events_of("gone"))
            await store.save([removal])
            for late in (change_to("a", at(2), {"x": "2"}, deadline=1e9, events=events_of("late")), removal):
                await store.save([late])
                assert await read(store, "a") == ABSENT
            assert [key async for key in store.keys("*")] == []
            assert (await store.next_deadline(), await outbox_ids(store)) == (None, ["gone"])

    async def test_a_removal_is_remembered_across_restarts(self) -> None:
        """A process that dies between a removal and what it overtook leaves a store that still knows better."""
        self.require_lasting()
        async with self.opened_store() as store:
            await store.save([change_to("a", at(3), removed=True, whole=True)])
        async with self.opened_store() as store:
            await store.save([change_to("a", at(2), {"x": "2"})])
            assert await read(store, "a") == ABSENT

    async def test_the_past_stays_out_of_the_next_life(self) -> None:
        """A record made again is not touched by what comes late of its earlier life, nor brought back when it went."""
        async with self.opened_store() as store:
            await store.save([change_to("a", at(3), removed=True, whole=True)])
            await store.save([change_to("a", at(1, INCARNATION + 1), {"x": "new"}, whole=True)])
            await store.save([change_to("a", at(2), {"x": "late"})])
            assert await read(store, "a") == Reading(at(1, INCARNATION + 1), texts({"x": "new"}))
            await store.save([change_to("a", at(2, INCARNATION + 1), removed=True, whole=True)])
            await store.save([change_to("a", at(9), {"x": "late"})])
            await store.save([change_to("a", at(1, INCARNATION + 1), {"x": "late"})])
            assert await read(store, "a") == ABSENT

    async def test_where_records_stand(self) -> None:
        """It tells where it has records and where it knows of removals, without reading rows."""
        async with self.opened_store() as store:
            await store.save([change_to("a", at(3), {"x": "1"}), change_to("b", at(2), {"x": "1"})])
            await store.save([change_to("b", at(4), removed=True, whole=True)])
            await store.save([change_to("c", at(7), removed=True, whole=True)])
            await store.save([change_to("c", at(1, INCARNATION + 1), {"x": "1"}, whole=True)])
            many = [f"nobody{n}" for n in range(1200)]
            assert await store.standings(["a", "b", "c", *many]) == {
                "a": Standing(at(3), False),
                "b": Standing(at(4), True),
                "c": Standing(at(1, INCARNATION + 1), False),
            }
            await store.flush()
            assert await store.standings(["a", "b", "c"]) == {}
            assert await store.standings([]) == {}

    async def test_what_it_knows_of_the_cache(self) -> None:
        """The highest epoch and generation that it was told of are kept, through a flush too."""
        async with self.opened_store() as store:
            assert await store.cache_mark() is None
            await store.mark_cache(CacheMark(2**51, 3))
            await store.mark_cache(CacheMark(2**51 + 7, 2))
            await store.mark_cache(CacheMark(5, 0))
            assert await store.cache_mark() == CacheMark(2**51 + 7, 3)
            await store.flush()
            assert await store.cache_mark() == CacheMark(2**51 + 7, 3)

    async def test_what_it_knows_of_the_cache_lasts(self) -> None:
        """A process that comes later is told of it."""
        self.require_lasting()
        async with self.opened_store() as store:
            await store.mark_cache(CacheMark(2**51, 3))
        async with self.opened_store() as store:
            assert await store.cache_mark() == CacheMark(2**51, 3)

    async def test_definitions_of_saved_rows_are_known_to_commits(self) -> None:
        """What came with a save need not be put again before a commit names it."""
        async with self.opened_store() as store:
            await store.save([change_to("a", at(1), {"x": "1"}, "n" * 22, definitions={"n" * 22: "text"})])
            answer = await send(store, "b", None, {"x": "1"}, definition="n" * 22, definitions=("n" * 22, DEFINITION))
            assert not isinstance(answer, Conflict)
            assert (await read(store, "b")).rows == texts({"x": "1"}, "n" * 22)

    @pytest.mark.parametrize("seed", range(6))
    async def test_following_ends_where_the_cache_is(self, seed: int) -> None:
        """However often changes come again, the store is where the cache was; a conflict from there is current."""
        cache = _Leader(seed)
        async with self.opened_store() as store:
            epoch = await store.epoch()
            past: list[Reading] = []
            for _ in range(40):
                await store.save(cache.next_changes())
                for late in cache.again():
                    await store.save([late])
                now = reading_of_record(cache.record)
                assert await read(store, "a") == now, cache
                for replica in past:
                    if replica.revision != now.revision:
                        (answer,) = await store.commit([commit_to("a", replica.revision, {"lost": "1"}, epoch=epoch)])
                        assert isinstance(answer, Conflict), cache
                        assert merged(replica, answer.now) == now, f"{cache}: from {replica}"
                past = [*past, now][-8:]


class _Leader:
    """A record in a cache that changes at random, told to the store every few steps, sometimes twice."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._step = 0
        self._told: list[RecordChange] = []
        self.record = Record("a", 0)

    def __repr__(self) -> str:
        return f"leader {self._seed}, step {self._step}"

    def next_changes(self) -> list[RecordChange]:
        """Change the record a few times, and return what the store is told of it."""
        record, chance = self.record, self._random
        if record.counter and chance.random() < 0.1:
            removed = Revision(record.incarnation, record.counter + 1)
            record.apply(commit_to("a", record.revision, epoch=1, removes=True), 5)
            return [change_to("a", removed, removed=True, whole=True)]
        before = dict(record.rows)
        begins = not record.counter
        for _ in range(chance.randint(1, 4)):
            self._change()
        puts = {name: row.body for name, row in record.rows.items() if before.get(name) is not row}
        change = change_to(
            "a",
            record.revision or Revision(0, 0),
            {name: row.body for name, row in record.rows.items()} if begins else puts,
            drops=tuple(name for name in before if name not in record.rows),
            whole=begins,
            seen=tuple(record.seen or ()),
            serial=record.serial,
            deadline=record.deadline,
        )
        self._told.append(change)
        return [change]

    def again(self) -> list[RecordChange]:
        """Return some changes that the store was told before."""
        return self._random.sample(self._told, min(len(self._told), 2))

    def _change(self) -> None:
        self._step += 1
        record, chance = self.record, self._random
        base = record.revision
        names = [f"row {n}" for n in range(5)]
        puts = dict.fromkeys(chance.sample(names, chance.randint(1, 2)), f"{self._step}")
        there = [name for name in record.rows if name not in puts]
        record.apply(
            commit_to(
                "a",
                base,
                puts,
                epoch=1,
                incarnation=INCARNATION + self._step if base is None else None,
                drops=tuple(chance.sample(there, min(len(there), chance.randint(0, 1)))),
                seen=(event_id(self._step),) if chance.random() < 0.4 else (),
                serial=self._step,
                deadline=chance.choice((None, 1e9 + self._step)),
            ),
            5,
        )
