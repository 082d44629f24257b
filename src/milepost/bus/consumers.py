"""The part of a bus that keeps durable consumers: which there are, and this process's share in their work."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from milepost.bus.consuming import DurableConsumer
from milepost.bus.parts import BusParts
from milepost.bus.transports.base import Consumer

if TYPE_CHECKING:
    from milepost.bus.bus import EventBus

__all__ = ["Consumers"]


class Consumers(BusParts):
    """Declares durable consumers, works for them, and forgets them."""

    async def declare_consumer(self, consumer: Consumer) -> None:
        """Say how a durable consumer is kept up with; without it, one has the defaults.

        Args:
            consumer: its name, where it begins, its largest lag and what happens beyond that.
        """
        self._take_offer()
        self._note_declared(consumer)
        if consumer.name in self._consumers:
            self._consumers[consumer.name].settings = consumer
        await self.start()
        await self.transport.declare(consumer)  # the start may have been past that already

    def _note_declared(self, consumer: Consumer) -> None:
        self._declared[consumer.name] = consumer
        self._declares = True
        self._note_shape()

    async def forget_consumer(self, name: str) -> bool:
        """Let a durable consumer go for good, so that nothing is kept for it; return whether it was known."""
        await self.start()
        self._declared.pop(name, None)
        gone = self._consumers.pop(name, None)
        if gone is not None:
            await gone.aclose()
        return await self.transport.forget(name)

    def _consume(self, name: str) -> None:
        if name not in self._consumers:
            settings = self._declared.get(name) or Consumer(name)
            self._note_declared(settings)
            bus = cast("EventBus", self)
            consumer = DurableConsumer(bus, settings, self.transport, self._clock, self._workers, self._pace)
            self._consumers[name] = consumer
            consumer.begin()

    def _wake_consumers(self) -> None:
        for consumer in self._consumers.values():
            consumer.wake()
