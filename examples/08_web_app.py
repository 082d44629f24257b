"""A web app: customers earn vouchers with what they spend, and each has a quota of requests.

Shows a manager that lives as long as the app, listeners on event classes, and event ids, with
which an order that a client sends twice counts once. The app is plain ASGI; in FastAPI or
Starlette the same lines go into the lifespan, a dependency and a route.

    python examples/08_web_app.py                  # calls the app in this process
    uvicorn --app-dir examples 08_web_app:app      # serves it, after pip install uvicorn
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from milepost import (
    AccumulationTracker,
    CountLimiter,
    CountTracker,
    TrackerLimited,
    TrackerStageCompleted,
    TrackingManager,
)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

manager = TrackingManager()
manager.declare("client:*", CountTracker(name="requests", target=1000, limiters=[CountLimiter(count=4)]))
manager.declare("customer:*", AccumulationTracker(name="spent", key="total", target=[100, 1000, 10_000]))


@manager.on_event(TrackerStageCompleted)
async def send_voucher(event: TrackerStageCompleted) -> None:
    print(f"  (a voucher for {event.group_id}: {event.tracker.target} spent)")


@manager.on_event(TrackerLimited)
async def warn(event: TrackerLimited) -> None:
    print(f"  (the quota of {event.group_id} is used up)")


async def place_order(customer: str, order: Message) -> tuple[int, Message]:
    request = await manager.track(f"client:{customer}", {})
    if not request.dirtied:  # the limiter refused to count it
        return 429, {"error": "too many requests"}
    result = await manager.track(f"customer:{customer}", order, event_id=order["id"])
    trackers = await manager.get_trackers(f"customer:{customer}")
    return 200, {"known": result.duplicate, **{tracker.name: tracker.progress for tracker in trackers}}


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        async with manager:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        status, answer = await place_order(scope["path"].removeprefix("/orders/"), json.loads(body))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def post(path: str, content: Message) -> None:
    """Call the app as a server would, and print the answer."""

    async def receive() -> Message:
        return {"type": "http.request", "body": json.dumps(content).encode(), "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            print(f"POST {path} {content}: {message['status']}", end=" ")
        else:
            print(message["body"].decode())

    await app({"type": "http", "method": "POST", "path": path}, receive, send)


async def main() -> None:
    async with manager:
        await post("/orders/ada", {"id": "order-1", "total": 60})
        await post("/orders/ada", {"id": "order-2", "total": 70})
        await post("/orders/ada", {"id": "order-2", "total": 70})
        await post("/orders/ada", {"id": "order-3", "total": 5})
        await post("/orders/ada", {"id": "order-4", "total": 5})
        await post("/orders/ben", {"id": "order-5", "total": 12})


if __name__ == "__main__":
    asyncio.run(main())
