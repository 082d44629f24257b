"""A process that counts the orders of a NATS subject and publishes its milestones, until it is killed.

    python order_counter.py URL STREAM INBOX OUTBOX DATABASE [KILL]

With KILL it ends itself, as SIGKILL does, ``tracked`` after the commit of the fifth order and before the message is
acknowledged, or ``published`` when the broker has confirmed the milestone and the bus has not heard of that.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from faststream.nats import JStream, NatsBroker, PullSub
from nats.js.api import ConsumerConfig

from milepost import CountTracker, Pace, SQLiteDataStore, SQLiteTransport, TrackingManager
from milepost.bus.bus import EventBus
from milepost.integrations.faststream import BrokerLink


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, stream: str, inbox: str, outbox: str, path: str, kill: str = "") -> None:
    broker = NatsBroker(url, logger=None)
    bus = EventBus(SQLiteTransport(path), pace=Pace(lease=0.5, poll=0.05))
    manager = TrackingManager(data_store=SQLiteDataStore(path), bus=bus)
    manager.declare("user:*", CountTracker("orders", [5, 1_000_000]))
    link = BrokerLink(broker, manager)
    kept = JStream(stream, subjects=[inbox, outbox])
    link.track(
        inbox, stream=kept, durable="goals", pull_sub=PullSub(timeout=0.5), config=ConsumerConfig(ack_wait=0.5),
        group=lambda event: event.data["user"],
    )  # fmt: skip
    link.publish("tracker.stage_completed", to=outbox, stream=stream, durable="out")
    if kill == "tracked":

        @manager.on_event("tracker.stage_completed")
        def at_the_fifth(event: object) -> None:
            die()

    if kill == "published":
        publish = broker.publish

        async def publish_and_die(*arguments: Any, **options: Any) -> None:
            await publish(*arguments, **options)
            die()

        broker.publish = publish_and_die  # type: ignore[method-assign, assignment]
    async with broker, manager:
        await broker.start()
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
