"""Which cache and store work together, and who decides: the cache, or the store."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from milepost.backends.schemes import REDIS_SCHEMES
from milepost.data_caches.base import BaseDataCache, LeadingCache
from milepost.data_caches.memory import MemoryDataCache
from milepost.data_stores.base import BaseDataStore
from milepost.data_stores.memory import MemoryDataStore
from milepost.errors import InvalidDefinition
from milepost.records import Authority
from milepost.replicas import Replicas

__all__ = ["Arrangement", "Write", "arrange", "cache_from_url", "store_from_url"]

Write = Literal["through", "behind"]

_REPLICAS: Final = 100_000


class Arrangement(NamedTuple):
    """Who decides, where replicas are held, whether a store follows, and whether it must be ours alone."""

    authority: Authority
    table: Replicas
    write: Write
    leader: LeadingCache | None = None

    @property
    def alone(self) -> bool:
        """Whether no other process may have the store."""
        return self.leader is not None and self.leader.alone


def arrange(cache: BaseDataCache, store: BaseDataStore, write: Write | None) -> Arrangement:
    """Say who decides.

    Args:
        cache: the cache.
        store: the store.
        write: ``"through"``: a commit is acknowledged when the store has it. ``"behind"``:
            when the cache has it. None: what is the default for this pair.

    Raises:
        InvalidDefinition: when the pair cannot work that way.
    """
    if write not in (None, "through", "behind"):
        raise InvalidDefinition(f'write must be "through" or "behind", got {write!r}')
    if not isinstance(cache, MemoryDataCache):
        return _behind_shared(cache, store, write)
    if isinstance(store, MemoryDataStore):
        if write == "behind":
            raise InvalidDefinition('write="behind" needs a store that lasts, such as SQLiteDataStore')
        cache.table = store.table  # both are this process's memory: one table serves both
        return Arrangement(store, store.table, "through")
    if write == "behind":
        cache.lead(store)
        return Arrangement(cache, cache.table, "behind", cache)
    return Arrangement(store, cache.table, "through")


def _behind_shared(cache: BaseDataCache, store: BaseDataStore, write: Write | None) -> Arrangement:
    """A cache that many processes share decides; a store that lasts follows."""
    if write == "through":
        raise InvalidDefinition('write="through" needs a MemoryDataCache: a shared cache decides commits itself')
    table = Replicas(_REPLICAS)
    if not store.lasting:
        return Arrangement(cache, table, "behind")
    if not isinstance(cache, LeadingCache):
        raise InvalidDefinition(f"no store can follow {cache!r}: it is no LeadingCache")
    cache.lead(store)
    return Arrangement(cache, table, "behind", cache)


def cache_from_url(url: str) -> BaseDataCache:
    """Build a cache: ``memory://``, ``redis://host:6379/0``, ``rediss://…``, ``redis+cluster://…``, ``redis+sentinel://…``.

    Raises:
        InvalidDefinition: for any other scheme.
        MissingExtra: when the driver is not installed.
    """
    scheme = _parts("cache_url", url).scheme
    if scheme == "memory":
        return MemoryDataCache()
    if scheme in REDIS_SCHEMES:
        from milepost.data_caches.redis import RedisDataCache

        return RedisDataCache.from_url(url)
    schemes = ", ".join(f"{name}://" for name in ("memory", *REDIS_SCHEMES))
    raise InvalidDefinition(f"cache_url must begin with one of {schemes}, got one with {scheme!r}")


def _parts(name: str, url: str) -> SplitResult:
    if not isinstance(url, str):
        raise InvalidDefinition(f"{name} must be a URL such as memory:// or sqlite:///track.db, got {url!r}")
    try:
        return urlsplit(url)
    except ValueError as error:
        raise InvalidDefinition(f"{name} must be a URL such as memory:// or sqlite:///track.db: {error}") from None


def store_from_url(url: str) -> BaseDataStore:
    """Build a store: ``memory://``, ``sqlite:///track.db`` (four slashes for an absolute path), or ``mongodb://…``.

    Raises:
        InvalidDefinition: for any other scheme, or where the path is missing.
        MissingExtra: when the driver is not installed.
    """
    parts = _parts("store_url", url)
    if parts.scheme == "memory":
        return MemoryDataStore()
    if parts.scheme == "sqlite":
        from milepost.data_stores.sqlite import SQLiteDataStore

        path = unquote(parts.path)[1:]
        if parts.netloc or not path:
            raise InvalidDefinition(
                "a SQLite URL reads sqlite:///relative/path or sqlite:////absolute/path, "
                f"got one with {path!r} after its host"
            )
        return SQLiteDataStore(path)
    if parts.scheme in ("mongodb", "mongodb+srv"):
        from milepost.data_stores.mongodb import MongoDBDataStore

        return MongoDBDataStore.from_url(url)
    raise InvalidDefinition(
        f"store_url must begin with memory://, sqlite:///, mongodb:// or mongodb+srv://, got one with {parts.scheme!r}"
    )
