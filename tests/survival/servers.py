"""The servers of survival programs: each program has its own, to kill as it likes, with proxies before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.proxy import Proxy
from tests.servers.mongodb import MongoServer, Unavailable
from tests.servers.valkey import ValkeyServer
from tests.survival.where import Where

__all__ = ["Servers", "servers_for"]


@dataclass
class Servers:
    """What runs for one set-up.

    Attributes:
        folder: for SQLite files.
        redis: a server, where the set-up has one.
        mongodb: likewise.
        database: the database in MongoDB.
        store_settings: for the store.
    """

    setup: str
    folder: Path
    redis: ValkeyServer | None = None
    mongodb: MongoServer | None = None
    database: str = "milepost"
    store_settings: dict[str, Any] = field(default_factory=dict)

    def where(self, *, redis_port: int = 0, mongodb_port: int = 0, **cache_settings: Any) -> Where:
        """Return where groups are.

        Args:
            redis_port: of a proxy before Redis; the server itself by default.
            mongodb_port: of a proxy before MongoDB; the server itself by default.
            **cache_settings: for the cache.
        """
        cache, store, write = "memory://", "memory://", None
        if self.redis is not None:
            cache = f"redis://127.0.0.1:{redis_port or self.redis.port}/0"
        if self.mongodb is not None:
            address = f"127.0.0.1:{mongodb_port}" if mongodb_port else self.mongodb.url.removeprefix("mongodb://")
            store = f"mongodb://{address}/{self.database}"
        elif "sqlite" in self.setup:
            store = f"sqlite:///{self.folder / 'track.db'}"
        if self.redis is None:
            write = "through"
        return Where(cache, store, write, cache_settings, self.store_settings)


@asynccontextmanager
async def servers_for(setup: str, folder: Path, *redis_options: str) -> AsyncGenerator[Servers, None]:
    """Start what a set-up names: any of ``redis``, ``sqlite`` and ``mongodb``.

    Args:
        setup: words joined by ``+``, or spaces.
        folder: for what they keep.
        *redis_options: options of the Redis server.
    """
    servers = Servers(setup, folder)
    async with AsyncExitStack() as stack:
        if "redis" in setup:
            servers.redis = ValkeyServer(folder / "redis", options=redis_options)
            stack.callback(servers.redis.stop)
            await asyncio.to_thread(servers.redis.start)
        if "mongodb" in setup:
            servers.mongodb = MongoServer(folder)
            if not servers.mongodb.is_ours:
                raise Unavailable("MILEPOST_TEST_MONGODB_URL names a server that is not ours to stop")
            stack.callback(servers.mongodb.stop)
            await asyncio.to_thread(servers.mongodb.start)
        yield servers


@asynccontextmanager
async def proxies_before(servers: Servers) -> AsyncGenerator[tuple[Proxy | None, Proxy | None], None]:
    """Open a proxy before each of the servers there are: Redis' and MongoDB's."""
    async with AsyncExitStack() as stack:
        found = []
        for server in (servers.redis, servers.mongodb):
            found.append(None if server is None else await stack.enter_async_context(Proxy("127.0.0.1", server.port)))
        yield found[0], found[1]
