"""What can be asked of an adapter apart from single records: keys, deadlines, the outbox, the epoch."""

from __future__ import annotations

import pytest

from milepost.records import Authority, Committed, Revision, StaleEpoch
from milepost.testing.suites.material import (
    ABSENT,
    DEFINITION,
    INCARNATION,
    SOME_DEFINITIONS,
    commit_to,
    event_id,
    events_of,
    outbox_ids,
    read,
    send,
    texts,
)
from milepost.testing.suites.opening import AdapterSuite

__all__ = ["DeadlineSuite", "FlushSuite", "KeysSuite", "OutboxSuite"]

FIRST = Revision(INCARNATION, 1)


async def keys_of(records: Authority, pattern: str = "*") -> list[str]:
    """Return the keys that match, sorted; none comes twice."""
    found = [key async for key in records.keys(pattern)]
    assert len(found) == len(set(found)), "a key came twice"
    return sorted(found)


class KeysSuite(AdapterSuite):
    """Keys of records that hold rows."""

    async def test_keys_hold_rows(self) -> None:
        """Records that were never made, hold event ids alone, or lost their last row are not among the keys."""
        async with self.opened() as records:
            assert await keys_of(records) == []
            await send(records, "rows", None, {"x": "1"})
            await send(records, "ids", None, seen=(event_id(1),))
            await send(records, "emptied", None, {"x": "1"}, seen=(event_id(1),))
            await send(records, "emptied", FIRST, drops=("x",))
            await send(records, "removed", None, {"x": "1"})
            await send(records, "removed", FIRST, drops=("x",), removes=True)
            assert await keys_of(records) == ["rows"]
            assert [key async for key in records.keys()] == ["rows"], "all is the default"  # noqa: SIM118
            assert await keys_of(records, "emptied") == await keys_of(records, "ids") == []

    @pytest.mark.parametrize(
        ("pattern", "matching"),
        [
            ("*", ["a%c", "a[b]c", "a_c", "abc", "user:1", "user:2:x", "user:22"]),
            ("user:*", ["user:1", "user:2:x", "user:22"]),
            ("user:?", ["user:1"]),
            ("*:*:*", ["user:2:x"]),
            ("a?c", ["a%c", "a_c", "abc"]),
            ("a%c", ["a%c"]),
            ("a_c", ["a_c"]),
            ("a[b]c", ["a[b]c"]),
            ("a[b]?", ["a[b]c"]),
            ("A?C", []),
            ("ab", []),
            ("abc", ["abc"]),
            ("", []),
        ],
    )
    async def test_patterns(self, pattern: str, matching: list[str]) -> None:
        """``*`` is anything, ``?`` is one character, and every other character stands for itself."""
        async with self.opened() as records:
            epoch = await records.epoch()
            names = ["a%c", "a[b]c", "a_c", "abc", "user:1", "user:2:x", "user:22"]
            await records.commit([commit_to(name, None, {"x": "1"}, epoch=epoch) for name in names])
            assert await keys_of(records, pattern) == sorted(matching)

    async def test_many_keys(self) -> None:
        """Every key comes once, however many there are, also while records are changed and removed meanwhile."""
        async with self.opened() as records:
            epoch = await records.epoch()
            names = sorted(f"k{n}" for n in range(1200))
            await records.commit([commit_to(name, None, {"x": "1"}, epoch=epoch) for name in names])
            assert await keys_of(records) == names
            found = []
            async for key in records.keys("k1*"):
                found.append(key)
                await send(records, key, FIRST, {"x": "2"})
                if len(found) == 1:
                    await send(records, "k9", FIRST, drops=("x",), removes=True)
            assert sorted(found) == [name for name in names if name.startswith("k1")]


class DeadlineSuite(AdapterSuite):
    """The index of deadlines."""

    async def test_due_records_come_earliest_first(self) -> None:
        """Records are due from their deadline on; the earliest come first, and no more than asked for."""
        async with self.opened() as records:
            now = self.clock().time()
            for key, seconds in (("a", 30), ("c", 10), ("b", 20), ("never", None)):
                deadline = None if seconds is None else now + seconds
                await send(records, key, None, {"x": "1"}, deadline=deadline)
            assert await records.next_deadline() == now + 10
            assert await records.due(now + 9.5) == []
            assert await records.due(now + 10) == ["c"]
            assert await records.due(now + 25) == ["c", "b"]
            assert await records.due(now + 99) == ["c", "b", "a"]
            assert await records.due(now + 99, limit=2) == ["c", "b"]
            assert await records.due(now + 99) == ["c", "b", "a"], "asking changes nothing"

    async def test_a_deadline_moves_with_its_record(self) -> None:
        """The last commit says when a record is due, sooner, later or never."""
        async with self.opened() as records:
            now = self.clock().time()
            assert await records.next_deadline() is None
            await send(records, "a", None, {"x": "1"}, deadline=now + 50)
            await send(records, "a", FIRST, {"x": "2"}, deadline=now + 10)
            assert (await records.next_deadline(), await records.due(now + 10)) == (now + 10, ["a"])
            await send(records, "a", Revision(INCARNATION, 2), {"x": "3"}, deadline=now + 80)
            assert (await records.next_deadline(), await records.due(now + 79)) == (now + 80, [])
            await send(records, "a", Revision(INCARNATION, 3), {"x": "4"}, deadline=None)
            assert (await records.next_deadline(), await records.due(now + 99)) == (None, [])

    async def test_a_deadline_goes_with_its_record(self) -> None:
        """What was removed is not due, and what is made again has a deadline of its own."""
        async with self.opened() as records:
            now = self.clock().time()
            await send(records, "a", None, {"x": "1"}, deadline=now + 10)
            await send(records, "a", FIRST, drops=("x",), removes=True)
            assert (await records.next_deadline(), await records.due(now + 99)) == (None, [])
            await send(records, "a", None, {"x": "1"}, deadline=now + 20, incarnation=INCARNATION + 1)
            assert (await records.next_deadline(), await records.due(now + 19)) == (now + 20, [])


class OutboxSuite(AdapterSuite):
    """The outbox."""

    async def test_events_come_in_commit_order(self) -> None:
        """Across records and commits, and within one commit; positions only grow."""
        async with self.opened() as records:
            epoch = await records.epoch()
            await send(records, "a", None, {"x": "1"}, events=events_of("1", "2"))
            await records.commit(
                [
                    commit_to("z", None, {"x": "1"}, epoch=epoch, events=events_of("3")),
                    commit_to("b", None, {"x": "1"}, epoch=epoch, events=events_of("4", "5")),
                ]
            )
            await send(records, "a", FIRST, {"x": "1"}, events=events_of("6"))
            kept = await records.outbox()
            assert [text for _, text in kept] == [event.encoded() for event in events_of(*"123456")]
            positions = [position for position, _ in kept]
            assert positions == sorted(set(positions))
            assert positions[0] > 0

    async def test_events_are_read_on_from_a_position(self) -> None:
        """``after`` is where a reader stopped, ``limit`` how much it takes."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"}, events=events_of(*"123456"))
            kept = await records.outbox()
            assert await records.outbox(limit=2) == kept[:2]
            assert await records.outbox(after=kept[1][0], limit=3) == kept[2:5]
            assert await records.outbox(after=kept[-1][0]) == []

    async def test_events_alone_are_a_commit(self) -> None:
        """A commit may do nothing but append an event."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"})
            assert isinstance(await send(records, "a", FIRST, events=events_of("1")), Committed)
            assert (await read(records, "a")).revision == Revision(INCARNATION, 2)
            assert await outbox_ids(records) == ["1"]


class FlushSuite(AdapterSuite):
    """Deleting everything."""

    async def test_nothing_is_left(self) -> None:
        """Records, event ids, deadlines, definitions and events are gone."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"}, deadline=1e9, events=events_of("1"), seen=(event_id(1),))
            await records.flush()
            assert await read(records, "a") == ABSENT
            assert await keys_of(records) == []
            assert await records.outbox() == []
            assert await records.definitions([DEFINITION]) == {}
            assert (await records.next_deadline(), await records.due(3e9)) == (None, [])

    async def test_the_epoch_advances(self) -> None:
        """Each flush begins a later epoch, says which, and refuses what was computed before it."""
        async with self.opened() as records:
            epoch = await records.epoch()
            await send(records, "a", None, {"x": "1"})
            assert await records.flush() == await records.epoch() > epoch
            for base in (FIRST, None):
                answer = await send(records, "a", base, {"x": "past"}, epoch=epoch)
                assert answer == StaleEpoch(await records.epoch())
            assert await read(records, "a") == ABSENT
            assert await records.flush() == await records.epoch() > epoch + 1

    async def test_everything_begins_again(self) -> None:
        """After a flush records begin anew; nothing of before is remembered."""
        async with self.opened() as records:
            await send(records, "a", None, {"x": "1"}, seen=(event_id(1),))
            await records.flush()
            await records.put_definitions(SOME_DEFINITIONS)
            answer = await send(records, "a", None, {"x": "2"}, incarnation=INCARNATION + 1, seen=(event_id(1),))
            assert isinstance(answer, Committed)
            assert await read(records, "a") == (
                Revision(INCARNATION + 1, 1),
                texts({"x": "2"}),
                (event_id(1),),
                0,
                None,
            )
