"""Several clients at once, and clients that are cancelled."""

from __future__ import annotations

import asyncio
import random

from milepost.records import Authority, Committed, Conflict, Revision, StaleEpoch
from milepost.testing.suites.material import (
    ABSENT,
    INCARNATION,
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

__all__ = ["CancellationSuite", "RacingSuite"]

FIRST = Revision(INCARNATION, 1)


class RacingSuite(AdapterSuite):
    """Two clients of one place."""

    async def test_of_two_at_once_exactly_one_wins(self) -> None:
        """The other is told what the winner wrote; the loser's events are nowhere."""
        async with self.opened_twice() as clients:
            winners: list[str] = []
            for n in range(30):
                base = None if n == 0 else Revision(INCARNATION, n)
                answers = await asyncio.gather(
                    *(
                        send(client, "a", base, {"x": f"{n} {who}"}, events=events_of(f"{n} {who}"))
                        for who, client in enumerate(clients)
                    )
                )
                won = [who for who, answer in enumerate(answers) if isinstance(answer, Committed)]
                assert len(won) == 1, answers
                winners.append(f"{n} {won[0]}")
                lost = answers[1 - won[0]]
                assert isinstance(lost, Conflict)
                assert lost.now.state.revision == Revision(INCARNATION, n + 1)
                assert reading_of(lost.now).rows == texts({"x": winners[-1]})
            assert await outbox_ids(clients[0]) == winners

    async def test_every_increment_counts(self) -> None:
        """Two clients with several tasks each add to one record until each has had its turns: no addition is lost."""
        tasks, turns = 4, 10
        async with self.opened_twice() as clients:

            async def add(client: Authority) -> None:
                for _ in range(turns):
                    while True:
                        now = await read(client, "a")
                        total = len(now.seen) + 1
                        id = event_id(f"{now.revision} {random.random()}")
                        answer = await send(client, "a", now.revision, {"total": f"{total}"}, seen=(id,))
                        if isinstance(answer, Committed):
                            break
                        assert isinstance(answer, Conflict)

            await asyncio.gather(*(add(client) for client in clients for _ in range(tasks)))
            total = len(clients) * tasks * turns
            for client in clients:
                now = await read(client, "a")
                assert now.revision == Revision(INCARNATION, total)
                assert now.rows == texts({"total": f"{total}"})

    async def test_batches_that_overlap_in_any_order(self) -> None:
        """Batches over the same records in opposite orders neither block each other nor share a winner."""
        keys = [f"k{n}" for n in range(40)]
        async with self.opened_twice() as clients:
            epoch = await clients[0].epoch()
            answers = await asyncio.gather(
                *(
                    client.commit([commit_to(key, None, {"x": f"{who}"}, epoch=epoch) for key in order])
                    for who, (client, order) in enumerate(zip(clients, (keys, keys[::-1]), strict=True))
                )
            )
            for key, one, other in zip(keys, answers[0], reversed(answers[1]), strict=True):
                assert {type(one), type(other)} == {Committed, Conflict}, key
                winner = "0" if isinstance(one, Committed) else "1"
                assert (await read(clients[0], key)).rows == texts({"x": winner})

    async def test_what_one_was_told_is_done_the_other_sees(self) -> None:
        """Commits, definitions, removals and deadlines of one client are there for the other at once."""
        async with self.opened_twice() as (one, other):
            await one.put_definitions({"n" * 22: "text"})
            assert await other.definitions(["n" * 22]) == {"n" * 22: "text"}
            await send(one, "a", None, {"x": "1"}, deadline=2e9, events=events_of("1"), definition="n" * 22)
            assert (await read(other, "a")).rows == texts({"x": "1"}, "n" * 22)
            assert [key async for key in other.keys("*")] == ["a"]
            assert (await other.next_deadline(), await other.due(2e9)) == (2e9, ["a"])
            assert await outbox_ids(other) == ["1"]
            await send(other, "a", FIRST, drops=("x",), removes=True)
            assert await read(one, "a") == ABSENT

    async def test_a_flush_reaches_the_other_client(self) -> None:
        """Who has not heard of a flush is refused, told the new epoch, and asked for definitions again."""
        async with self.opened_twice() as (one, other):
            epoch = await other.epoch()
            await send(other, "a", None, {"x": "1"})
            now = await one.flush()
            assert await send(other, "a", FIRST, {"x": "2"}, epoch=epoch) == StaleEpoch(now)
            assert await send(other, "b", None, {"x": "2"}, epoch=epoch) == StaleEpoch(now)
            answer = await send(other, "a", None, {"x": "2"})
            assert not isinstance(answer, Committed), "its definition is gone"
            assert await read(one, "a") == ABSENT


class CancellationSuite(AdapterSuite):
    """A caller that is cancelled at any moment."""

    async def test_a_cancelled_commit_is_whole_or_not_there(self) -> None:
        """Cancelled after any number of steps, a commit is applied with its event or not at all, and blocks nobody."""
        async with self.opened() as records:
            expected: list[str] = []
            base: Revision | None = None
            for steps in range(40):
                event = f"{steps}"
                sending = asyncio.ensure_future(
                    send(records, "a", base, {"x": event, "y": event}, events=events_of(event))
                )
                for _ in range(steps):
                    await asyncio.sleep(0 if steps % 2 else 0.0002)
                sending.cancel()
                await asyncio.wait([sending])
                now = await asyncio.wait_for(read(records, "a"), 10)
                if now.revision != base:
                    assert now.rows == texts({"x": event, "y": event})
                    expected.append(event)
                else:
                    assert sending.cancelled(), "what was acknowledged is there"
                assert await outbox_ids(records) == expected
                base = now.revision
            assert isinstance(await send(records, "a", base, {"x": "last"}), Committed)

    async def test_other_calls_go_on_after_a_cancelled_one(self) -> None:
        """Reads, writes and flushes that are cancelled anywhere leave nothing that the next call would wait for."""
        async with self.opened() as records:
            for steps in range(12):
                for call in (
                    records.load(["a"]),
                    records.put_definitions({f"{steps}".rjust(22): "text"}),
                    records.due(2e9),
                    records.outbox(),
                    records.flush(),
                ):
                    calling = asyncio.ensure_future(call)
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    calling.cancel()
                    await asyncio.wait([calling])
            await records.put_definitions({"d" * 22: "text"})
            assert isinstance(await asyncio.wait_for(send(records, "a", None, {"x": "1"}), 10), Committed)
