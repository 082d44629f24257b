"""``on``, ``when``, ``middleware`` and ``event_handler``: registering by decoration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeVar, Unpack, overload

from milepost.bus.handlers import Handler, HowToRun, Predicate, check_patterns
from milepost.bus.middleware import Scope

__all__ = ["Decorators", "Handlers"]

F = TypeVar("F", bound=Callable[..., Any])


class _On(Protocol):
    def __call__(self, *patterns: str, **how: Unpack[HowToRun]) -> Callable[[F], F]: ...


class _When(Protocol):
    def __call__(self, *predicates: Predicate) -> Callable[[F], F]: ...


class _Middleware(Protocol):
    @overload
    def __call__(self, function: F, /) -> F: ...

    @overload
    def __call__(self, *, scope: Scope = "handler") -> Callable[[F], F]: ...


class Handlers(NamedTuple):
    """What ``bus.handlers()`` unpacks into."""

    on: _On
    when: _When
    middleware: _Middleware
    emit: Callable[..., Awaitable[str]]


class Decorators(ABC):
    """The part of a bus that decorates functions."""

    @abstractmethod
    def _how(self, how: HowToRun) -> HowToRun: ...

    @abstractmethod
    def _decorated(self, function: Callable[..., Any], handler: Handler) -> None: ...

    @abstractmethod
    def _filtered(self, function: Callable[..., Any], predicates: tuple[Predicate, ...]) -> None: ...

    @abstractmethod
    def add_middleware(self, function: Callable[..., Any], scope: Scope = "handler") -> None:
        """Add a middleware."""

    @abstractmethod
    async def emit(self, event_type: str, subject: Any = None, payload: Any = None, **extra: Any) -> str:
        """Emit an event."""

    def handlers(self, **defaults: Unpack[HowToRun]) -> Handlers:
        """Return ``on``, ``when``, ``middleware`` and ``emit``, bound to this bus.

        Args:
            **defaults: what ``on`` takes where it is not told otherwise, such as ``durable="billing"``.
        """

        def on(*patterns: str, **how: Unpack[HowToRun]) -> Callable[[F], F]:
            merged: HowToRun = {**defaults, **how}
            return self.on(*patterns, **merged)

        return Handlers(on, self.when, self.middleware, self.emit)

    def on(self, *patterns: str, **how: Unpack[HowToRun]) -> Callable[[F], F]:
        """Decorate a handler, which gets a context.

        Several on one function are several handlers. A ``when`` belongs to the ``on`` next above it, and to
        those directly above that one; where there is none above, to the one below.

        Args:
            *patterns: which events it wants: ``*`` is anything, dots included, ``?`` one character.
            **how: how it is run; see ``register``.

        Raises:
            InvalidDefinition: when a pattern or a setting is wrong.
        """
        return self._decorator(patterns, how, takes_event=False)

    def event_handler(self, *patterns: str, **how: Unpack[HowToRun]) -> Callable[[F], F]:
        """Decorate a handler that gets the event itself; otherwise like :meth:`on`."""
        return self._decorator(patterns, how, takes_event=True)

    def _decorator(self, patterns: tuple[str, ...], how: HowToRun, *, takes_event: bool) -> Callable[[F], F]:
        wanted = check_patterns(patterns)

        def decorate(function: F) -> F:
            self._decorated(function, Handler(function, wanted, (), takes_event, self._how(how)))
            return function

        return decorate

    def when(self, *predicates: Predicate) -> Callable[[F], F]:
        """Decorate a handler with predicates that must all hold.

        Args:
            *predicates: take the context; plain or async.
        """

        def decorate(function: F) -> F:
            self._filtered(function, predicates)
            return function

        return decorate

    @overload
    def middleware(self, function: F, /) -> F: ...

    @overload
    def middleware(self, *, scope: Scope = "handler") -> Callable[[F], F]: ...

    def middleware(self, function: F | None = None, *, scope: Scope = "handler") -> F | Callable[[F], F]:
        """Decorate a middleware, ``async def timing(ctx, next)``; see ``add_middleware``."""

        def decorate(decorated: F) -> F:
            self.add_middleware(decorated, scope)
            return decorated

        return decorate if function is None else decorate(function)
