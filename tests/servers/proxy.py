"""A small TCP proxy that loses what it is told to lose."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self


class TCPProxy:
    """Hands everything on between clients and a server on the loopback, in the running loop.

    Args:
        port: where the server listens.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._admitting = asyncio.Event()
        self._admitting.set()
        self._refusing = False
        self._cut: tuple[bytes, bool, bool] | None = None
        self.port = 0
        self.cuts = 0
        """How often something was lost."""

    @property
    def url(self) -> str:
        """What a MongoDB client connects to."""
        return f"mongodb://127.0.0.1:{self.port}"

    def cut(self, word: bytes, *, reply: bool, then_refuse: bool = False) -> None:
        """Lose the next message in which a word is, or the reply to it, and close the connection.

        Args:
            word: what the message must hold.
            reply: whether the message arrives, and only its reply is lost.
            then_refuse: let nobody through after that, until :meth:`admit`.
        """
        self._cut = word, reply, then_refuse

    def hold(self) -> None:
        """Take everything and hand nothing on, until :meth:`admit`."""
        self._admitting.clear()

    def admit(self) -> None:
        """Hand everything on again."""
        self._refusing = False
        self._admitting.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.CancelledError):
            if not self._refusing:
                await self._serve(reader, writer)
        writer.close()
        self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        lost = asyncio.Event()
        pumps = [
            asyncio.ensure_future(self._requests(reader, to_server, lost)),
            asyncio.ensure_future(self._replies(from_server, writer, lost)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
            to_server.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(1 << 20):
            await self._admitting.wait()
            if self._cut is not None and self._cut[0] in data:
                _, reply, self._refusing = self._cut
                self._cut = None
                self.cuts += 1
                if not reply:
                    return
                lost.set()
            writer.write(data)
            await writer.drain()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(1 << 20):
            await self._admitting.wait()
            if lost.is_set():
                return  # the server has done what it was asked, and nobody will be told
            writer.write(data)
            await writer.drain()
