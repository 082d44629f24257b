"""Transports by URL, and beside a cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import unquote, urlsplit

from milepost.backends.schemes import REDIS_SCHEMES
from milepost.bus.transports.base import Transport
from milepost.bus.transports.memory import MemoryTransport
from milepost.data_caches.base import BaseDataCache
from milepost.errors import InvalidDefinition, MissingExtra

__all__ = ["transport_beside", "transport_from_url"]


def transport_beside(cache: BaseDataCache) -> Callable[[], Transport] | None:
    """Return what makes a transport whose stream is the outbox of a cache; None where there is none."""
    try:
        from milepost.bus.transports.redis import RedisTransport
        from milepost.data_caches.redis import RedisDataCache
    except MissingExtra:  # then the cache is another one
        return None
    return partial(RedisTransport.beside, cache) if isinstance(cache, RedisDataCache) else None


def transport_from_url(url: str) -> Transport:
    """Build a transport: ``memory://``, ``sqlite:///events.db`` (four slashes for an absolute path), ``redis://…``.

    Raises:
        InvalidDefinition: for any other scheme, or where the path is missing.
        MissingExtra: when the driver is not installed.
    """
    if not isinstance(url, str):
        raise InvalidDefinition(f"bus_url must be a URL such as memory:// or sqlite:///events.db, got {url!r}")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidDefinition(f"bus_url must be a URL such as memory:// or redis://localhost: {error}") from None
    if parts.scheme == "memory":
        return MemoryTransport()
    if parts.scheme == "sqlite":
        from milepost.bus.transports.sqlite import SQLiteTransport

        path = unquote(parts.path)[1:]
        if parts.netloc or not path:
            raise InvalidDefinition(
                f"a SQLite URL reads sqlite:///relative/path or sqlite:////absolute/path, got {url!r}"
            )
        return SQLiteTransport(path)
    if parts.scheme in REDIS_SCHEMES:
        from milepost.bus.transports.redis import RedisTransport

        return RedisTransport.from_url(url)
    schemes = ", ".join(f"{name}://" for name in ("memory", "sqlite", *REDIS_SCHEMES))
    raise InvalidDefinition(f"bus_url must begin with one of {schemes}, got one with {parts.scheme!r}")
