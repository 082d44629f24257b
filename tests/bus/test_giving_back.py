"""What durable consumers do when they give partitions back, and when they end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from milepost import EventBus, EventContext, MemoryTransport, partition_of
from milepost.bus.transports.base import Batch
from milepost.testing import ManualClock


class Slow(MemoryTransport):
    """Takes a while to acknowledge."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.waiting: list[asyncio.Event] = []
        self.is_slow = True

    async def acknowledge(self, consumer: str, done: Mapping[int, tuple[int, str]]) -> set[int]:
        if self.is_slow:
            self.waiting.append(asyncio.Event())
            self.begun.set()
            await self.waiting[-1].wait()
        return await super().acknowledge(consumer, done)


async def test_what_ends_while_the_rest_is_acknowledged_is_not_run_again(clock: ManualClock) -> None:
    """A partition is given back when all that was done in it is acknowledged, so its next owner does not repeat it."""
    heard: list[str] = []
    gate = asyncio.Event()
    transport = Slow()
    async with EventBus(transport, clock=clock) as bus:

        @bus.on("slow", "quick", durable="d")
        async def handler(ctx: EventContext) -> None:
            if ctx.event_type == "slow":
                await gate.wait()
            heard.append(ctx.event_type)

        assert partition_of("s", 16) != partition_of("q", 16)
        await bus.emit("slow", "s")
        await bus.emit("quick", "q")
        await transport.begun.wait()
        consumer = bus._consumers["d"]
        consumer._partitions[partition_of("s", 16)].giving_up = True
        beat = asyncio.create_task(consumer._beat())
        await asyncio.sleep(0.01)
        gate.set()
        await asyncio.sleep(0.01)
        transport.is_slow = False
        transport.waiting[1].set()
        await beat
        transport.waiting[0].set()
        await consumer._beat()
        await bus.settle()
    assert heard == ["quick", "slow"]


async def test_nothing_begins_after_the_last_has_ended(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still being read when the bus is closed is left to others; a handler of it would be cancelled halfway."""
    begun: list[str] = []
    reading, may_go_on, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()
    transport = MemoryTransport()
    really = transport.read

    async def slow(positions: Mapping[int, str], limit: int) -> Batch:
        batch = await really(positions, limit)
        if any(entry.envelope.type == "late" for entry in batch.entries):
            reading.set()
            await may_go_on.wait()
        return batch

    monkeypatch.setattr(transport, "read", slow)
    bus = EventBus(transport, clock=clock)

    @bus.on("late", durable="first")
    async def late(ctx: EventContext) -> None:
        begun.append(ctx.event_type)
        await asyncio.Event().wait()

    @bus.on("early", durable="second")
    async def early(ctx: EventContext) -> None:
        begun.append(ctx.event_type)
        await gate.wait()

    await bus.emit("early", "s")
    while not begun:
        await asyncio.sleep(0.001)
    await bus.emit("late", "t")
    await reading.wait()
    closing = asyncio.create_task(bus.aclose())
    await asyncio.sleep(0.01)
    may_go_on.set()
    await asyncio.sleep(0.01)
    gate.set()
    await closing
    assert begun == ["early"]
