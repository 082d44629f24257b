"""Commits: whole or not at all, and only from the revision that stands."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.records import Committed, Conflict, Duplicate, NeedDefinitions, Revision, StaleEpoch
from milepost.testing.suites.material import (
    ABSENT,
    DEFINITION,
    INCARNATION,
    Reading,
    commit_to,
    event_id,
    events_of,
    outbox_ids,
    read,
    reading_of,
    send,
    texts,
)
from milepost.testing.suites.opening import AdapterSuite

__all__ = ["CommittingSuite", "RemovingSuite"]

FIRST = Revision(INCARNATION, 1)


class CommittingSuite(AdapterSuite):
    """What loads and commits promise."""

    async def test_what_was_never_written_is_absent(self) -> None:
        """Records that do not exist are absent from what is loaded."""
        async with self.opened() as records:
            assert await records.load(["nobody", "nothing"]) == {}
            assert await records.load([]) == {}

    async def test_what_was_committed_is_loaded_whole(self) -> None:
        """A record comes back with its rows, revision, serial number, deadline and event ids."""
        async with self.opened() as records:
            seen = (event_id(1), event_id(2))
            answer = await send(records, "a", None, {"x": "1", "y": "2"}, serial=7, deadline=2e9, seen=seen)
            assert answer == Committed()
            loaded = (await records.load(["a", "b"]))["a"]
            assert loaded.whole
            assert reading_of(loaded) == Reading(FIRST, texts({"x": "1", "y": "2"}), seen, 7, 2e9)

    async def test_a_commit_puts_and_drops_rows(self) -> None:
        """Rows that a commit does not name stay; the counter goes up by one."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1", "y": "1", "z": "1"}, serial=3)
            await send(records, "a", FIRST, {"y": "2", "new": "2"}, drops=("z",), serial=4)
            now = await read(records, "a")
            assert now == Reading(Revision(INCARNATION, 2), texts({"x": "1", "y": "2", "new": "2"}), (), 4, None)

    async def test_base_none_must_not_exist(self) -> None:
        """A record is begun once; the second to begin it is told everything about the first."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"}, serial=1)
            answer = await send(records, "a", None, {"x": "2"}, serial=1, incarnation=INCARNATION + 5)
            assert isinstance(answer, Conflict)
            assert answer.now.whole
            assert reading_of(answer.now) == await read(records, "a") == Reading(FIRST, texts({"x": "1"}), (), 1)

    async def test_a_base_that_does_not_exist_conflicts(self) -> None:
        """A commit onto a record that is gone is refused, and told that there is nothing."""
        async with self.opened() as records:
            answer = await send(records, "a", FIRST, {"x": "1"})
            assert isinstance(answer, Conflict)
            assert answer.now.whole
            assert reading_of(answer.now) == await read(records, "a") == ABSENT

    @pytest.mark.parametrize(
        "base",
        [
            Revision(INCARNATION, 1),
            Revision(INCARNATION, 3),
            Revision(INCARNATION - 1, 2),
            Revision(INCARNATION + 1, 2),
            Revision(0, 2),
        ],
        ids=["older", "newer", "earlier life", "later life", "no life"],
    )
    async def test_only_the_equal_base_stands(self, base: Revision) -> None:
        """A base revision stands only when both its parts are equal; others are told what makes them current."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1", "old": "1"}, serial=2)
            await send(records, "a", FIRST, {"x": "2"}, serial=2)
            before = await read(records, "a")
            answer = await send(records, "a", base, {"x": "3"}, events=events_of("lost"))
            assert isinstance(answer, Conflict)
            assert await read(records, "a") == before
            assert answer.now.state.revision == Revision(INCARNATION, 2)
            if base != FIRST:
                assert answer.now.whole, "this base has nothing in common with what is there"
            assert reading_of(answer.now).rows.items() >= texts({"x": "2"}).items()
            assert await outbox_ids(records) == []

    async def test_a_batch_of_many_records(self) -> None:
        """A thousand records are committed in one call and loaded in another."""
        keys = [f"group {n}" for n in range(1000)]
        async with self.opened() as records:
            epoch = await records.epoch()
            answers = await records.commit([commit_to(key, None, {"x": key}, epoch=epoch) for key in keys])
            assert answers == [Committed()] * 1000
            loaded = await records.load(keys)
            assert {key: reading_of(loaded[key]).rows for key in keys} == {key: texts({"x": key}) for key in keys}

    async def test_a_batch_has_independent_outcomes(self) -> None:
        """In one batch some commits are refused, each for its own reason, and the others applied."""
        async with self.opened() as records:
            epoch = await records.epoch()
            await send(records, "taken", None, {"x": "1"})
            await send(records, "seen", None, {"x": "1"}, seen=(event_id(1),))
            answers = await records.commit(
                [
                    commit_to("new", None, {"x": "1"}, epoch=epoch, events=events_of("e1")),
                    commit_to("taken", None, {"x": "2"}, epoch=epoch, events=events_of("no")),
                    commit_to("late", None, {"x": "2"}, epoch=epoch - 1, events=events_of("no")),
                    commit_to("seen", FIRST, {"x": "2"}, epoch=epoch, seen=(event_id(1),), events=events_of("no")),
                    commit_to("unknown", None, {"x": "2"}, epoch=epoch, definition="?" * 22, events=events_of("no")),
                    commit_to("asks", None, epoch=epoch),
                    commit_to("last", None, {"x": "1"}, epoch=epoch, events=events_of("e2")),
                ]
            )
            kinds = [type(answer) for answer in answers]
            assert kinds == [Committed, Conflict, StaleEpoch, Duplicate, NeedDefinitions, Committed, Committed]
            assert await outbox_ids(records) == ["e1", "e2"]
            assert sorted([key async for key in records.keys("*")]) == ["last", "new", "seen", "taken"]
            assert (await read(records, "taken")).rows == (await read(records, "seen")).rows == texts({"x": "1"})

    @pytest.mark.parametrize("reason", ["conflict", "duplicate", "definitions", "epoch"])
    async def test_a_refused_commit_leaves_nothing(self, reason: str) -> None:
        """Whatever it is refused for, nothing of a commit is there: no row, event id, event, deadline or drop."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1", "y": "1"}, seen=(event_id("known"),), deadline=5e9, serial=2)
            before = await read(records, "a")
            faults: dict[str, dict[str, Any]] = {
                "conflict": {"base": Revision(INCARNATION, 9)},
                "duplicate": {"seen": (event_id("new"), event_id("known"))},
                "definitions": {"definitions": (DEFINITION, "?" * 22)},
                "epoch": {"epoch": await records.epoch() + 1},
            }
            fields: dict[str, Any] = {
                "base": FIRST,
                "bodies": {"x": "2", "z": "2"},
                "drops": ("y",),
                "events": events_of("never"),
                "seen": (event_id("new"),),
                "deadline": 1e9,
                "serial": 3,
            }
            answer = await send(records, "a", **{**fields, **faults[reason]})
            assert not isinstance(answer, Committed)
            assert await read(records, "a") == before
            assert await outbox_ids(records) == []
            assert await records.next_deadline() == 5e9
            assert isinstance(await send(records, "a", **fields), Committed), "nothing of it is in the way"

    async def test_a_commit_that_changes_nothing_checks_its_base(self) -> None:
        """It is committed where its base stands, without a new revision, and conflicts where it does not."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"})
            assert isinstance(await send(records, "a", FIRST, id=b""), Committed)
            assert isinstance(await send(records, "nobody", None, id=b""), Committed)
            late = await send(records, "a", None, id=b"")
            early = await send(records, "nobody", FIRST, id=b"")
            assert isinstance(late, Conflict)
            assert reading_of(late.now) == Reading(FIRST, texts({"x": "1"}))
            assert isinstance(early, Conflict)
            assert reading_of(early.now) == ABSENT
            assert isinstance(await send(records, "a", FIRST, id=b"", epoch=await records.epoch() + 1), StaleEpoch)
            assert await records.load(["nobody"]) == {}
            assert (await read(records, "a")).revision == FIRST

    async def test_definitions_come_before_rows(self) -> None:
        """A commit that names unknown definitions is told which; once they are there it is applied."""
        async with self.opened() as records:
            fields: dict[str, Any] = {"definitions": (DEFINITION, "n" * 22, "m" * 22)}
            answer = await send(records, "a", None, {"x": "1"}, **fields)
            assert answer == NeedDefinitions(frozenset({"n" * 22, "m" * 22}))
            await records.put_definitions({"n" * 22: "[1]", "m" * 22: '{"text":"\\u00e9"}'})
            assert isinstance(await send(records, "a", None, {"x": "1"}, **fields), Committed)
            found = await records.definitions(["n" * 22, "m" * 22, "?" * 22])
            assert found == {"n" * 22: "[1]", "m" * 22: '{"text":"\\u00e9"}'}

    async def test_a_known_definition_stays_as_it_is(self) -> None:
        """Definitions are put once: the text that is kept under a hash never changes."""
        async with self.opened() as records:
            await records.put_definitions({"n" * 22: "first"})
            await records.put_definitions({"n" * 22: "second", "m" * 22: "third"})
            assert await records.definitions(["n" * 22, "m" * 22]) == {"n" * 22: "first", "m" * 22: "third"}
            await records.put_definitions({})


class RemovingSuite(AdapterSuite):
    """What becomes of records that go away."""

    async def test_a_removed_record_is_gone(self) -> None:
        """It cannot be loaded, is not among the keys, is not due; its event stays."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"}, deadline=1e9, seen=(event_id(1),))
            await send(records, "a", FIRST, drops=("x",), removes=True, events=events_of("gone"))
            assert await read(records, "a") == ABSENT
            assert [key async for key in records.keys("*")] == []
            assert await records.due(3e9) == []
            assert await records.next_deadline() is None
            assert await outbox_ids(records) == ["gone"]

    async def test_what_is_made_again_is_another(self) -> None:
        """A record that is made again has the higher incarnation it asked for; nothing of its past comes with it."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1", "y": "1"}, seen=(event_id(1),), serial=5, deadline=1e9)
            await send(records, "a", FIRST, drops=("x", "y"), removes=True)
            answer = await send(records, "a", None, {"x": "2"}, incarnation=INCARNATION + 3, seen=(event_id(1),))
            assert isinstance(answer, Committed)
            again = await read(records, "a")
            assert again == Reading(Revision(INCARNATION + 3, 1), texts({"x": "2"}), (event_id(1),), 0, None)

    async def test_a_stale_base_cannot_reach_what_was_made_again(self) -> None:
        """Equal counters do not make equal revisions: the base of an earlier life conflicts, and is told all."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1", "y": "1"})
            await send(records, "a", FIRST, drops=("x", "y"), removes=True)
            await send(records, "a", None, {"x": "2"}, incarnation=INCARNATION + 1)
            answer = await send(records, "a", FIRST, {"y": "stale"})
            assert isinstance(answer, Conflict)
            assert answer.now.whole
            assert reading_of(answer.now) == await read(records, "a")
            assert (await read(records, "a")).rows == texts({"x": "2"})

    async def test_a_base_that_was_removed_conflicts(self) -> None:
        """Who has not heard of the removal is told that nothing is there, and brings nothing back."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"})
            await send(records, "a", FIRST, drops=("x",), removes=True)
            answer = await send(records, "a", FIRST, {"x": "2"})
            assert isinstance(answer, Conflict)
            assert reading_of(answer.now) == await read(records, "a") == ABSENT
