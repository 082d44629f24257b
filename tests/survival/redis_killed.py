"""Redis is killed and restarted under load, and comes back with all it had, with less, or with nothing.

With ``always`` every commit is on the disk before it is acknowledged: nothing is lost, nothing is counted twice.
Otherwise a canary tells what Redis itself kept: a number that is written again and again, so that whatever was
acknowledged before the number that came back was sent must be there; so must whatever the store had confirmed. A
loss is to be noticed (a later epoch) and reported (an event, and the log). ``power cut`` takes the end off the
append-only file, as a machine does that loses what it had not synced; ``snapshot`` comes back as it was at some moment
before. With ``nobody left`` the processes end while Redis is away, and what they held with them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path

from milepost import CacheUnavailable, CountTracker, DataLost, TrackingManager
from tests.survival.following import check_followed
from tests.survival.programs import Program, Run, main
from tests.survival.servers import Servers, servers_for
from tests.survival.where import Where, progress_in_store

CALLERS = 12
GROUPS = 20
TARGETS = [1, 20, 50, 200, 1000, 1_000_000]
OPTIONS = {
    "always": ("--appendonly", "yes", "--appendfsync", "always"),
    "power cut": ("--appendonly", "yes", "--appendfsync", "everysec", "--aof-load-truncated", "yes"),
    "snapshot": (),
    "empty": (),
}


class Canary:
    """Writes ever greater numbers into Redis, and remembers what had been acknowledged before each.

    Args:
        port: Redis' port.
        load: what is acknowledged.
    """

    def __init__(self, port: int, load: Load) -> None:
        self._port = port
        self._load = load
        self._numbers = count(1)
        self._before: dict[int, Counter[str]] = {0: Counter()}

    async def sing(self) -> None:
        """Write until Redis dies."""
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                while True:
                    number = next(self._numbers)
                    self._before[number] = self._load.acknowledged.copy()
                    writer.write(b"SET canary %d\r\n" % number)
                    if not await reader.readline():
                        return
                    await asyncio.sleep(0.003)
            finally:
                writer.close()

    async def kept(self) -> Counter[str]:
        """Return what had been acknowledged before the number that Redis has was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(b"GET canary\r\n")
            found = await reader.readline()
            number = 0 if found.startswith((b"$-1", b"_")) else int(await reader.readline())
        finally:
            writer.close()
        return self._before[number]


class Load:
    """Callers that track through two managers, and try again with the same id until they are told.

    Args:
        run: the dose and the chance.
        managers: through which.
    """

    def __init__(self, run: Run, managers: list[TrackingManager]) -> None:
        self._run = run
        self._managers = managers
        self._numbers = count()
        self.acknowledged: Counter[str] = Counter()
        self.in_flight: Counter[str] = Counter()
        self.caused: Counter[str] = Counter()
        self.pausing = False

    async def call(self) -> None:
        """Track one event after the other, until there is a pause."""
        counts = self._run.report.counts
        while not self.pausing:
            group, id = f"g{self._run.chance.randrange(GROUPS)}", f"event {next(self._numbers)}"
            self.in_flight[group] += 1
            while True:
                try:
                    result = await self._run.chance.choice(self._managers).track(group, {}, event_id=id)
                except CacheUnavailable as error:
                    counts[f"calls that raised {type(error).__name__}"] += 1
                    await asyncio.sleep(0.01)
                    continue
                break
            counts["acknowledged"] += 1
            counts["known when retried"] += result.duplicate
            self.in_flight[group] -= 1
            self.acknowledged[group] += 1
            self.caused.update(event.id for event in result.events)


class Told(logging.Handler):
    """Keeps what milepost says of lost data, in the log and through events."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reports: list[str] = []
        self.events: list[DataLost] = []

    def clear(self) -> None:
        """Forget it."""
        self.reports.clear()
        self.events.clear()

    def emit(self, record: logging.LogRecord) -> None:
        if "lost" in record.getMessage():
            self.reports.append(record.getMessage())


async def carry_out(run: Run) -> None:
    """Kill Redis again and again, and look after each time."""
    mode = next(mode for mode in OPTIONS if mode in run.setup)
    told = Told()
    logging.getLogger("milepost").addHandler(told)
    try:
        async with servers_for(f"redis {run.setup}", run.folder, *OPTIONS[mode]) as servers:
            assert servers.redis is not None
            where = servers.where(patience=0.5)
            managers = await _opened(where, told)
            load = Load(run, managers)
            canary = Canary(servers.redis.port, load)
            try:
                for _ in range(run.dose(3, 50)):
                    await _one_death(run, mode, servers, load, canary, managers, told)
                if mode == "always":
                    await _check_milestones(run, load, managers[0])
            finally:
                for manager in managers:
                    await manager.aclose()
            if mode == "always" and where.lasts:
                await check_followed(run, where, load.acknowledged)
    finally:
        logging.getLogger("milepost").removeHandler(told)


async def _opened(where: Where, told: Told) -> list[TrackingManager]:
    managers = [where.manager(flush_interval=0.1) for _ in range(2)]
    for manager in managers:
        manager.declare("*", CountTracker("events", TARGETS))
        manager.add_listener(DataLost, told.events.append)
        await manager.start()
    return managers


async def _one_death(
    run: Run,
    mode: str,
    servers: Servers,
    load: Load,
    canary: Canary,
    managers: list[TrackingManager],
    told: Told,
) -> None:
    report, server, where = run.report, servers.redis, servers.where(patience=0.5)
    nobody_left = "nobody left" in run.setup
    assert server is not None
    epochs = [await manager.data_cache.epoch() for manager in managers]
    singing = asyncio.ensure_future(canary.sing())
    load.pausing = False
    calling = [asyncio.ensure_future(load.call()) for _ in range(CALLERS)]
    await asyncio.sleep(0.05 + run.chance.random() * 0.4)
    if mode == "snapshot":
        await _save(server.port)
        await asyncio.sleep(run.chance.random() * 0.3)
    load.pausing = mode != "always"  # where something may be lost, all is still before it is looked at
    await asyncio.to_thread(server.kill)
    if nobody_left:  # whatever these processes held goes with them
        for caller in calling:
            caller.cancel()
        await asyncio.wait(calling)
        for manager in managers:
            await manager.aclose()
    acknowledged = load.acknowledged.copy()
    stored = await progress_in_store(where) if where.lasts else {}
    if mode == "power cut":
        _cut_off_the_end(run, server.folder)
    await asyncio.sleep(run.chance.choice([0, 0.1, 0.8]))
    await asyncio.to_thread(server.start)
    await singing
    report.counts["kills"] += 1
    kept = await canary.kept()
    load.pausing = True
    if nobody_left:
        managers[:] = await _opened(where, told)
    else:
        await asyncio.gather(*calling)
    found = await _progress(managers[0])
    report.check(found == await _progress(managers[1]), f"two managers differ after kill {report.counts['kills']}")
    for group in {*load.acknowledged, *found}:
        least = min(max(kept[group], int(stored.get(f"{group}.events", 0))), load.acknowledged[group])
        if mode == "always":
            least = load.acknowledged[group]
        report.check(
            least <= found[group] <= load.acknowledged[group] + load.in_flight[group],
            f"{group} after kill {report.counts['kills']}: {load.acknowledged[group]} acknowledged, "
            f"{least} kept by Redis and the store, {found[group]} counted",
        )
    lost = (load.acknowledged - found).total()
    report.counts["that Redis lost"] += (acknowledged - kept).total() if mode != "always" else 0
    report.counts["of them lost for good"] += lost
    if lost:
        epochs_now = [await manager.data_cache.epoch() for manager in managers]
        report.check(
            all(now > before for now, before in zip(epochs_now, epochs, strict=True)), "a loss was not noticed"
        )
        report.check(bool(told.reports), f"{lost} events were lost and nothing was logged")
        report.check(
            await _is_announced(told, 1 if nobody_left else len(managers)),
            f"{lost} events were lost and no event told of it",
        )
        report.counts["losses announced"] += 1
    load.acknowledged = found  # from here on
    load.in_flight.clear()
    told.clear()


async def _is_announced(told: Told, managers: int) -> bool:
    """Wait until so many managers have told that what Redis had lost is mended as far as may be."""
    with suppress(TimeoutError):
        async with asyncio.timeout(20):
            while sum(event.complete for event in told.events) < managers:
                await asyncio.sleep(0.01)
    return sum(event.complete for event in told.events) >= managers


async def _save(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"SAVE\r\n")
    await reader.readline()
    writer.close()


def _cut_off_the_end(run: Run, folder: Path) -> None:
    """Take up to a third of the youngest append-only file away."""
    youngest = max((folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    size = youngest.stat().st_size
    with youngest.open("r+b") as file:
        file.truncate(size - run.chance.randrange(size // 3 + 1))


async def _progress(manager: TrackingManager) -> Counter[str]:
    found: Counter[str] = Counter()
    for n in range(GROUPS):
        tracker = await manager.get_tracker(f"g{n}", "events")
        if tracker is not None and tracker.progress:
            found[f"g{n}"] = int(tracker.progress)
    return found


async def _check_milestones(run: Run, load: Load, manager: TrackingManager) -> None:
    """Check that each milestone was told once, and is in the outbox once."""
    kept = Counter()
    for _, text in await manager.data_cache.outbox(limit=1_000_000):
        kept[json.loads(text)["id"]] += 1
    wanted = sum(target <= number for number in load.acknowledged.values() for target in TARGETS)
    run.report.counts["milestones"] += kept.total()
    run.report.check(kept.total() == len(kept) == wanted, f"{wanted} milestones, {kept.total()} in the outbox")
    run.report.check(set(load.caused) <= set(kept), "a milestone was told that is not in the outbox")
    run.report.check(all(times == 1 for times in load.caused.values()), "a milestone was told to two callers")


PROGRAM = Program(
    name="redis_killed",
    promise="appendfsync always: nothing lost; otherwise noticed, reported, and no more than Redis and store lost",
    setups=(
        "always",
        "always sqlite",
        "power cut",
        "power cut sqlite",
        "power cut sqlite, nobody left",
        "snapshot sqlite",
        "snapshot sqlite, nobody left",
        "empty",
        "empty sqlite",
        "empty sqlite, nobody left",
    ),
    carry_out=carry_out,
    only_full=(
        "always sqlite",
        "power cut",
        "power cut sqlite, nobody left",
        "snapshot sqlite",
        "snapshot sqlite, nobody left",
        "empty",
        "empty sqlite, nobody left",
    ),
)

if __name__ == "__main__":
    main(PROGRAM)
