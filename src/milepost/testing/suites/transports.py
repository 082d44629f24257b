"""What every transport promises: streams, delays, leases, failed jobs; and the bus upon it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from milepost.bus.bus import EventBus
from milepost.bus.consuming import Pace
from milepost.bus.context import EventContext
from milepost.bus.envelope import Envelope
from milepost.bus.transports.base import BEGINNING, Consumer, Entry, FailedJob, Transport
from milepost.errors import OutboxFull
from milepost.events.types import Event
from milepost.retries import RetryPolicy
from milepost.testing.clocks import ManualClock

__all__ = ["TransportSuite", "eventually"]


async def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something holds that happens in its own time; fail when it does not."""
    until = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < until, "it did not come to that in time"
        await asyncio.sleep(0.002)


def event(id: str, type: str = "x", subject: str | None = "s", **data: Any) -> Envelope:
    """Return an event on its way."""
    return Envelope(id, type, subject, data, 1_700_000_000.0)


def ids(entries: Sequence[Entry]) -> list[str]:
    """Return the ids of what was read."""
    return [entry.envelope.id for entry in entries]


class TransportSuite:
    """What a transport must do. A subclass says how to :meth:`connect`.

    Tests are coroutines without a mark of their own: run them with pytest-asyncio in its auto mode,
    or mark the subclass ``pytest.mark.anyio``.
    """

    folder: Path
    """An empty folder of the test's own, for backends that keep files."""

    @pytest.fixture(autouse=True)
    def _prepare_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.clock = ManualClock()

    def connect(self, **settings: Any) -> Transport:
        """Return a transport that is not open; again in the same test, one more for the same place.

        Args:
            **settings: ``size``, how many events it keeps.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how to connect")

    @asynccontextmanager
    async def opened(self, **settings: Any) -> AsyncGenerator[Transport, None]:
        """Open a transport for the length of a ``with`` block."""
        transport = self.connect(**settings)
        await transport.open(self.clock)
        try:
            yield transport
        finally:
            await transport.aclose()

    @asynccontextmanager
    async def bus(self, transport: Transport | None = None, **settings: Any) -> AsyncGenerator[EventBus, None]:
        """Open a bus over a transport."""
        async with EventBus(transport or self.connect(), clock=self.clock, **settings) as bus:
            yield bus

    @staticmethod
    def everywhere(transport: Transport) -> dict[int, str]:
        """Return the beginning of each partition."""
        return dict.fromkeys(range(transport.partitions), BEGINNING)

    # --- the stream -----------------------------------------------------------------------

    async def test_what_is_appended_is_read_in_order(self) -> None:
        """Each subject's events are read back in the order in which they were appended, whole."""
        async with self.opened() as transport:
            sent = [event(f"{n}", "order.paid", f"s{n % 5}", n=n, nested={"list": [1, "é", None]}) for n in range(50)]
            sent[3].metadata = {"tenant": "t"}
            sent[4].change = {"name": "p", "old": 1, "new": 2}
            sent[5].caused_by(sent[4])
            assert await transport.append(sent) == [True] * 50
            batch = await transport.read(self.everywhere(transport), 1000)
            assert len(batch.entries) == 50
            for subject in range(5):
                mine = [entry.envelope for entry in batch.entries if entry.envelope.subject == f"s{subject}"]
                assert [one.data["n"] for one in mine] == list(range(subject, 50, 5))
                assert len({entry.partition for entry in batch.entries if entry.envelope.subject == f"s{subject}"}) == 1
            assert [one.encoded() for one in sorted(mine_of(batch.entries), key=lambda one: int(one.id))] == [
                one.encoded() for one in sent
            ]

    async def test_reading_goes_on_where_it_ended(self) -> None:
        """Reading in small steps, from the positions reached, finds each event once and then the end."""
        async with self.opened() as transport:
            await transport.append([event(f"{n}", subject=f"s{n % 7}") for n in range(40)])
            positions = self.everywhere(transport)
            found: list[str] = []
            while True:
                batch = await transport.read(positions, 3)
                if not batch.entries:
                    break
                found += ids(batch.entries)
                positions.update(batch.reached)
            assert sorted(found, key=int) == [f"{n}" for n in range(40)]
            await transport.append([event("new")])
            assert ids((await transport.read(positions, 3)).entries) == ["new"]
            assert (await transport.read(await transport.end(), 3)).entries == []

    async def test_only_the_partitions_asked_for_are_read(self) -> None:
        """A reader of some partitions gets no events of others."""
        async with self.opened() as transport:
            await transport.append([event(f"{n}", subject=f"s{n}") for n in range(40)])
            everything = (await transport.read(self.everywhere(transport), 100)).entries
            for partition in range(transport.partitions):
                batch = await transport.read({partition: BEGINNING}, 100)
                assert ids(batch.entries) == ids([entry for entry in everything if entry.partition == partition])

    async def test_an_id_is_published_once(self) -> None:
        """An event whose id is in the stream already is not appended again, also within one batch."""
        async with self.opened() as transport:
            assert await transport.append([event("a"), event("b"), event("a")]) == [True, True, False]
            assert await transport.append([event("b"), event("c")]) == [False, True]
            assert sorted(ids((await transport.read(self.everywhere(transport), 10)).entries)) == ["a", "b", "c"]

    async def test_history(self) -> None:
        """What is kept can be read back by type, subject and time, in order."""
        async with self.opened() as transport:
            sent = [event(f"{n}", f"order.{n % 2}", f"user:{n % 3}") for n in range(12)]
            for n, one in enumerate(sent):
                one.time += n
            await transport.append(sent)
            found = [one.id async for one in transport.history("order.1", "user:*", sent[3].time, sent[9].time)]
            assert found == ["3", "5", "7"]
            assert [one.id async for one in transport.history(subject="user:2")] == ["2", "5", "8", "11"]

    async def test_finding_events_and_their_chains(self) -> None:
        """An event is found by its id, and what it caused by its root."""
        async with self.opened() as transport:
            root, child, other = event("root"), event("child"), event("other")
            child.caused_by(root)
            grandchild = event("grandchild")
            grandchild.caused_by(child)
            await transport.append([root, other, child, grandchild])
            found = await transport.find("child")
            assert found is not None
            assert (found.cause, found.root, found.depth) == ("root", "root", 1)
            assert await transport.find("nobody") is None
            assert [one.id for one in await transport.chain("root")] == ["root", "child", "grandchild"]

    # --- trimming -------------------------------------------------------------------------

    async def test_events_are_kept_up_to_a_number(self) -> None:
        """Without consumers the stream keeps a number of events, about, and the newest ones."""
        async with self.opened(size=20) as transport:
            for n in range(100):
                await transport.append([event(f"{n}")])
            kept = [one.id async for one in transport.history()]
            assert 20 <= len(kept) <= 60
            assert kept == [f"{n}" for n in range(100 - len(kept), 100)]

    async def test_nothing_is_trimmed_that_a_consumer_has_not_passed(self) -> None:
        """A declared consumer's events are kept beyond that number, until it acknowledges or is forgotten."""
        async with self.opened(size=20) as transport:
            await transport.declare(Consumer("slow"))
            for n in range(100):
                await transport.append([event(f"{n}")])
            assert [one.id async for one in transport.history()] == [f"{n}" for n in range(100)]
            assert await transport.lags() == {"slow": 100}
            assert await transport.forget("slow")
            for n in range(100, 200):
                await transport.append([event(f"{n}")])
            assert len([one async for one in transport.history()]) <= 120

    async def test_a_consumer_beyond_its_largest_lag_lapses_loudly(self, caplog: pytest.LogCaptureFixture) -> None:
        """One that is too far behind loses the oldest events, and the log says so."""
        async with self.opened(size=10) as transport:
            await transport.declare(Consumer("slow", max_lag=30))
            for n in range(100):
                await transport.append([event(f"{n}")])
            assert (await transport.lags())["slow"] < 100
            assert "'slow' was too far behind" in caplog.text
            assert 0 < (await transport.lapsed())["slow"] < 100

    async def test_a_lapse_is_an_event(self) -> None:
        """A consumer that has lost events is announced to the handlers of the bus, and its status says so."""
        async with self.bus(self.connect(size=10), pace=Pace(in_flight=1)) as bus:
            may_go = asyncio.Event()
            lost: list[str] = []

            @bus.on("job", durable="slow")
            async def work(ctx: EventContext) -> None:
                await may_go.wait()

            @bus.on("consumer.lapsed")
            async def watch(ctx: EventContext) -> None:
                lost.append(ctx.payload["consumer"])

            await bus.declare_consumer(Consumer("slow", max_lag=30))
            for _ in range(100):
                await bus.emit("job", "s")  # of one subject: where partitions are apart, each has its own lag
            assert (await bus.status()).lapsed["slow"] > 0
            await self.clock.advance(10)
            await eventually(lambda: "slow" in lost)
            may_go.set()

    async def test_publishing_is_refused_where_that_was_chosen(self) -> None:
        """With ``on_lag="refuse"`` nothing is published beyond the largest lag, and nothing is lost."""
        async with self.opened(size=10) as transport:
            await transport.declare(Consumer("strict", max_lag=30, on_lag="refuse"))
            for n in range(30):
                await transport.append([event(f"{n}")])
            with pytest.raises(OutboxFull, match="'strict'"):
                await transport.append([event("one too many")])
            assert len([one async for one in transport.history()]) == 30

    async def test_a_consumer_may_begin_now(self) -> None:
        """A new consumer begins with what is kept, or with the next event."""
        async with self.opened() as transport:
            await transport.append([event("before")])
            await transport.declare(Consumer("all"))
            await transport.declare(Consumer("new", start="now"))
            assert await transport.lags() == {"all": 1, "new": 0}

    # --- delayed events -------------------------------------------------------------------

    async def test_delayed_events_are_released_when_due(self) -> None:
        """A delayed event enters the stream when it is due, never early, once, in the order of due moments."""
        async with self.opened() as transport:
            now = self.clock.time()
            await transport.delay(event("late"), now + 20)
            await transport.delay(event("early"), now + 10)
            await transport.delay(event("cancelled"), now + 10)
            assert await transport.next_due() == now + 10
            assert await transport.cancel("cancelled")
            assert not await transport.cancel("cancelled")
            assert [(due, one.id) for due, one in await transport.delayed()] == [
                (now + 10, "early"),
                (now + 20, "late"),
            ]
            assert await transport.release(now + 9.999) == []
            assert [one.id for one in await transport.release(now + 25)] == ["early", "late"]
            assert await transport.release(now + 25) == []
            assert await transport.next_due() is None
            assert ids((await transport.read(self.everywhere(transport), 10)).entries) == ["early", "late"]

    # --- leases ---------------------------------------------------------------------------

    async def test_a_partition_has_one_owner(self) -> None:
        """What one process owns another cannot take, until the lease runs out or is given back."""
        async with self.opened() as transport:
            await transport.declare(Consumer("c"))
            mine = await transport.claim("c", "one", 10, transport.partitions - 2)
            theirs = await transport.claim("c", "two", 10, transport.partitions)
            assert len(theirs) == 2
            assert not {claim.partition for claim in mine} & {claim.partition for claim in theirs}
            await transport.release_partitions("c", {mine[0].partition: mine[0].token})
            (again,) = await transport.claim("c", "two", 10, 5)
            assert again.partition == mine[0].partition
            await self.clock.advance(11)
            assert len(await transport.claim("c", "three", 10, 100)) == transport.partitions

    async def test_a_heartbeat_renews_and_counts(self) -> None:
        """A lease lasts for as long as its owner is heard of; processes are counted while they are."""
        async with self.opened() as transport:
            await transport.declare(Consumer("c"))
            held = {claim.partition: claim.token for claim in await transport.claim("c", "one", 10, 100)}
            for _ in range(5):
                await self.clock.advance(6)
                assert await transport.beat("c", "one", 10, held) == (1, set())
            assert await transport.claim("c", "two", 10, 100) == []
            assert (await transport.beat("c", "two", 10, {}))[0] == 2
            await transport.leave("c", "two")
            assert (await transport.beat("c", "one", 10, held))[0] == 1

    async def test_a_late_owner_is_fenced(self) -> None:
        """Whoever lost a partition learns of it, and cannot acknowledge in it or give it away."""
        async with self.opened() as transport:
            await transport.declare(Consumer("c"))
            await transport.append([event(f"{n}", subject=f"s{n}") for n in range(100)])
            late = (await transport.claim("c", "late", 10, 100))[0]
            await self.clock.advance(11)
            owner = next(
                claim for claim in await transport.claim("c", "new", 10, 100) if claim.partition == late.partition
            )
            assert owner.token > late.token
            position = (await transport.end())[late.partition]
            assert await transport.acknowledge("c", {late.partition: (late.token, position)}) == {late.partition}
            assert await transport.beat("c", "late", 10, {late.partition: late.token}) == (1, {late.partition})
            await transport.release_partitions("c", {late.partition: late.token})
            assert await transport.claim("c", "third", 10, 100) == []
            assert await transport.acknowledge("c", {owner.partition: (owner.token, position)}) == set()

    async def test_acknowledged_positions_last(self) -> None:
        """The next owner begins after what was acknowledged."""
        async with self.opened() as transport:
            await transport.declare(Consumer("c"))
            await transport.append([event(f"{n}") for n in range(10)])
            (entry, *_) = (await transport.read(self.everywhere(transport), 4)).entries
            mine = {claim.partition: claim for claim in await transport.claim("c", "one", 10, 100)}
            claim = mine[entry.partition]
            await transport.acknowledge("c", {claim.partition: (claim.token, entry.position)})
            await transport.release_partitions("c", {claim.partition: claim.token})
            (again,) = await transport.claim("c", "two", 10, 100)
            assert ids((await transport.read({again.partition: again.position}, 100)).entries) == [
                f"{n}" for n in range(1, 10)
            ]

    # --- failed jobs ----------------------------------------------------------------------

    async def test_failed_jobs_are_kept_taken_and_removed(self) -> None:
        """A failed job is kept until it is removed; one that was asked for again is taken by one process at a time."""
        async with self.opened() as transport:
            for name in "ab":
                await transport.put_failed(
                    FailedJob(name, event(name), f"handler {name}", "", 3, "ValueError: no", "Traceback", 1.0)
                )
            assert [(job.id, job.attempts, job.envelope.id) for job in await transport.failed()] == [
                ("a", 3, "a"),
                ("b", 3, "b"),
            ]
            assert [job.reason for job in await transport.failed("b")] == ["ValueError: no"]
            assert await transport.ask_retry(["a", "b", "nobody"]) == 2
            assert await transport.take_retries(["another"], 10) == []
            assert [job.id for job in await transport.take_retries(["handler a"], 10)] == ["a"]
            assert await transport.take_retries(["handler a"], 10) == []
            assert [job.retrying for job in await transport.failed()] == [True, True]
            await self.clock.advance(6)
            await transport.keep_retries(["a"], 10)
            await self.clock.advance(6)
            assert await transport.take_retries(["handler a"], 10) == []
            await self.clock.advance(6)
            assert [job.id for job in await transport.take_retries(["handler a"], 10)] == ["a"]
            assert await transport.remove_failed(["a", "nobody"]) == 1
            assert [job.id for job in await transport.failed()] == ["b"]

    # --- the bus upon it ------------------------------------------------------------------

    async def test_handlers_and_cascades(self) -> None:
        """Handlers run, emit and cascade on this transport as on any."""
        async with self.bus() as bus:
            heard: list[str] = []

            @bus.on("order.submitted")
            async def validate(ctx: EventContext) -> None:
                await ctx.emit("order.validated", {"total": ctx.payload["total"]})

            @bus.on("order.*")
            async def listen(ctx: EventContext) -> None:
                heard.append(f"{ctx.event_type} {ctx.payload['total']}")

            root = await bus.emit("order.submitted", "order:1", {"total": 3})
            await bus.settle()
            assert heard == ["order.submitted 3", "order.validated 3"]
            assert str(await bus.trace(root)) == "order.submitted of order:1\n  order.validated of order:1"

    async def test_durable_handlers_get_every_event_in_order(self) -> None:
        """A durable consumer gets every event, those from before it began too, in order for each subject."""
        transport = self.connect()
        async with self.bus(transport) as bus:
            for n in range(20):
                await bus.emit("job", f"s{n % 4}", {"n": n})
            done: list[tuple[str, int]] = []

            @bus.on("job", durable="workers")
            async def work(ctx: EventContext) -> None:
                await asyncio.sleep(0)
                done.append((ctx.subject.name, ctx.payload["n"]))

            for n in range(20, 60):
                await bus.emit("job", f"s{n % 4}", {"n": n})
            await bus.settle()
            assert len(done) == 60
            for subject in range(4):
                assert [n for name, n in done if name == f"s{subject}"] == list(range(subject, 60, 4))
            assert (await bus.status()).lags == {"workers": 0}

    async def test_each_durable_consumer_gets_everything(self) -> None:
        """Two consumers get each event both; two handlers of one consumer both run."""
        async with self.bus() as bus:
            done: list[str] = []
            for consumer, name in (("one", "a"), ("one", "b"), ("two", "c")):

                @bus.on("job", durable=consumer, name=name)
                async def work(ctx: EventContext) -> None:
                    done.append(f"{ctx.handler_name}{ctx.payload['n']}")

            for n in range(3):
                await bus.emit("job", None, {"n": n})
            await bus.settle()
            assert sorted(done) == sorted(f"{name}{n}" for name in "abc" for n in range(3))

    async def test_durable_handlers_retry_and_fail(self) -> None:
        """A durable handler that fails for good leaves a failed delivery, which can be run again, and others go on."""
        async with self.bus() as bus:
            attempts: list[tuple[str, int]] = []
            broken = True

            @bus.on("job", durable="workers", retry=RetryPolicy(max_retries=2, interval_max=0))
            async def work(ctx: EventContext) -> None:
                attempts.append((ctx.subject.name, ctx.attempt))
                if broken and ctx.subject.name == "bad":
                    raise ValueError("poison")
                await ctx.emit("done")

            failures: list[Any] = []

            @bus.on("event.failed", durable="watchers")
            async def watch(ctx: EventContext) -> None:
                failures.append(ctx.payload)

            for subject in ("bad", "good"):
                await bus.emit("job", subject, {"x": 1})
            await bus.settle()
            (failed,) = await bus.get_failed_jobs()
            assert (failed.event.subject, failed.attempts, failed.consumer) == ("bad", 3, "workers")
            assert failed.reason == "ValueError: poison"
            assert "poison" in failed.traceback
            assert sorted(attempts) == [("bad", 1), ("bad", 2), ("bad", 3), ("good", 1)]
            assert [told["event"]["subject"] for told in failures] == ["bad"]
            broken = False
            await bus.retry_job(failed.id)
            await bus.settle()
            assert await bus.get_failed_jobs() == []
            assert attempts[-1] == ("bad", 4)
            assert [one.subject async for one in bus.history("done")] == ["good", "bad"]

    async def test_delayed_events_reach_handlers(self) -> None:
        """A delayed event is handled when it is due on the bus's clock, not before."""
        async with self.bus() as bus:
            heard: list[str] = []

            @bus.on("*", durable="workers")
            async def work(ctx: EventContext) -> None:
                heard.append(f"durable {ctx.event_type}")

            @bus.on("*")
            async def listen(ctx: EventContext) -> None:
                heard.append(ctx.event_type)

            await bus.emit("later", "s", delay=60)
            cancelled = await bus.emit("never", "s", delay=60)
            await bus.publish(Event("soon", subject="s"), at=self.clock.time() + 30)
            assert await bus.cancel(cancelled)
            await self.clock.advance(29.9)
            await bus.settle()
            assert heard == []
            await self.clock.advance(0.2)
            await eventually(lambda: sorted(heard) == ["durable soon", "soon"])
            await self.clock.advance(30)
            await eventually(lambda: sorted(heard) == sorted(["soon", "later", "durable soon", "durable later"]))

    async def test_a_subscription_goes_on_from_its_cursor(self) -> None:
        """A subscription that was left is resumed from its cursor, with nothing missing and nothing twice."""
        async with self.bus() as bus:
            for n in range(10):
                await bus.emit("a.b", f"s{n % 3}", {"n": n})
                await bus.emit("other", "s")
            found: list[int] = []
            cursor = BEGINNING
            for _ in range(5):
                async with bus.subscribe("a.*", after=cursor, size=4) as events:
                    for _ in range(2):
                        found.append((await events.get()).data["n"])
                    cursor = events.cursor
            assert sorted(found) == list(range(10))
            async with bus.subscribe("a.*", after=cursor) as events:
                await bus.emit("a.b", "s", {"n": 10})
                assert (await events.get()).data["n"] == 10

    async def test_in_flight_is_bounded(self) -> None:
        """A consumer reads no more than it may have in flight, however much there is."""
        async with self.bus(pace=Pace(in_flight=8)) as bus:
            may_go = asyncio.Event()
            begun: list[int] = []

            @bus.on("job", durable="workers")
            async def work(ctx: EventContext) -> None:
                begun.append(ctx.payload["n"])
                await may_go.wait()

            for n in range(50):
                await bus.emit("job", f"s{n}", {"n": n})
            await eventually(lambda: len(begun) >= 4)
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(begun) <= 8
            assert (await bus.status()).pending <= 8
            may_go.set()
            await bus.settle()
            assert sorted(begun) == list(range(50))

    async def test_a_stuck_subject_holds_back_only_itself(self) -> None:
        """While one subject's handler hangs, hundreds of events of others in the same partition are handled."""
        async with self.bus(pace=Pace(in_flight=8)) as bus:
            may_go = asyncio.Event()
            done: list[str] = []

            @bus.on("job", durable="workers")
            async def work(ctx: EventContext) -> None:
                if ctx.subject.name == "stuck":
                    await may_go.wait()
                done.append(ctx.subject.name)

            await bus.emit("job", "stuck")
            for n in range(300):
                await bus.emit("job", f"s{n}")
            await eventually(lambda: len(done) == 300)
            assert "stuck" not in done
            may_go.set()
            await bus.settle()
            assert done[-1] == "stuck"

    # --- what lasts -----------------------------------------------------------------------

    async def test_everything_is_there_after_a_restart(self) -> None:
        """Unhandled, delayed and failed work survives a restart, and is not done twice."""
        if not self.connect().lasting:
            pytest.skip("nothing lasts")
        async with self.bus() as bus:
            await bus.declare_consumer(Consumer("jobs"))
            await bus.emit("job", "s", {"n": 1})
            await bus.emit("job", "s", {"n": 2}, delay=60)

            @bus.on("bad", durable="workers", name="bad")
            async def bad(ctx: EventContext) -> None:
                raise ValueError("no")

            await bus.emit("bad", "t")
            await bus.settle()
        done: list[str] = []
        for _ in range(2):
            async with self.bus() as bus:

                @bus.on("job", durable="jobs", name="work")
                async def work(ctx: EventContext) -> None:
                    done.append(f"{ctx.event_type} {ctx.payload['n']}")

                @bus.on("bad", durable="workers", name="bad")
                async def good(ctx: EventContext) -> None:
                    done.append(f"{ctx.event_type} attempt {ctx.attempt}")

                if not done:
                    await bus.retry_jobs("b*")
                await self.clock.advance(61)
                await eventually(lambda: len(done) >= 3)
                await bus.settle()
        assert sorted(done) == ["bad attempt 2", "job 1", "job 2"]


def mine_of(entries: Sequence[Entry]) -> list[Envelope]:
    """Return the events of what was read."""
    return [entry.envelope for entry in entries]
