"""Several processes share a durable consumer's work: nothing is lost, order is kept, whoever dies."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from milepost import CountTracker, Event, EventBus, RedisDataCache, SQLiteDataStore, TrackingManager
from tests.durability.consumer import transport_at
from tests.durability.consumers import Consuming, handled, out_of_order
from tests.durability.doses import dose, seeded

SUBJECTS = 12


async def publish(bus: EventBus, events: int) -> list[str]:
    """Publish numbered jobs of several subjects; return their ids."""
    jobs = [Event("job", {"n": n // SUBJECTS}, subject=f"s{n % SUBJECTS}", id=f"job {n}") for n in range(events)]
    for start in range(0, events, 100):
        await bus.publish_many(jobs[start : start + 100])
    return [job.id for job in jobs]


async def until_done(bus: EventBus) -> None:
    """Return when the consumer has acknowledged everything."""
    async with asyncio.timeout(100):
        while (await bus.transport.lags()).get("workers", 1):
            await asyncio.sleep(0.02)


def bus_over(place: dict[str, Any]) -> EventBus:
    """Return a bus that publishes and consumes nothing."""
    return EventBus(transport_at(place))


def manager_over(place: dict[str, Any]) -> TrackingManager:
    """Return a manager whose outbox is the stream of that place."""
    if "path" in place:
        return TrackingManager(data_store=SQLiteDataStore(place["path"], synchronous="OFF"), bus=transport_at(place))
    cache = RedisDataCache.from_url(place["url"], key_prefix=place["key_prefix"], partitions=8)
    return TrackingManager(cache, bus=transport_at(place))


@pytest.mark.slow
@pytest.mark.survival
async def test_work_is_shared(stream_place: dict[str, Any], tmp_path: Path) -> None:
    """Three processes that end by themselves do each job once, in order for each subject, and all have a part."""
    log = tmp_path / "log"
    with ExitStack() as stack:
        workers = [await asyncio.to_thread(Consuming, stream_place, log, pause=0.002, in_flight=8) for _ in range(3)]
        for worker in workers:
            stack.callback(worker.signal, signal.SIGKILL)
        async with bus_over(stream_place) as bus:
            await asyncio.sleep(1)  # let each find out how many they are
            ids = await publish(bus, dose(600, 20_000))
            await until_done(bus)
            done = handled(log)
            assert Counter(one.id for one in done) == Counter(ids)
            assert out_of_order(done) == []
            assert len({one.process for one in done}) == 3
            emitted = Counter([event.cause async for event in bus.history("done")])
            assert emitted == Counter(ids)
        for worker in workers:
            await asyncio.to_thread(worker.finish)


@pytest.mark.slow
@pytest.mark.survival
async def test_consumers_are_killed(stream_place: dict[str, Any], tmp_path: Path) -> None:
    """Processes are killed while they work: each job is done at least once, in order, emits are not doubled."""
    log = tmp_path / "log"
    chance = seeded("killed consumers")
    kills = dose(3, 60)
    with ExitStack() as stack:

        async def start() -> Consuming:
            worker = await asyncio.to_thread(Consuming, stream_place, log, pause=0.01, in_flight=20)
            stack.callback(worker.signal, signal.SIGKILL)
            return worker

        workers = [await start() for _ in range(2)]
        async with bus_over(stream_place) as bus:
            publishing = asyncio.create_task(publish(bus, dose(2000, 30_000)))
            while_working = 0
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.05, 0.4))
                while_working += (await bus.transport.lags())["workers"] > 0
                victim = chance.randrange(len(workers))
                await asyncio.to_thread(workers[victim].kill)
                workers[victim] = await start()
            ids = await publishing
            await until_done(bus)
            done = handled(log)
            emitted = Counter([event.cause async for event in bus.history("done")])
        assert while_working, "nobody was killed while there was work: nothing was shown"
        print(f"{kills} kills, {while_working} while working, {len(ids)} jobs, {len(done) - len(ids)} done again")
        assert {one.id for one in done} == set(ids)
        assert out_of_order(done) == []
        assert emitted == Counter(ids)
        for worker in workers:
            await asyncio.to_thread(worker.finish)


@pytest.mark.slow
@pytest.mark.survival
async def test_a_process_that_sleeps_is_replaced_and_fenced(stream_place: dict[str, Any], tmp_path: Path) -> None:
    """One that is stopped loses its partitions in time; when it wakes it cannot acknowledge, and nothing is lost."""
    log = tmp_path / "log"
    with ExitStack() as stack:
        sleeper = await asyncio.to_thread(Consuming, stream_place, log, pause=0.01, in_flight=20)
        stack.callback(sleeper.signal, signal.SIGKILL)
        async with bus_over(stream_place) as bus:
            ids = await publish(bus, 400)
            while len(handled(log)) < 20:
                await asyncio.sleep(0.02)
            sleeper.signal(signal.SIGSTOP)
            other = await asyncio.to_thread(Consuming, stream_place, log, in_flight=20)
            stack.callback(other.signal, signal.SIGKILL)
            begun = asyncio.get_running_loop().time()
            await until_done(bus)
            print(f"taken over and finished after {asyncio.get_running_loop().time() - begun:.1f} s")
            sleeper.signal(signal.SIGCONT)
            await asyncio.to_thread(sleeper.finish)
            await asyncio.to_thread(other.finish)
            done = handled(log)
            assert {one.id for one in done} == set(ids)
            assert out_of_order(done) == []
            assert (await bus.transport.lags())["workers"] <= len(ids)
            assert Counter([event.cause async for event in bus.history("done")]) == Counter(ids)


@pytest.mark.slow
@pytest.mark.survival
async def test_every_milestone_is_handled(stream_place: dict[str, Any], tmp_path: Path) -> None:
    """Milestones that tracking commits reach durable consumers at least once while these are killed."""
    log = tmp_path / "log"
    chance = seeded("milestones to consumers")
    with ExitStack() as stack:

        async def start() -> Consuming:
            worker = await asyncio.to_thread(Consuming, stream_place, log, patterns=["tracker.*"], in_flight=20)
            stack.callback(worker.signal, signal.SIGKILL)
            return worker

        worker = await start()
        async with manager_over(stream_place) as manager:
            manager.declare("*", CountTracker(name="n", target=list(range(1, 1000, 3))))
            for n in range(dose(600, 20_000)):
                await manager.track(f"g{chance.randrange(20)}", {"n": n})
                if n % 200 == 100:
                    await asyncio.to_thread(worker.kill)
                    worker = await start()
            await until_done(manager.bus)
            told = [event.id async for event in manager.bus.history("tracker.*completed")]
        done = {one.id for one in handled(log)}
        assert len(told) == len(set(told)) > 0
        assert set(told) <= done
        await asyncio.to_thread(worker.finish)
