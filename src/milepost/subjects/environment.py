"""What models find around them: a manager, its bus, and the services that the application handed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from milepost.errors import InvalidDefinition
from milepost.subjects.keeper import Keeper

__all__ = ["Environment", "HandlerTaking", "current_environment", "on_default_bus", "use_bus", "use_environment"]


class _Managing(Protocol):
    @property
    def bus(self) -> Any: ...

    @property
    def _keeper(self) -> Keeper: ...


class HandlerTaking(Protocol):
    """What a bus is to who registers handlers."""

    @property
    def event_handler(self) -> Callable[..., Callable[[Any], Any]]:
        """Takes patterns, and decorates a handler that gets the event."""
        ...


class Environment:
    """A manager, its event bus, and services by name: ``model._env.mailer``.

    Args:
        manager: the manager.
        services: what the application handed over.

    Raises:
        InvalidDefinition: for a service whose name is taken.
    """

    def __init__(self, manager: _Managing, services: Mapping[str, Any] | None = None) -> None:
        self.manager: Any = manager
        self.services = dict(services or {})
        self.keeper = manager._keeper
        for name in self.services:
            if not isinstance(name, str) or name.startswith("_") or hasattr(type(self), name) or name in vars(self):
                raise InvalidDefinition(f"a service cannot be named {name!r}")

    @property
    def event_bus(self) -> Any:
        """The manager's bus."""
        return self.manager.bus

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["services"][name]
        except KeyError:
            raise AttributeError(f"there is no service {name!r}; hand it over as init(services={{...}})") from None


class _Defaults:
    """What ``milepost.init`` has made."""

    def __init__(self) -> None:
        self.environment: Environment | None = None
        self.bus: HandlerTaking | None = None
        self.waiting: list[Callable[[HandlerTaking], None]] = []


_defaults = _Defaults()


def use_environment(environment: Environment) -> None:
    """Let models that are bound to no manager of their own use this one."""
    _defaults.environment = environment


def current_environment() -> Environment | None:
    """Return what models use that are bound to no manager of their own."""
    return _defaults.environment


def use_bus(bus: HandlerTaking) -> None:
    """Let handlers be registered on this bus, those too that came before it."""
    _defaults.bus = bus
    waiting, _defaults.waiting = _defaults.waiting, []
    for register in waiting:
        register(bus)


def on_default_bus(register: Callable[[HandlerTaking], None]) -> None:
    """Register something on the default bus, now or as soon as there is one."""
    if _defaults.bus is None:
        _defaults.waiting.append(register)
    else:
        register(_defaults.bus)
