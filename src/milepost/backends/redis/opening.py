"""From settings, a URL or a client to what carries calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import anyio.to_thread
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.places import Places
from milepost.backends.redis.sentinels import SentinelTopology
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
        address: a URL of it, without a password.
    """

    name: str
    make: Callable[[float], Driver]
    owned: bool = True
    address: str = "URL"


def host_source(host: str, port: int, db: int, settings: dict[str, Any]) -> Source:
    """Return a source for an address; ``settings`` are those of ``redis.asyncio.Redis``.

    Raises:
        InvalidDefinition: when it can be no address, or the driver knows no such setting.
    """
    if not isinstance(host, str) or not host or "/" in host:
        raise InvalidDefinition(f"host must be the name of a server; URLs are for from_url; got {_shown(host)}")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise InvalidDefinition(f"port must be a number from 1 to 65535, got {port!r}")
    if isinstance(db, bool) or not isinstance(db, int) or db < 0:
        raise InvalidDefinition(f"db must be a number of at least 0, got {db!r}")
    unknown = settings.keys() - signature(Redis.__init__).parameters.keys()
    if unknown:
        raise InvalidDefinition(f"neither RedisDataCache nor redis.asyncio.Redis knows {', '.join(sorted(unknown))}")

    def make(timeout: float) -> Driver:
        return Redis(host=host, port=port, db=db, **_own(timeout), **settings)

    scheme = "rediss" if settings.get("ssl") else "redis"
    login = _login(settings.get("username"), settings.get("password"))
    return Source(f"{host}:{port}/{db}", make, address=f"{scheme}://{login}{host}:{port}/{db}")


def _login(user: Any, password: Any) -> str:
    return f"{user or ''}:***@" if password else ""


def _shown(host: Any) -> str:
    return "one" if isinstance(host, str) and "@" in host else repr(host)


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
        return Source("a cluster", lambda timeout: client, owned=False, address="redis+cluster://host:port")
    kwargs = client.connection_pool.connection_kwargs
    where = kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}"
    name = f"{where}/{kwargs.get('db') or 0}"
    address = f"redis://{_login(kwargs.get('username'), kwargs.get('password'))}{name}"
    return Source(name, lambda timeout: client, owned=False, address="unix://" + where if "path" in kwargs else address)


def url_source(url: str) -> Source:
    """Return a source for a URL.

    Raises:
        InvalidDefinition: for a URL that names no Redis.
    """
    if not isinstance(url, str):
        raise InvalidDefinition(f"url must be a string that begins with {_SCHEMES}, got {url!r}")
    parts = _parts_of(url)
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    name = host + parts.path
    address = f"{parts.scheme}://{user}{colon and ':***'}{at}{name}"
    scheme, plus, kind = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss", "unix") or kind not in ("", "cluster", "sentinel") or bool(plus) != bool(kind):
        raise InvalidDefinition(f"url must begin with {_SCHEMES}, got one with {parts.scheme!r}")
    if kind == "sentinel":
        return _sentinel_source(name, address, parts, ssl=scheme == "rediss")
    _check_port(parts)
    plain = url.replace(f"+{kind}://", "://", 1) if kind else url
    driver: type[Redis] | type[RedisCluster] = RedisCluster if kind else Redis

    def make(timeout: float) -> Driver:
        return driver.from_url(plain, **_own(timeout))

    return Source(name, make, address=address)


def _parts_of(url: str) -> SplitResult:
    """Return the parts of a URL; what is wrong with one is said without it, for it may have a password."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidDefinition(f"url must begin with {_SCHEMES}: {error}") from None
    if "@" in parts.path and parts.scheme != "unix":
        raise InvalidDefinition("url must have /, ? and # in its user name and password written as %2F, %3F and %23")
    return parts


def _check_port(parts: SplitResult) -> None:
    try:
        _ = parts.port
    except ValueError as error:
        raise InvalidDefinition(f"url must have a port from 0 to 65535: {error}") from None


def _sentinel_source(name: str, address: str, parts: Any, *, ssl: bool) -> Source:
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

    return Source(name, make, address=address)


def _own(timeout: float) -> dict[str, Any]:
    """Return settings for clients of our own: what is tried again is decided in one place, not here."""
    return {"socket_connect_timeout": timeout, "socket_timeout": timeout, "retry": Retry(NoBackoff(), 0)}


def _make(source: Source, timeout: float) -> Driver:
    """Make a client; settings that the driver does not know are otherwise found out with the first connection."""
    driver = source.make(timeout)
    if source.owned and isinstance(driver, Redis):
        pool = driver.connection_pool
        _ = pool.connection_class(**pool.connection_kwargs)
    return driver


async def open_client(source: Source, places: Places, timeout: float, patience: float) -> RedisClient:
    """Return what carries calls for these partitions; nothing is connected yet.

    Args:
        source: where Redis is.
        places: told of new connections.
        timeout: for how many seconds to wait for replies.
        patience: for how many seconds to try again.

    Raises:
        InvalidDefinition: when the driver does not take the settings.
    """
    try:
        driver = await anyio.to_thread.run_sync(_make, source, timeout)  # it reads files, and looks localhost up
    except (TypeError, ValueError) as error:
        raise InvalidDefinition(f"Redis at {source.name} cannot be reached with these settings: {error}") from error
    topology: Topology
    if isinstance(driver, RedisCluster):
        topology = ClusterTopology(driver, places.keys.all_tags, timeout, places.on_connected)
    elif isinstance(driver.connection_pool, SentinelConnectionPool):
        pool = driver.connection_pool
        topology = SentinelTopology(driver, pool, source.name, timeout, places.on_connected)
    else:
        topology = OneServer(driver, source.name, timeout, places.on_connected)

    async def close() -> None:
        if source.owned:
            await driver.aclose()
            pool = None if isinstance(driver, RedisCluster) else driver.connection_pool
            if isinstance(pool, SentinelConnectionPool):
                for sentinel in pool.sentinel_manager.sentinels:
                    await sentinel.aclose()

    return RedisClient(source.name, topology, patience, close, source.address)
