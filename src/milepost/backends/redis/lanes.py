"""A connection that many share: requests go out as they come, replies come back in their order.

The driver makes the connection, with all that belongs to it (TLS, passwords, Sentinel); then its
transport is taken over. The driver's own way to a reply is several times as long as the
round trip to a server nearby.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from milepost.backends.redis.errors import driver
from milepost.errors import MissingExtra

try:
    import hiredis
except ModuleNotFoundError as error:
    if error.name != "hiredis":
        raise
    raise MissingExtra("redis", "hiredis") from None

__all__ = ["Done", "Lane", "lane_of"]

_CLASSES: Final[dict[str, Callable[[str], Exception]]] = {
    "ASK": driver.AskError,
    "CLUSTERDOWN": driver.ClusterDownError,
    "CROSSSLOT": driver.ClusterCrossSlotError,
    "LOADING": driver.BusyLoadingError,
    "MASTERDOWN": driver.MasterDownError,
    "MOVED": driver.MovedError,
    "NOAUTH": driver.AuthenticationError,
    "NOPERM": driver.NoPermissionError,
    "NOSCRIPT": driver.NoScriptError,
    "READONLY": driver.ReadOnlyError,
    "TRYAGAIN": driver.TryAgainError,
    "WRONGPASS": driver.AuthenticationError,
}
_REDIRECTIONS: Final = ("ASK", "MOVED")


def _error(text: str) -> Exception:
    """Return the driver's exception for an error reply."""
    code, _, rest = text.partition(" ")
    return _CLASSES.get(code, driver.ResponseError)(rest if code in _REDIRECTIONS else text)


Done = Callable[[list[Any] | None, Exception | None], None]
"""Called with the replies, or with what kept them away. It must not raise."""


class _Request:
    """Replies that are waited for."""

    __slots__ = ("done", "due", "missing", "replies")

    def __init__(self, done: Done, missing: int, due: float) -> None:
        self.done = done
        self.missing = missing
        self.due = due
        self.replies: list[Any] = []


class Lane(asyncio.Protocol):
    """Pipelines requests over a transport.

    Args:
        connection: the driver's connection, to be kept alive and disconnected.
        transport: its transport.
        timeout: for how many seconds to wait for replies.
    """

    def __init__(self, connection: Any, transport: asyncio.Transport, timeout: float) -> None:
        self._connection = connection
        self._transport = transport
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(protocolError=driver.InvalidResponse, replyError=_error)
        self._waiting: deque[_Request] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self.is_open = True
        transport.set_protocol(self)

    def request(self, commands: Sequence[tuple[Any, ...]]) -> asyncio.Future[list[Any]]:
        """Send commands together; return what becomes their replies, refusals among them."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self.post(commands, partial(_resolve, future))
        return future

    def post(self, commands: Sequence[tuple[Any, ...]], done: Done) -> None:
        """Send commands together; ``done`` is told their replies, refusals among them."""
        if len(commands) == 1:
            packed = hiredis.pack_command(commands[0])
        else:
            packed = b"".join(map(hiredis.pack_command, commands))
        due = self._loop.time() + self._timeout
        self._waiting.append(_Request(done, len(commands), due))
        if self._watch is None:
            self._watch = self._loop.call_at(due, self._look)
        self._transport.write(packed)

    def _look(self) -> None:
        """Give the connection up where the oldest request has waited for too long, else look again later."""
        self._watch = None
        if self._waiting:
            due = self._waiting[0].due
            if due <= self._loop.time():
                self._lost(TimeoutError("no reply in time"))
            else:
                self._watch = self._loop.call_at(due, self._look)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                if reply.__class__ is not hiredis.PushNotification:
                    self._take(reply)
        except driver.InvalidResponse as error:
            self._lost(error)

    def _take(self, reply: Any) -> None:
        request = self._waiting[0]
        request.replies.append(reply)
        request.missing -= 1
        if not request.missing:
            self._waiting.popleft()
            request.done(request.replies, None)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(driver.ConnectionError(f"the connection was lost: {exc or 'closed by the server'}"))

    def _lost(self, error: Exception) -> None:
        """Give the connection up: whatever was sent may or may not have been carried out."""
        if not self.is_open:
            return
        self.is_open = False
        self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            request.done(None, error)

    def close(self) -> None:
        """Disconnect."""
        self._lost(driver.ConnectionError("the connection was closed"))


def _resolve(future: asyncio.Future[list[Any]], replies: list[Any] | None, error: Exception | None) -> None:
    if future.done():  # its caller was cancelled
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(replies or [])


def lane_of(connection: Any, timeout: float) -> Lane | None:
    """Return a lane over a connection of the driver; None where it has no transport of its own."""
    writer = getattr(connection, "_writer", None)
    if not isinstance(writer, asyncio.StreamWriter):
        return None
    transport = writer.transport
    return Lane(connection, transport, timeout) if isinstance(transport, asyncio.Transport) else None
