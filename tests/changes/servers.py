"""What exporters send to in tests: a web server, an S3 server, a Kafka producer's likeness; all on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

__all__ = ["Producer", "Request", "WebServer", "s3_server", "web_server"]


class Request(NamedTuple):
    """What a web server was sent."""

    headers: dict[str, str]
    body: Any


class WebServer:
    """An HTTP server that keeps what it is posted; ``answers`` are the statuses of the next answers, 0 for none."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[int] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while line := await reader.readline():
                assert line.startswith(b"POST ")
                headers: dict[str, str] = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append(Request(headers, json.loads(body)))
                status = self.answers.pop(0) if self.answers else 200
                if not status:
                    break
                writer.write(f"HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def web_server() -> AsyncIterator[WebServer]:
    """Start a web server on a free port."""
    web = WebServer()
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0)
    web.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/changes"
    try:
        yield web
    finally:
        server.close()


@contextmanager
def s3_server() -> Iterator[Any]:
    """Start a server that speaks S3 on a free port; yield a boto3 client of it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
    finally:
        server.stop()


class Producer:
    """As aiokafka's AIOKafkaProducer: ``send`` is a coroutine that returns a future of the acknowledgement."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bytes]] = []
        self.failing = 0

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Any = None,
    ) -> asyncio.Future[Any]:
        """Take a message."""
        assert isinstance(value, bytes)
        assert isinstance(key, bytes)
        acknowledged = asyncio.get_running_loop().create_future()
        if self.failing:
            self.failing -= 1
            acknowledged.set_exception(ConnectionError("not the leader"))
        else:
            self.messages.append((topic, key, value))
            acknowledged.set_result(None)
        return acknowledged
