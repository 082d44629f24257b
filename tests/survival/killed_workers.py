"""Four processes track the same groups and are killed, many inside the commit window; callers retry with the same id.

No acknowledged event is lost, none is counted twice, and no milestone id is missing or doubled. The commit window
lies between the commit's request and its reply: a proxy hands the request on and the process dies; on SQLite it kills
itself at a statement of its transaction, or before anybody is told.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from milepost.backends.redis.calls import COMMIT
from tests.durability.workers import COMMAND, ROOT, Left, check_milestones, look
from tests.faults.proxy import Proxy
from tests.survival.following import check_followed
from tests.survival.programs import Program, Run, main
from tests.survival.servers import Servers, proxies_before, servers_for

PROCESSES = 4
LONGEST_LIFE = 100.0
"""Seconds after which a worker hangs."""
AGAIN = 50
"""One in how many events is sent again after it was acknowledged."""


class Ledger:
    """What is to be tracked, what was acknowledged, and by whom it was told.

    Args:
        run: the dose and the chance.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.events = run.dose(1000, 100_000)
        groups = run.dose(50, 1000)
        self.each = self.events // groups
        self.targets = [1, self.each // 4, self.each // 2, self.each - 1, self.each, 1_000_000]
        self.group_of = {f"event {n}": f"g{n % groups}" for n in range(self.events)}
        self.waiting = deque(run.chance.sample(list(self.group_of), self.events))
        self.acknowledged: set[str] = set()
        self.given: Counter[str] = Counter()
        self.caused: Counter[str] = Counter()
        self.kills_left = run.dose(6, 500)
        self.at_work = 0

    def take(self, number: int) -> list[str]:
        """Return what a worker is to track next."""
        batch = [self.waiting.popleft() for _ in range(min(number, len(self.waiting)))]
        self.given.update(batch)
        return batch

    def note(self, id: str, group: str, caused: list[str], duplicate: bool) -> None:
        """Note what a worker was told."""
        report = self.run.report
        report.counts["acknowledged"] += 1
        report.check(group == self.group_of[id], f"{id} was acknowledged for {group}")
        if duplicate:
            report.counts["known when retried"] += 1
            report.check(self.given[id] > 1, f"{id} was called a duplicate when it was sent first")
        elif id in self.acknowledged:
            report.violations.append(f"{id} was counted twice")
        elif self.run.chance.randrange(AGAIN) == 0:
            self.waiting.append(id)
        self.acknowledged.add(id)
        self.caused.update(caused)


class Crew:
    """Workers that follow one another in a slot, with proxies of their own.

    Args:
        ledger: what is to be done.
        servers: where.
        proxies: before Redis and MongoDB.
    """

    def __init__(self, ledger: Ledger, servers: Servers, proxies: tuple[Proxy | None, Proxy | None]) -> None:
        self._ledger = ledger
        self._run = ledger.run
        self._proxy = proxies[0] or proxies[1]
        ports = [0 if proxy is None else proxy.port for proxy in proxies]
        self._where = servers.where(redis_port=ports[0], mongodb_port=ports[1])
        self._is_commit = _is_redis_commit if servers.redis else _is_mongodb_commit

    async def work(self) -> None:
        """Have one worker after the other track, until there is nothing left."""
        ledger = self._ledger
        while ledger.waiting or ledger.at_work:
            average = max(1, ledger.events // max(1, self._run.dose(6, 500)))
            batch = ledger.take(2 * average if ledger.kills_left else len(ledger.waiting) // PROCESSES + 1)
            if not batch:
                await asyncio.sleep(0.05)
                continue
            ledger.at_work += 1
            try:
                done = await self._one(batch)
            finally:
                ledger.at_work -= 1
            ledger.waiting.extend(id for id in batch if id not in done)

    async def _one(self, batch: list[str]) -> set[str]:
        """Run a worker, kill it if it is its turn; return what it was told is tracked."""
        chance, counts = self._run.chance, self._run.report.counts
        kills = self._ledger.kills_left > 0
        inside = kills and chance.random() < 0.4
        after = chance.randrange(len(batch) // 2 + 1) if kills else -1
        order: dict[str, Any] = {
            "where": self._where,
            "targets": self._ledger.targets,
            "tasks": chance.choice([1, 4, 16]),
            "events": [(self._ledger.group_of[id], id) for id in batch],
        }
        doomed = inside and self._proxy is None
        if doomed:  # a worker of SQLite's does it itself
            order["doom"] = chance.choice([("statement", 30 + chance.randrange(300)), ("reply", after // 16 + 1)])
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        assert process.stdin is not None
        process.stdin.write(f"{json.dumps(order)}\ngo\n".encode())
        done: set[str] = set()
        armed = finished = False
        try:
            async with asyncio.timeout(LONGEST_LIFE):
                async for word, values in _lines(process):
                    if word == "done":
                        done.add(values[0])
                        self._ledger.note(*values)
                    finished |= word == "finished"
                    if kills and not doomed and len(done) >= after and word in ("ready", "done") and not armed:
                        armed = True
                        if inside:
                            self._kill_in_window(process)
                        else:
                            _kill(process)
        except TimeoutError:
            process.send_signal(signal.SIGABRT)  # it says where it hangs
        complaints = await self._end(process)
        if process.returncode == -signal.SIGKILL:
            counts["kills"] += 1
            counts["of them inside a commit"] += inside
            self._ledger.kills_left -= 1
        elif not finished or complaints:
            self._run.report.violations.append(f"a worker failed by itself: {complaints[-4000:]}")
        return done

    def _kill_in_window(self, process: asyncio.subprocess.Process) -> None:
        """Kill it at its next commit: when the request goes out, or when the reply is on its way back."""
        assert self._proxy is not None
        at_once = self._run.chance.random() < 0.5

        def is_its_commit(request: bytes) -> bool:
            if process.returncode is not None or not self._is_commit(request):
                return False
            if at_once:
                _kill(process)
            return True

        self._proxy.hold_reply_to(is_its_commit).add_done_callback(lambda _: _kill(process))

    @staticmethod
    async def _end(process: asyncio.subprocess.Process) -> str:
        assert process.stderr is not None
        complaints = (await process.stderr.read()).decode()
        await process.wait()
        return complaints


def _kill(process: asyncio.subprocess.Process) -> None:
    """Send SIGKILL; ``process.kill()`` would take the exit status from who waits for it."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[tuple[str, list[Any]]]:
    """Yield what a worker says, until it ends; a line that was cut off was said to nobody."""
    assert process.stdout is not None
    async for line in process.stdout:
        if line.endswith(b"\n"):
            word, _, rest = line.decode().partition(" ")
            yield word, json.loads(rest) if word != "killed" else []


def _is_redis_commit(request: bytes) -> bool:
    return COMMIT.sha in request


def _is_mongodb_commit(request: bytes) -> bool:
    return b"\x02update\x00" in request and b"commits" in request


async def carry_out(run: Run) -> None:
    """Kill workers until all is tracked; then look."""
    async with servers_for(run.setup, run.folder) as servers:
        ledger = Ledger(run)
        async with asyncio.TaskGroup() as crews:
            for _ in range(PROCESSES):
                crews.create_task(_crew(ledger, servers))
        left = await look(servers.where(), ledger.targets)
        _compare(ledger, left)
        if servers.redis is not None and servers.where().lasts:
            await check_followed(run, servers.where(), Counter(ledger.group_of.values()))


async def _crew(ledger: Ledger, servers: Servers) -> None:
    async with proxies_before(servers) as proxies:
        await Crew(ledger, servers, proxies).work()


def _compare(ledger: Ledger, left: Left) -> None:
    """Check what is there against what was acknowledged."""
    report = ledger.run.report
    report.counts["events"] += ledger.events
    report.counts["groups"] += len(left.progress)
    report.counts["milestones"] += len(left.milestones)
    wanted = Counter(ledger.group_of.values())
    for group, number in wanted.items():
        found = left.progress.get(group, 0)
        report.check(found == number, f"{group}: {number} events were acknowledged, {found} counted")
    report.check(ledger.acknowledged == set(ledger.group_of), "not every event was acknowledged")
    kept = {id for id, *_ in left.milestones}
    for id, times in ledger.caused.items():
        report.check(times == 1, f"the milestone {id} was told to {times} callers")
        report.check(id in kept, f"the milestone {id} was told and is not in the outbox")
    try:
        check_milestones(left, ledger.targets)
    except AssertionError as error:
        report.violations.append(f"milestones: {error}")


PROGRAM = Program(
    name="killed_workers",
    promise="no acknowledged event lost, none counted twice, no milestone id missing or doubled",
    setups=("redis+sqlite", "redis+mongodb", "mongodb", "sqlite"),
    carry_out=carry_out,
    only_full=("redis+mongodb",),
)

if __name__ == "__main__":
    main(PROGRAM)
