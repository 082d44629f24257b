"""What the driver raises becomes what milepost raises."""

from __future__ import annotations

import inspect

import pytest
import redis.asyncio.sentinel
import redis.exceptions
from redis.asyncio import Redis

from milepost import CacheUnavailable
from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.errors import DRIVER_ERRORS
from milepost.backends.redis.scripts import Call
from milepost.backends.redis.servers import Server
from milepost.backends.redis.topology import OneServer

EVERY_ERROR = sorted(
    {
        error
        for module in (redis.exceptions, redis.asyncio.sentinel)
        for _, error in inspect.getmembers(module, inspect.isclass)
        if issubclass(error, Exception) and error.__module__.startswith("redis")
    },
    key=lambda error: error.__name__,
)
NEVER_RAISED_BY_CALLS = {"IncorrectPolicyType"}
"""Raised for settings of multi-database clients."""


def test_the_walk_finds_them() -> None:
    """The driver's exceptions are found where it keeps them."""
    assert {redis.exceptions.ConnectionError, redis.exceptions.MovedError} < set(EVERY_ERROR)
    assert len(EVERY_ERROR) > 25


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: error.__name__)
async def test_every_exception_of_the_driver_is_translated(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the driver raises, callers see ``CacheUnavailable`` with the cause attached."""
    if error.__name__ in NEVER_RAISED_BY_CALLS:
        assert not issubclass(error, DRIVER_ERRORS)
        return
    arguments = ("1 127.0.0.1:1",) if issubclass(error, redis.exceptions.AskError) else ("made for the test",)

    async def fails(self: Server, commands: object) -> None:
        raise error(*arguments)

    async def nothing(*anything: object) -> None:
        return

    monkeypatch.setattr(Server, "ask", fails)
    client = RedisClient("here", OneServer(Redis(), "here", 1.0, nothing), 0.01, nothing)
    with pytest.raises(CacheUnavailable, match="here") as raised:
        await client.ask(Call(None, 0, (), (b"PING",)))
    assert isinstance(raised.value.__cause__, error)
