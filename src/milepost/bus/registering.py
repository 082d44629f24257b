"""The part of a bus where handlers and middleware are registered."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Unpack

from milepost.bus.decorators import Decorators
from milepost.bus.handlers import Handler, HandlerTable, HowToRun, Predicate, check_patterns
from milepost.bus.middleware import Middleware, Scope, as_middleware
from milepost.errors import InvalidDefinition

__all__ = ["Registering"]


class Registering(Decorators):
    """Knows the handlers of a bus and the middleware around them."""

    def __init__(self) -> None:
        self._table = HandlerTable()
        self._local = self._table.local.found
        self.handler_layers: tuple[Middleware, ...] = ()
        self.event_layers: tuple[Middleware, ...] = ()
        self._durable: str | None = None
        """The durable consumer of handlers that name none."""
        self.on_handlers_changed: Callable[[], None] = lambda: None

    @abstractmethod
    def _handler_added(self, handler: Handler) -> None: ...

    def register(
        self,
        function: Callable[..., Any],
        patterns: str | Sequence[str],
        filters: Iterable[Predicate] = (),
        *,
        takes_event: bool = False,
        **how: Unpack[HowToRun],
    ) -> Handler:
        """Register a handler.

        Args:
            function: plain or async; takes a context. A plain one runs in a thread; it emits with
                ``anyio.from_thread.run(ctx.emit, "order.paid")``.
            patterns: which events it wants: ``*`` is anything, dots included, ``?`` one character.
            filters: predicates that must hold besides, plain or async.
            takes_event: whether it gets the event instead of a context.
            **how: ``retry``, a ``RetryPolicy``; ``timeout``, seconds for each attempt; ``concurrency``, how many
                runs of it at a time; ``durable``, the name of a durable consumer it belongs to; ``breaker``, a
                ``CircuitBreaker``; ``name``, what it is known by instead of the function's name.

        A handler that is not durable hears what this process publishes, at most once. A durable consumer gets
        every event at least once, from every process that shares the transport; those that share its name share
        its work.

        Returns:
            The registration.

        Raises:
            InvalidDefinition: when a pattern or a setting is wrong.
        """
        wanted = check_patterns((patterns,) if isinstance(patterns, str) else patterns)
        handler = Handler(function, wanted, tuple(filters), takes_event, self._how(how))
        self._table.add(handler)
        self._handler_added(handler)
        return handler

    def _how(self, how: HowToRun) -> HowToRun:
        return how if self._durable is None or "durable" in how else {**how, "durable": self._durable}

    def _decorated(self, function: Callable[..., Any], handler: Handler) -> None:
        self._table.decorate(function, handler)
        self._handler_added(handler)

    def _filtered(self, function: Callable[..., Any], predicates: tuple[Predicate, ...]) -> None:
        self._table.filter(function, predicates)

    def unregister(self, name: str | Callable[..., Any]) -> int:
        """Remove handlers.

        Args:
            name: their name or identity, or the function.

        Returns:
            How many were removed.
        """
        removed = self._table.remove(lambda handler: name in (handler.name, handler.identity, handler.function))
        self.on_handlers_changed()
        return removed

    def unregister_all(self) -> int:
        """Remove all handlers; middleware stays. Return how many there were."""
        removed = self._table.remove(lambda handler: True)
        self.on_handlers_changed()
        return removed

    def add_middleware(self, function: Callable[..., Any], scope: Scope = "handler") -> None:
        """Add a middleware; the first one is outermost.

        Args:
            function: takes a context and ``next``; plain or async.
            scope: ``"handler"``: around each run of a handler; ``"event"``: around each event that is published
                here, once, whether or not anybody handles it.

        Raises:
            InvalidDefinition: when it cannot be called, or the scope is none.
        """
        if scope == "handler":
            self.handler_layers = (*self.handler_layers, as_middleware(function))
        elif scope == "event":
            self.event_layers = (*self.event_layers, as_middleware(function))
        else:
            raise InvalidDefinition(f'scope must be "handler" or "event", got {scope!r}')

    def handler_identities(self) -> list[str]:
        """Return what the handlers are known by."""
        return [handler.identity for handler in self._table.handlers()]

    def handler_of(self, identity: str) -> Handler | None:
        """Return a handler by its identity."""
        return self._table.known(identity)

    def matching(self, consumer: str, event_type: str) -> tuple[Handler, ...]:
        """Return a durable consumer's handlers for a type of event."""
        return self._table.matching(consumer, event_type)
