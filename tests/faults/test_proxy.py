"""The proxy does what it says, or the tests that use it show nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.faults.proxy import Proxy


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Proxy, list[bytes]]]:
    """A server that repeats what it hears and keeps it, behind a proxy."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            heard.append(line)
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, Proxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy, heard


async def ask(proxy: Proxy, *lines: bytes) -> list[bytes]:
    """Send lines over one connection; return the answers until it is cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    answers: list[bytes] = []
    try:
        for line in lines:
            writer.write(line)
            answer = await reader.readline()
            if not answer:
                break
            answers.append(answer)
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return answers


async def test_what_is_sent_arrives_and_is_answered(echo: tuple[Proxy, list[bytes]]) -> None:
    """With nothing wrong, requests and replies pass as they are."""
    proxy, heard = echo
    assert await ask(proxy, b"a\n", b"b\n") == heard == [b"a\n", b"b\n"]


async def test_a_lost_reply_belongs_to_a_request_that_arrived(echo: tuple[Proxy, list[bytes]]) -> None:
    """The server has the request, the client never hears so, and the next connection is sound."""
    proxy, heard = echo
    proxy.lose_reply_to(lambda chunk: b"commit" in chunk)
    assert await ask(proxy, b"read\n", b"commit\n", b"never\n") == [b"read\n"]
    assert (heard, proxy.lost_replies) == ([b"read\n", b"commit\n"], 1)
    assert await ask(proxy, b"commit\n") == [b"commit\n"]


async def test_silence_holds_back_and_keeps_the_connection(echo: tuple[Proxy, list[bytes]]) -> None:
    """Nothing passes until the proxy speaks again; then everything does."""
    proxy, heard = echo
    proxy.fall_silent()
    asking = asyncio.ensure_future(ask(proxy, b"a\n"))
    for _ in range(100):
        await asyncio.sleep(0)
    assert heard == []
    proxy.speak()
    assert await asking == [b"a\n"]


async def test_refusing_and_accepting_keep_the_port(echo: tuple[Proxy, list[bytes]]) -> None:
    """Refused connections fail at once; afterwards the same address works."""
    proxy, _ = echo
    port = proxy.port
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await ask(proxy, b"a\n")
    await proxy.accept()
    assert proxy.port == port
    assert await ask(proxy, b"a\n") == [b"a\n"]


async def test_a_lost_request_never_arrives(echo: tuple[Proxy, list[bytes]]) -> None:
    """The server hears nothing of it, and the next connection is sound."""
    proxy, heard = echo
    proxy.lose_request(lambda chunk: b"commit" in chunk)
    assert await ask(proxy, b"read\n", b"commit\n", b"never\n") == [b"read\n"]
    assert (heard, proxy.lost_requests) == ([b"read\n"], 1)
    assert await ask(proxy, b"commit\n") == [b"commit\n"]


async def test_after_a_lost_reply_nobody_may_get_through(echo: tuple[Proxy, list[bytes]]) -> None:
    """Where asked, connections are refused from then on, until the proxy accepts again."""
    proxy, heard = echo
    proxy.lose_reply_to(lambda chunk: b"commit" in chunk, then_refuse=True)
    assert await ask(proxy, b"commit\n") == []
    assert heard == [b"commit\n"]
    with pytest.raises(ConnectionRefusedError):
        await ask(proxy, b"a\n")
    await proxy.accept()
    assert await ask(proxy, b"a\n") == [b"a\n"]


async def test_a_reply_is_held_back(echo: tuple[Proxy, list[bytes]]) -> None:
    """The server has the request and has answered, the client goes on waiting, and others are served."""
    proxy, heard = echo
    here = proxy.hold_reply_to(lambda chunk: b"commit" in chunk)
    asking = asyncio.ensure_future(ask(proxy, b"read\n", b"commit\n"))
    await here
    assert heard == [b"read\n", b"commit\n"]
    assert await ask(proxy, b"commit\n") == [b"commit\n"]
    assert not asking.done()
    await proxy.cut()
    assert await asking == [b"read\n"]
    assert not proxy.serving
