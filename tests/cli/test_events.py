"""``milepost events`` and ``milepost failed``: looking at the bus of a database from outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from milepost import EventBus, EventContext, RedisTransport, SQLiteTransport
from milepost.testing import ManualClock
from tests.cli.program import Run, only_line
from tests.servers.valkey import ValkeyServer, command

DATABASE = "milepost.db"
OpenBus = Callable[..., EventBus]


@pytest.fixture(params=["sqlite", "redis"])
def bus_there(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> OpenBus:
    """Makes buses over the database that the program uses: the default one, or one that the environment names."""
    if request.param == "sqlite":
        return lambda **settings: EventBus(SQLiteTransport(folder / DATABASE, synchronous="OFF"), **settings)
    server: ValkeyServer = request.getfixturevalue("redis_server")
    command(server.port, "FLUSHALL")
    url = f"redis://127.0.0.1:{server.port}"
    monkeypatch.setenv("MILEPOST_DATABASE", url)
    return lambda **settings: EventBus(RedisTransport.from_url(url), **settings)


@pytest.fixture
def failed(bus_there: OpenBus) -> list[str]:
    """A database in which two jobs have failed; their ids."""

    async def fail() -> list[str]:
        async with bus_there(clock=ManualClock(1_750_000_000)) as bus:

            @bus.on("order.*", "mail", durable="workers", name="work")
            async def work(ctx: EventContext) -> None:
                raise ValueError("no\nway")

            await bus.emit("order.paid", "order:1", {"total": 3})
            await bus.emit("mail", "user:1")
            await bus.settle()
            return [(await bus.get_failed_jobs(kind))[0].id for kind in ("order.*", "mail")]

    return asyncio.run(fail())


@pytest.mark.usefixtures("failed")
def test_events_are_listed(milepost: Run) -> None:
    """Each event is a line, chosen by type, subject and time; with --json a CloudEvent."""
    lines = milepost("events").out.splitlines()
    assert len(lines) == 4
    assert "order.paid  order:1" in lines[0]
    (event,) = milepost("events", "order.*", "--json").events
    assert (event["type"], event["subject"], event["data"]) == ("order.paid", "order:1", {"total": 3})
    assert len(milepost("events", "--subject", "user:*").out.splitlines()) == 2
    assert len(milepost("events", "--since", "2025-06-01T00:00:00").out.splitlines()) == 4
    nothing = milepost("events", "--until", "2025-06-01T00:00:00")
    assert (nothing.out, nothing.status) == ("", 0)
    assert "no event matches" in only_line(nothing.err)


def test_failed_deliveries_are_listed(milepost: Run, failed: list[str]) -> None:
    """Each failed delivery is shown with its id, handler, attempts and reason; with --json with its traceback."""
    ran = milepost("failed", "list", "order.*")
    assert ran.out.splitlines() == [f"{failed[0]}  order.paid  order:1", "  work: 1 attempt", r"  ValueError: no\nway"]
    (job,) = [json.loads(line) for line in milepost("failed", "list", "mail", "--json").out.splitlines()]
    assert (job["id"], job["event"]["type"], job["consumer"], job["attempts"]) == (failed[1], "mail", "workers", 1)
    assert "Traceback" in job["traceback"]


def test_failed_deliveries_are_removed(milepost: Run, failed: list[str]) -> None:
    """They are removed by id or by pattern; an unknown id is said in one line."""
    assert only_line(milepost("failed", "remove", failed[0]).out) == "removed 1 delivery"
    again = milepost("failed", "remove", failed[0])
    assert again.status == 2
    assert failed[0] in only_line(again.err)
    assert only_line(milepost("failed", "remove", "--all", "*").out) == "removed 1 delivery"
    assert "nothing has failed" in milepost("failed", "list").err


@pytest.mark.parametrize("what", ["retry", "remove"])
@pytest.mark.usefixtures("failed")
def test_either_ids_or_a_pattern(milepost: Run, what: str) -> None:
    """Naming nothing, or both, is refused in one line."""
    for arguments in ((), ("x", "--all", "*")):
        ran = milepost("failed", what, *arguments)
        assert ran.status == 2
        assert "--all PATTERN" in only_line(ran.err)


def test_failed_deliveries_are_run_again_where_their_handler_is(
    milepost: Run, failed: list[str], bus_there: OpenBus
) -> None:
    """The program only asks: a process that has the handler runs the job, and it leaves the list."""
    assert only_line(milepost("failed", "retry", failed[0]).out) == "1 delivery will be run again"
    assert "to be run again" in milepost("failed", "list", "order.*").out
    done: list[str] = []

    async def work_off() -> None:
        async with bus_there() as bus:
            happened = asyncio.Event()

            @bus.on("order.*", "mail", durable="workers", name="work")
            async def work(ctx: EventContext) -> None:
                done.append(f"{ctx.event_type} {ctx.attempt}")
                happened.set()

            async with asyncio.timeout(20):
                await happened.wait()
                while await bus.get_failed_jobs("order.*"):
                    await asyncio.sleep(0.01)

    asyncio.run(work_off())
    assert done == ["order.paid 2"]
    assert milepost("failed", "list", "order.*").out == ""
    assert milepost("failed", "list").out.splitlines()[0].startswith(failed[1])


def test_a_database_that_is_not_there(milepost: Run) -> None:
    """Looking does not make a database."""
    for arguments in (("events",), ("failed", "list"), ("failed", "retry", "--all", "*")):
        ran = milepost(*arguments)
        assert ran.status == 2
        assert "there is no database milepost.db" in only_line(ran.err)


def test_a_password_is_not_shown(milepost: Run, redis_server: ValkeyServer) -> None:
    """What a message says of a database by its URL leaves the password out."""
    command(redis_server.port, "FLUSHALL")
    command(redis_server.port, "ACL", "SETUSER", "reader", "on", ">se/cret", "~*", "&*", "+@all")
    ran = milepost("events", "--database", f"redis://reader:se%2Fcret@127.0.0.1:{redis_server.port}")
    assert only_line(ran.err) == f"no event matches in redis://127.0.0.1:{redis_server.port}"
