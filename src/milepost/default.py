"""The default manager: ``init()``, and an ``event_bus`` and ``event_handler`` that work before it and after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, Unpack
from urllib.parse import urlsplit, urlunsplit

from milepost.adapters import cache_from_url, store_from_url
from milepost.bus.bus import EventBus
from milepost.bus.handlers import HowToRun
from milepost.bus.transports.urls import transport_from_url
from milepost.errors import InvalidDefinition
from milepost.manager import TrackingManager
from milepost.retries import RetryPolicy
from milepost.subjects.environment import Environment, use_bus, use_environment

__all__ = ["event_bus", "event_handler", "init"]

_DATABASE: Final = "milepost"
_EVENT_CONFIG: Final = ("queue_name", "retry_policy")

F = TypeVar("F", bound=Callable[..., Any])


event_bus: Final = EventBus()
"""The default bus: in memory until ``init`` gives it another transport. What is registered stays registered."""

use_bus(event_bus)


def init(
    *,
    mongo_uri: str | None = None,
    mongodb_uri: str | None = None,
    database: str | None = None,
    redis_uri: str | None = None,
    event_config: Mapping[str, Any] | None = None,
    services: Mapping[str, Any] | None = None,
    **settings: Any,
) -> TrackingManager:
    """Build a manager whose bus is the default ``event_bus``, and that models use which are bound to no other.

    ::

        manager = init(
            mongo_uri="mongodb://localhost",
            redis_uri="redis://localhost",
            event_config={"queue_name": "billing", "retry_policy": {"max_retries": 3}},
        )

    Args:
        mongo_uri: the MongoDB where records last; by default memory.
        mongodb_uri: another spelling of ``mongo_uri``.
        database: the database in it; by default the one that the URI names, else ``milepost``.
        redis_uri: the Redis that is the cache, and carries the events; by default both are in memory.
        event_config: ``queue_name``: the durable consumer that handlers of the default bus belong to, on a
            transport that lasts; ``retry_policy``: the arguments of their :class:`RetryPolicy`.
        services: what the hooks of models find in ``self._env``, by name.
        **settings: as for :class:`TrackingManager`.

    Raises:
        InvalidDefinition: when a setting is wrong.
        MissingExtra: when a driver is not installed.
    """
    if mongo_uri is not None and mongodb_uri is not None:
        raise InvalidDefinition("give mongo_uri or mongodb_uri, not both")
    config = dict(event_config or {})
    for name in config:
        if name not in _EVENT_CONFIG:
            raise InvalidDefinition(f"event_config has {' and '.join(map(repr, _EVENT_CONFIG))}, got {name!r}")
    queue_name = config.get("queue_name")
    if queue_name is not None and (not isinstance(queue_name, str) or not queue_name):
        raise InvalidDefinition(f"queue_name must be text, got {queue_name!r}")
    uri = mongodb_uri if mongo_uri is None else mongo_uri
    if uri is not None and "data_store" not in settings:
        settings["data_store"] = store_from_url(_with_database(uri, database))
    if redis_uri is not None and "data_cache" not in settings:
        settings["data_cache"] = cache_from_url(redis_uri)
    transport = settings.pop("bus", None) or transport_from_url(redis_uri or "memory://")
    event_bus.use(
        transport, retry=_retry_policy(config.get("retry_policy")), durable=queue_name if transport.lasting else None
    )
    manager = TrackingManager(bus=event_bus, **settings)
    use_environment(Environment(manager, services))
    return manager


def _retry_policy(given: Any) -> RetryPolicy | None:
    if given is None or isinstance(given, RetryPolicy):
        return given
    if not isinstance(given, Mapping):
        raise InvalidDefinition(f"retry_policy must be a RetryPolicy or its arguments, got {given!r}")
    try:
        return RetryPolicy(**given)
    except TypeError as error:
        raise InvalidDefinition(f"retry_policy: {error}") from None


def _with_database(uri: str, database: str | None) -> str:
    """Return a MongoDB URI that names its database."""
    if not isinstance(uri, str):
        raise InvalidDefinition(f"mongo_uri must be a URI such as mongodb://localhost, got {uri!r}")
    parts = urlsplit(uri)
    name = database or parts.path.strip("/") or _DATABASE
    return urlunsplit(parts._replace(path=f"/{name}"))


def event_handler(*patterns: str, **how: Unpack[HowToRun]) -> Callable[[F], F]:
    """Decorate a handler of the default bus, which gets the event itself. Works before ``init`` and after it.

    Args:
        *patterns: which events it wants.
        **how: how it is run; see ``EventBus.register``.

    Raises:
        InvalidDefinition: when a pattern or a setting is wrong.
    """
    return event_bus.event_handler(*patterns, **how)
