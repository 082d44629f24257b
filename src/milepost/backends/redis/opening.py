"""From settings, a URL or a client to what carries calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import anyio.to_thread
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.places import Places
from milepost.backends.redis.topology import ClusterTopology, OneServer, Topology
from milepost.errors import InvalidDefinition

__all__ = ["Source", "client_source", "host_source", "open_client", "url_source"]

Driver = Redis | RedisCluster

_SCHEMES: Final = "redis://, rediss://, unix://, redis+cluster://, rediss+cluster:// or redis+sentinel://"


@dataclass(frozen=True)
class Source:
    """How to come to a client of the driver.

    Args:
        name: where Redis is, without a password.
        make: makes a client.
        owned: whether the client is ours to close.
        settings: what ``make`` goes by, for the representation.
    """

    name: str
    make: Callable[[float], Driver]
    owned: bool = True
    settings: dict[str, Any] = field(default_factory=dict)


def host_source(host: str, port: int, db: int, settings: dict[str, Any]) -> Source:
    """Return a source for an address; ``settings`` are those of ``redis.asyncio.Redis``."""

    def make(timeout: float) -> Driver:
        return Redis(host=host, port=port, db=db, **_own(timeout), **settings)

    return Source(f"{host}:{port}/{db}", make)


def client_source(client: Any) -> Source:
    """Return a source for a client that was handed in, which its owner closes.

    Raises:
        InvalidDefinition: when it is no asyncio client, or decodes what it reads.
    """
    if not isinstance(client, Redis | RedisCluster):
        raise InvalidDefinition(f"client must be a redis.asyncio.Redis or RedisCluster, got {client!r}")
    if client.get_encoder().decode_responses:
        raise InvalidDefinition(
            "client must not have decode_responses=True: rows and ids are bytes; make another client for milepost"
        )
    if isinstance(client, RedisCluster):
        return Source("a cluster", lambda timeout: client, owned=False)
    kwargs = client.connection_pool.connection_kwargs
    where = kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}"
    return Source(f"{where}/{kwargs.get('db') or 0}", lambda timeout: client, owned=False)


def url_source(url: str) -> Source:
    """Return a source for a URL.

    Raises:
        InvalidDefinition: for a URL that names no Redis.
    """
    if not isinstance(url, str):
        raise InvalidDefinition(f"url must be a string that begins with {_SCHEMES}, got {url!r}")
    parts = urlsplit(url)
    name = parts.netloc.rpartition("@")[2] + parts.path
    scheme, plus, kind = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss", "unix") or kind not in ("", "cluster", "sentinel") or bool(plus) != bool(kind):
        raise InvalidDefinition(f"url must begin with {_SCHEMES}, got {url!r}")
    if kind == "sentinel":
        return _sentinel_source(name, parts, ssl=scheme == "rediss")
    plain = url.replace(f"+{kind}://", "://", 1) if kind else url
    driver: type[Redis] | type[RedisCluster] = RedisCluster if kind else Redis

    def make(timeout: float) -> Driver:
        return driver.from_url(plain, **_own(timeout))

    return Source(name, make)


def _sentinel_source(name: str, parts: Any, *, ssl: bool) -> Source:
    """``redis+sentinel://user:password@host:26379,host:26379/service/db``: the password is the master's."""
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, db = parts.path.strip("/").partition("/")
    pairs = [item.partition(":") for item in hosts.split(",")]
    numbers = [db or "0", *(port or "26379" for _, _, port in pairs)]
    if not service or not all(host for host, _, _ in pairs) or not all(map(str.isdecimal, numbers)):
        raise InvalidDefinition(
            f"a Sentinel URL reads redis+sentinel://host:26379,host:26379/service/0, got one for {name!r}"
        )
    addresses = [(host, int(port or 26379)) for host, _, port in pairs]
    user, _, password = credentials.partition(":")
    settings: dict[str, Any] = {"db": int(db or 0), **dict(parse_qsl(parts.query))}
    if ssl:
        settings["ssl"] = True
    if password:
        settings |= {"username": unquote(user) or None, "password": unquote(password)}

    def make(timeout: float) -> Driver:
        sentinel = Sentinel(addresses, sentinel_kwargs=_own(timeout))  # type: ignore[no-untyped-call]
        client: Redis = sentinel.master_for(service, **_own(timeout), **settings)
        return client

    return Source(name, make)


def _own(timeout: float) -> dict[str, Any]:
    """Return settings for clients of our own: what is tried again is decided in one place, not here."""
    return {"socket_connect_timeout": timeout, "socket_timeout": timeout, "retry": Retry(NoBackoff(), 0)}


async def open_client(source: Source, places: Places, timeout: float, patience: float) -> RedisClient:
    """Return what carries calls for these partitions; nothing is connected yet.

    Args:
        source: where Redis is.
        places: told of new connections.
        timeout: for how many seconds to wait for replies.
        patience: for how many seconds to try again.
    """
    driver = await anyio.to_thread.run_sync(source.make, timeout)  # it reads files, and looks localhost up
    topology: Topology
    if isinstance(driver, RedisCluster):
        topology = ClusterTopology(driver, places.keys.all_tags, timeout, places.on_connected)
    else:
        topology = OneServer(driver, source.name, timeout, places.on_connected)

    async def close() -> None:
        if source.owned:
            await driver.aclose()
            pool = None if isinstance(driver, RedisCluster) else driver.connection_pool
            if isinstance(pool, SentinelConnectionPool):
                for sentinel in pool.sentinel_manager.sentinels:
                    await sentinel.aclose()

    return RedisClient(source.name, topology, patience, close)
