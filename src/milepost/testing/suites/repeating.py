"""Commits that arrive twice because the reply to the first was lost, and event ids that come twice."""

from __future__ import annotations

from typing import ClassVar

from milepost.records import Authority, Commit, Committed, Conflict, Duplicate, Revision
from milepost.testing.suites.material import (
    ABSENT,
    INCARNATION,
    commit_to,
    event_id,
    events_of,
    outbox_ids,
    read,
    send,
    texts,
)
from milepost.testing.suites.opening import AdapterSuite

__all__ = ["DeduplicationSuite", "RepeatingSuite"]

FIRST = Revision(INCARNATION, 1)
SECOND = Revision(INCARNATION, 2)


class RepeatingSuite(AdapterSuite):
    """A commit that is sent twice applies once, and answers *committed* both times."""

    remembered_commits: ClassVar[int] = 12
    """How many other commits may follow on the same record before one is sent again."""

    async def test_sent_twice_in_a_row(self) -> None:
        """The second sending changes nothing."""
        async with self.opened() as records:
            epoch = await records.epoch()
            for commit in (
                commit_to("a", None, {"x": "1"}, epoch=epoch, events=events_of("e1"), seen=(event_id(1),)),
                commit_to("a", FIRST, {"x": "2"}, epoch=epoch, events=events_of("e2"), seen=(event_id(2),)),
            ):
                assert await records.commit([commit]) == [Committed()]
                once = await read(records, "a")
                assert await records.commit([commit]) == [Committed()]
                assert await read(records, "a") == once
            assert await outbox_ids(records) == ["e1", "e2"]

    async def test_sent_again_after_others_followed(self) -> None:
        """It is still known when others have changed the record meanwhile."""
        async with self.opened() as records:
            epoch = await records.epoch()
            first = commit_to("a", None, {"x": "0"}, epoch=epoch, events=events_of("first"))
            await records.commit([first])
            for n in range(1, 1 + self.remembered_commits):
                await send(records, "a", Revision(INCARNATION, n), {"x": f"{n}"})
            assert await records.commit([first]) == [Committed()]
            assert (await read(records, "a")).rows == texts({"x": f"{self.remembered_commits}"})
            assert await outbox_ids(records) == ["first"]

    async def test_a_batch_sent_again(self) -> None:
        """Of a batch that is sent again, what had been refused is decided anew, and the rest is not repeated."""
        async with self.opened() as records:
            epoch = await records.epoch()
            batch = [
                commit_to("a", None, {"x": "1"}, epoch=epoch, events=events_of("a")),
                commit_to("b", FIRST, {"x": "1"}, epoch=epoch, events=events_of("b")),
                commit_to("c", None, {"x": "1"}, epoch=epoch, events=events_of("c")),
            ]
            first = await records.commit(batch)
            assert [type(answer) for answer in first] == [Committed, Conflict, Committed]
            await send(records, "b", None, {"y": "1"})
            assert await records.commit(batch) == [Committed()] * 3
            assert await outbox_ids(records) == ["a", "c", "b"]

    async def test_a_removal_sent_twice(self) -> None:
        """It is known although the record has gone, and does not take the record that was made since."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"})
            removal = commit_to(
                "a", FIRST, epoch=await records.epoch(), drops=("x",), removes=True, events=events_of("gone")
            )
            assert await records.commit([removal]) == [Committed()]
            assert await records.commit([removal]) == [Committed()]
            await send(records, "a", None, {"x": "2"}, incarnation=INCARNATION + 1)
            assert await records.commit([removal]) == [Committed()]
            assert (await read(records, "a")).rows == texts({"x": "2"})
            assert await outbox_ids(records) == ["gone"]

    async def test_sent_again_after_the_record_was_removed(self) -> None:
        """What made or changed a record is known after its removal too, and does not bring it back."""
        async with self.opened() as records:
            changes = await _begun_changed_and_removed(records)
            for commit in changes:
                assert await records.commit([commit]) == [Committed()]
            assert await read(records, "a") == ABSENT
            assert await outbox_ids(records) == ["made", "changed"]

    async def test_sent_again_after_the_record_was_made_again(self) -> None:
        """What belonged to an earlier life is known, and does not touch the new one."""
        async with self.opened() as records:
            changes = await _begun_changed_and_removed(records)
            await send(records, "a", None, {"y": "1"}, incarnation=INCARNATION + 1)
            for commit in changes:
                assert await records.commit([commit]) == [Committed()]
            assert (await read(records, "a")).rows == texts({"y": "1"})
            assert await outbox_ids(records) == ["made", "changed"]

    async def test_two_commits_that_look_alike_are_two(self) -> None:
        """Only the id makes a commit the same: another one with the same content and base conflicts."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"})
            assert isinstance(await send(records, "a", None, {"x": "1"}), Conflict)
            assert isinstance(await send(records, "a", None, {"x": "1"}, id=b""), Conflict)

    async def test_known_after_a_restart(self) -> None:
        """A commit is known when the adapter was closed and opened between its two sendings."""
        self.require_lasting()
        async with self.opened() as records:
            commit = commit_to("a", None, {"x": "1"}, epoch=await records.epoch(), events=events_of("e"))
            await records.commit([commit])
        async with self.opened() as records:
            assert await records.commit([commit]) == [Committed()]
            assert await outbox_ids(records) == ["e"]
            assert (await read(records, "a")).revision == FIRST


async def _begun_changed_and_removed(records: Authority) -> list[Commit]:
    """Make a record, change it and remove it; return the commits that made and changed it."""
    epoch = await records.epoch()
    changes = [
        commit_to("a", None, {"x": "1"}, epoch=epoch, events=events_of("made")),
        commit_to("a", FIRST, {"x": "2"}, epoch=epoch, events=events_of("changed")),
    ]
    for commit in changes:
        assert await records.commit([commit]) == [Committed()]
    await send(records, "a", SECOND, drops=("x",), removes=True)
    return changes


class DeduplicationSuite(AdapterSuite):
    """Event ids that a record remembers."""

    async def test_a_known_id_refuses_the_commit_and_is_named(self) -> None:
        """The answer names the ids that are known, and only those."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"}, seen=(event_id(1), event_id(2)))
            answer = await send(records, "a", FIRST, {"x": "2"}, seen=(event_id(3), event_id(2)))
            assert answer == Duplicate(frozenset({event_id(2)}))
            assert (await read(records, "a")).seen == (event_id(1), event_id(2))

    async def test_ids_belong_to_their_record(self) -> None:
        """The same event id means another event in another record."""
        async with self.opened() as records:
            for key in ("a", "b"):
                assert isinstance(await send(records, key, None, {"x": "1"}, seen=(event_id(1),)), Committed)

    async def test_the_oldest_ids_make_room(self) -> None:
        """A record remembers the last ids of its window, in the order in which they came."""
        async with self.opened(window=4) as records:
            await send(records, "a", None, {"x": "1"}, seen=(event_id(1), event_id(2), event_id(3)))
            assert (await read(records, "a")).seen == (event_id(1), event_id(2), event_id(3))
            await send(records, "a", FIRST, seen=(event_id(4), event_id(5)))
            assert (await read(records, "a")).seen == (event_id(2), event_id(3), event_id(4), event_id(5))
            answer = await send(records, "a", SECOND, seen=(event_id(1),))
            assert isinstance(answer, Committed), "what has left the window is new again"
            assert (await read(records, "a")).seen == (event_id(3), event_id(4), event_id(5), event_id(1))

    async def test_more_ids_at_once_than_the_window_holds(self) -> None:
        """Of one commit's ids the last ones are remembered."""
        async with self.opened(window=4) as records:
            ids = tuple(event_id(n) for n in range(10))
            await send(records, "a", None, {"x": "1"}, seen=ids)
            assert (await read(records, "a")).seen == ids[-4:]

    async def test_ids_are_remembered_without_rows(self) -> None:
        """An event that moved nothing is known too: a record may hold nothing but its event ids."""
        async with self.opened() as records:
            assert isinstance(await send(records, "a", None, seen=(event_id(1),)), Committed)
            assert await read(records, "a") == (FIRST, {}, (event_id(1),), 0, None)
            assert [key async for key in records.keys("*")] == []
            assert [key async for key in records.keys("a")] == []
            assert await send(records, "a", FIRST, seen=(event_id(1),)) == Duplicate(frozenset({event_id(1)}))

    async def test_ids_travel_with_a_conflict(self) -> None:
        """Who lost a race learns the event ids that the others brought."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"}, seen=(event_id(1),))
            await send(records, "a", FIRST, {"x": "2"}, seen=(event_id(2),))
            answer = await send(records, "a", FIRST, {"x": "2"}, seen=(event_id(2),))
            assert isinstance(answer, Conflict)
            assert tuple(answer.now.seen) == (event_id(1), event_id(2))
