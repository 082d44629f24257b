"""What tests do with NATS: names of their own, messages put in as other programs would, and a patient look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from itertools import count
from typing import Any

import nats
from faststream.nats import JStream, NatsBroker
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

__all__ = ["ConsumerConfig", "Names", "connected", "eventually", "quiet_broker"]

_numbers = count()


class Names:
    """A stream and its subjects, which no other test has."""

    def __init__(self) -> None:
        self.stream_name = f"T{next(_numbers)}"
        self.inbox = f"{self.stream_name}.in"
        self.outbox = f"{self.stream_name}.out"

    @property
    def stream(self) -> JStream:
        """The stream of both subjects; whoever starts a broker with it makes it."""
        return JStream(self.stream_name, subjects=[self.inbox, self.outbox])


def quiet_broker(url: str) -> NatsBroker:
    """Return a broker that comes back quickly and does not write to the terminal."""
    return NatsBroker(url, logger=None, reconnect_time_wait=0.05, max_reconnect_attempts=-1, connect_timeout=5)


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Client, None]:
    """A connection of another program."""
    client = await nats.connect(url, reconnect_time_wait=0.05, max_reconnect_attempts=-1)
    try:
        yield client
    finally:
        await client.close()


async def eventually(holds: Callable[[], Any], within: float = 20.0) -> None:
    """Return when something holds that other processes bring about.

    Raises:
        AssertionError: when it does not in time.
    """
    until = time.monotonic() + within
    while True:
        answer = holds()
        if isawaitable(answer):
            answer = await asyncio.ensure_future(_awaited(answer))
        if answer:
            return
        assert time.monotonic() < until, "it did not come about in time"
        await asyncio.sleep(0.02)


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer
