"""What durable consumers do when they give partitions back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from milepost import EventBus, EventContext, MemoryTransport, partition_of
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
