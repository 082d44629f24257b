"""A small TCP proxy that does to a connection what networks do: delays, silence, cuts, replies that never arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Self

__all__ = ["Proxy"]

_CHUNK = 65536


class _Loss(NamedTuple):
    """Which exchange is lost, and how."""

    request: Callable[[bytes], bool]
    arrives: bool
    then_refuse: bool


class Proxy:
    """Stands between a client and a server on the loopback interface.

    Args:
        host: the server's address.
        port: the server's port.

    Attributes:
        port: where clients connect; stays the same through :meth:`refuse` and :meth:`accept`.
        delay: seconds by which every chunk is late, in both directions.
        lost_replies: how many replies :meth:`lose_reply_to` has kept back.
        lost_requests: how many requests :meth:`lose_request` has kept back.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server_address = (host, port)
        self._listening: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._lose: _Loss | None = None
        self._hold: tuple[Callable[[bytes], bool], asyncio.Future[None]] | None = None
        self._may_pass = asyncio.Event()
        self._may_pass.set()
        self.port = 0
        self.delay = 0.0
        self.lost_replies = 0
        self.lost_requests = 0

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def serving(self) -> frozenset[asyncio.Task[None]]:
        """The tasks that serve them."""
        return frozenset(self._connections)

    # --- what can go wrong -----------------------------------------------------------------

    async def refuse(self) -> None:
        """Cut all connections and refuse new ones."""
        self._stop_listening()
        await self.cut()

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    async def accept(self) -> None:
        """Take connections, again after :meth:`refuse`."""
        if self._listening is None:
            self._listening = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._listening.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Cut all connections that there are."""
        serving = [task for task in self._connections if task is not asyncio.current_task()]
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving)

    def fall_silent(self) -> None:
        """Let nothing pass in either direction; connections stay open."""
        self._may_pass.clear()

    def speak(self) -> None:
        """Let what was held back pass, and everything after it."""
        self._may_pass.set()

    def lose_reply_to(self, request: Callable[[bytes], bool], *, then_refuse: bool = False) -> None:
        """Hand the next request for which this is true on to the server, keep its reply back, and cut the connection.

        Args:
            request: told every chunk that a client sends.
            then_refuse: refuse connections after that, until :meth:`accept`.
        """
        self._lose = _Loss(request, True, then_refuse)

    def lose_request(self, request: Callable[[bytes], bool]) -> None:
        """Keep the next request for which this is true back, and cut the connection.

        Args:
            request: told every chunk that a client sends.
        """
        self._lose = _Loss(request, False, False)

    def hold_reply_to(self, request: Callable[[bytes], bool]) -> asyncio.Future[None]:
        """Hand the next request for which this is true on to the server, and keep its reply back.

        Args:
            request: told every chunk that a client sends.

        Returns:
            What is done when the reply is here; the client waits for it until the connection ends.
        """
        here: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hold = (request, here)
        return here

    # --- what goes through -----------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        writers = self._connections[task] = [writer]
        try:
            from_server, to_server = await asyncio.open_connection(*self._server_address)
            writers.append(to_server)
            losing = asyncio.Event()
            holding: list[asyncio.Future[None]] = []
            back = asyncio.ensure_future(self._pass_back(from_server, writer, losing, holding))
            try:
                await self._pass_on(reader, to_server, losing, holding)
            finally:
                back.cancel()
                await asyncio.wait([back])
        except (OSError, asyncio.CancelledError):
            return
        finally:
            del self._connections[task]
            for open_writer in writers:
                open_writer.transport.abort()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        losing: asyncio.Event,
        holding: list[asyncio.Future[None]],
    ) -> None:
        while chunk := await self._next(reader):
            if self._hold is not None and self._hold[0](chunk):
                holding.append(self._hold[1])
                self._hold = None
            if self._lose is not None and self._lose.request(chunk):
                loss, self._lose = self._lose, None
                if loss.then_refuse:
                    self._stop_listening()
                if not loss.arrives:
                    self.lost_requests += 1
                    return
                losing.set()
            to_server.write(chunk)
            await to_server.drain()

    async def _pass_back(
        self,
        from_server: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        losing: asyncio.Event,
        holding: list[asyncio.Future[None]],
    ) -> None:
        while chunk := await self._next(from_server):
            if holding:
                if not holding[0].done():
                    holding[0].set_result(None)
                await asyncio.Event().wait()  # until the connection ends
            if losing.is_set():  # the rest of the request has gone on meanwhile: it may come in several pieces
                self.lost_replies += 1
                break
            writer.write(chunk)
            await writer.drain()
        writer.transport.abort()

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        chunk = await reader.read(_CHUNK)
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._may_pass.wait()
        return chunk
