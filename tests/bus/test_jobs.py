"""Work that failed, waits, is delayed or hangs: looked at, run again, removed; and circuit breakers."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost import CircuitBreaker, CircuitOpen, Event, EventBus, EventContext, JobNotFound, RetryPolicy
from milepost.testing import ManualClock

NO_PAUSE = RetryPolicy(max_retries=2, interval_max=0)


async def test_the_last_failure_is_kept_and_announced(bus: EventBus, clock: ManualClock) -> None:
    """A failed delivery has the event, the handler, the attempts and the traceback, and is an event itself."""
    told: list[dict[str, Any]] = []

    @bus.on("job", retry=NO_PAUSE, name="worker")
    async def work(ctx: EventContext) -> None:
        ctx.payload["n"] = "changed"
        raise ValueError(f"attempt {ctx.attempt}")

    @bus.on("event.failed")
    async def watch(ctx: EventContext) -> None:
        told.append(ctx.payload)
        raise RuntimeError("the watcher fails too")

    id = await bus.emit("job", "s", {"n": 1})
    await bus.settle()
    first, second = await bus.get_failed_jobs()
    assert (first.event.id, first.event.data, first.handler, first.attempts) == (id, {"n": 1}, "worker", 3)
    assert isinstance(first.error, ValueError)
    assert (first.reason, first.failed_at) == ("ValueError: attempt 3", clock.time())
    assert "attempt 3" in first.traceback
    assert [(one["job_id"], one["event"]["id"], one["attempts"]) for one in told] == [(first.id, id, 3)]
    assert (second.event.type, second.event.cause) == ("event.failed", id)
    assert [job.id for job in await bus.get_failed_jobs("job")] == [first.id]


async def test_failed_jobs_can_be_run_again(bus: EventBus) -> None:
    """A job that is run again leaves the list when it succeeds, and stays when it fails; its neighbours do not run."""
    mended = False
    ran: list[str] = []

    @bus.on("job", retry=NO_PAUSE)
    async def work(ctx: EventContext) -> None:
        ran.append(f"work {ctx.attempt}")
        if not mended:
            raise ValueError
        await ctx.emit("done")

    @bus.on("job")
    async def neighbour(ctx: EventContext) -> None:
        ran.append("neighbour")

    await bus.emit("job", "s")
    await bus.settle()
    (failed,) = await bus.get_failed_jobs()
    await bus.retry_job(failed.id)
    await bus.settle()
    (again,) = await bus.get_failed_jobs()
    assert (again.id, again.attempts) == (failed.id, 6)
    mended = True
    assert await bus.retry_jobs("j*") == 1
    await bus.settle()
    assert await bus.get_failed_jobs() == []
    assert ran.count("neighbour") == 1
    assert [event.type async for event in bus.history("done")] == ["done"]
    with pytest.raises(JobNotFound, match="nobody"):
        await bus.retry_job("nobody")


async def test_failed_jobs_can_be_removed(bus: EventBus) -> None:
    """Jobs are removed by id, or all that match a pattern."""

    @bus.on("*")
    async def work(ctx: EventContext) -> None:
        raise ValueError

    for kind in ("a.1", "a.2", "b.1", "b.2"):
        await bus.emit(kind, "s")
    await bus.settle()
    (first,) = await bus.get_failed_jobs("a.1")
    assert await bus.remove_job(first.id)
    assert not await bus.remove_job(first.id)
    assert await bus.remove_jobs("b.*") == 2
    assert [job.event.type for job in await bus.get_failed_jobs() if job.event.type != "event.failed"] == ["a.2"]


async def test_a_stuck_job_can_be_ended(bus: EventBus) -> None:
    """Removing a job that runs cancels it: no retry, no failed delivery, and its subject goes on."""
    done: list[int] = []

    @bus.on("job", retry=NO_PAUSE, name="h")
    async def work(ctx: EventContext) -> None:
        if ctx.payload["n"] == 0:
            await asyncio.Event().wait()
        done.append(ctx.payload["n"])

    for n in range(3):
        await bus.emit("job", "s", {"n": n})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    jobs = {job.state: job for job in await bus.get_jobs()}
    assert jobs["running"].handler == "h"
    assert await bus.remove_job(jobs["waiting"].event.id)
    assert await bus.remove_job(jobs["running"].id)
    await bus.settle()
    assert len(done) == 1
    assert await bus.get_failed_jobs() == []


async def test_a_job_that_waits_for_its_retry_can_be_removed(bus: EventBus, clock: ManualClock) -> None:
    """Removing a job between two attempts ends it."""
    attempts: list[int] = []

    @bus.on("job", retry=RetryPolicy(max_retries=9, interval_start=60, interval_max=60))
    async def work(ctx: EventContext) -> None:
        attempts.append(ctx.attempt)
        raise ValueError

    id = await bus.emit("job", "s")
    await clock.advance(61)
    assert await bus.remove_job(id)
    await clock.advance(600)
    await bus.settle()
    assert attempts == [1, 2]
    assert await bus.get_failed_jobs() == []


async def test_a_job_that_waits_for_its_concurrency_can_be_removed(bus: EventBus) -> None:
    """Removing a job that waits until fewer runs of its handler are under way ends it, and nobody else."""
    may_end = asyncio.Event()
    ran: list[str] = []

    @bus.on("job", concurrency=1)
    async def work(ctx: EventContext) -> None:
        ran.append(ctx.subject.name)
        await may_end.wait()

    ids = [await bus.emit("job", f"s{n}") for n in range(3)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert await bus.remove_job(ids[1])
    may_end.set()
    await bus.settle()
    assert ran == ["s0", "s2"]
    assert (await bus.status()).running == 0


async def test_a_hung_plain_handler_is_given_up(clock: ManualClock) -> None:
    """A plain handler that hangs in its thread does not hang the bus: its timeout ends the wait."""
    may_end = threading.Event()
    async with EventBus(clock=clock) as bus:

        @bus.on("job", timeout=5)
        def work(ctx: EventContext) -> None:
            may_end.wait(20)

        await bus.emit("job", "s")
        await clock.advance(6)
        await bus.settle()
        assert [type(job.error) for job in await bus.get_failed_jobs()] == [TimeoutError]
        may_end.set()


# --- delay and schedule --------------------------------------------------------------------


async def test_delays(bus: EventBus, clock: ManualClock) -> None:
    """An event is delivered after its delay, or at its moment: seconds, timedelta, epoch seconds or a datetime."""
    begun = clock.time()
    heard: list[tuple[str, float]] = []

    @bus.on("*")
    async def listen(ctx: EventContext) -> None:
        heard.append((ctx.event_type, clock.time() - begun))
        if ctx.event_type == "first":
            await ctx.emit("from a handler", delay=5)

    await bus.emit("now", "s", delay=0)
    await bus.emit("third", "s", delay=timedelta(minutes=1))
    await bus.emit("first", "s", delay=10)
    await bus.emit("second", "s", at=begun + 20)
    await bus.publish(Event("fourth"), at=datetime.fromtimestamp(begun + 70, UTC))
    await bus.publish_many([Event("fifth"), Event("fifth")], delay=80)
    await clock.advance(200)
    await bus.settle()
    assert heard == [
        ("now", 0),
        ("first", 10),
        ("from a handler", 15),
        ("second", 20),
        ("third", 60),
        ("fourth", 70),
        ("fifth", 80),
        ("fifth", 80),
    ]


async def test_never_early(bus: EventBus, clock: ManualClock) -> None:
    """However the clock is moved, nothing is delivered before its moment; a moment in the past is now."""
    heard: list[float] = []

    @bus.on("x")
    async def listen(ctx: EventContext) -> None:
        heard.append(clock.time())

    begun = clock.time()
    await bus.emit("x", delay=100.1)
    clock.set(begun - 3600)
    await clock.advance(100.2)
    assert heard == []
    clock.set(begun + 100)
    await clock.advance(0.05)
    assert heard == []
    await clock.advance(4000)
    await bus.settle()
    assert len(heard) == 1
    await bus.emit("x", at=begun)
    await clock.advance(0)
    await bus.settle()
    assert len(heard) == 2


@pytest.mark.parametrize("wrong", [{"delay": -1}, {"delay": float("nan")}, {"at": datetime(2026, 1, 1)}])  # noqa: DTZ001
async def test_wrong_moments(bus: EventBus, wrong: dict[str, Any]) -> None:
    """A delay below zero and a naive datetime are refused."""
    with pytest.raises(ValueError, match=r"delay|at"):
        await bus.emit("x", **wrong)
    with pytest.raises(TypeError):
        await bus.emit("x", delay=1, at=2)


async def test_a_delayed_event_can_be_looked_at_and_cancelled(bus: EventBus, clock: ManualClock) -> None:
    """A delayed event is among the jobs, and is cancelled by its id; once."""
    id = await bus.emit("x", "s", delay=60)
    assert [(job.id, job.state, job.due) for job in await bus.get_jobs()] == [(id, "delayed", clock.time() + 60)]
    assert await bus.cancel(id)
    assert not await bus.cancel(id)
    assert await bus.get_jobs() == []


# --- circuit breakers ----------------------------------------------------------------------


async def test_an_open_circuit_lets_events_wait(bus: EventBus, clock: ManualClock) -> None:
    """After so many failures events wait until one may be tried; none is dropped, other subjects go on."""
    begun = clock.time()
    ran: list[tuple[str, int, float]] = []
    breaker = CircuitBreaker(failures=2, reset_after=30, when_open="wait")

    @bus.on("job", breaker=breaker, name="h")
    async def work(ctx: EventContext) -> None:
        ran.append((ctx.subject.name, ctx.payload["n"], clock.time() - begun))
        if ctx.subject.name == "bad" and clock.time() < begun + 50:
            raise ValueError

    for n in range(5):
        await bus.emit("job", "bad", {"n": n})
        await bus.emit("job", "good", {"n": n})
    await clock.advance(1)
    assert breaker.is_open("h", "bad")
    assert not breaker.is_open("h", "good")
    assert [n for name, n, _ in ran if name == "good"] == [0, 1, 2, 3, 4]
    await clock.advance(100)
    await bus.settle()
    assert [(n, at) for name, n, at in ran if name == "bad"] == [(0, 0), (1, 0), (2, 30), (3, 60), (4, 60)]
    assert not breaker.is_open("h", "bad")
    assert len(await bus.get_failed_jobs()) == 3


async def test_an_open_circuit_can_fail_at_once(bus: EventBus, clock: ManualClock) -> None:
    """By choice events go to the failed deliveries while the circuit is open, without an attempt."""
    ran: list[int] = []

    @bus.on("job", breaker=CircuitBreaker(2, 30, when_open="fail"), retry=RetryPolicy(max_retries=0))
    async def work(ctx: EventContext) -> None:
        ran.append(ctx.payload["n"])
        if ctx.payload["n"] < 3:
            raise ValueError

    for n in range(4):
        await bus.emit("job", "s", {"n": n})
    await bus.settle()
    assert ran == [0, 1]
    assert [type(job.error) for job in await bus.get_failed_jobs()] == [
        ValueError,
        ValueError,
        CircuitOpen,
        CircuitOpen,
    ]
    await clock.advance(31)
    await bus.emit("job", "s", {"n": 4})
    await bus.settle()
    assert ran == [0, 1, 4]


async def test_a_breaker_as_middleware_for_each_handler(bus: EventBus, clock: ManualClock) -> None:
    """As middleware a breaker has a circuit for each handler; with ``per="handler"`` one for all its subjects."""
    bus.add_middleware(CircuitBreaker(3, 10, when_open="wait", per="handler"))
    ran: list[str] = []
    mended = False

    @bus.on("job", concurrency=1)
    async def bad(ctx: EventContext) -> None:
        ran.append(f"bad {ctx.subject.name}")
        if not mended:
            raise ValueError

    @bus.on("job")
    async def good(ctx: EventContext) -> None:
        ran.append(f"good {ctx.subject.name}")

    for n in range(6):
        await bus.emit("job", f"s{n}")
    await clock.advance(1)
    assert len([one for one in ran if one.startswith("bad")]) == 3
    assert len([one for one in ran if one.startswith("good")]) == 6
    mended = True
    await clock.advance(10)
    await bus.settle()
    assert sorted(one for one in ran if one.startswith("bad")) == [f"bad s{n}" for n in range(6)]
    assert len(await bus.get_failed_jobs()) == 3
