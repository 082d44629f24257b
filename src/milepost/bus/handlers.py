"""Handlers: a function, the events it wants, and how it is to be run. The table that finds them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypedDict

from milepost.bus.breaker import CircuitBreaker
from milepost.bus.matching import PatternIndex
from milepost.errors import InvalidDefinition
from milepost.retries import RetryPolicy

__all__ = ["Handler", "HandlerTable", "HowToRun", "Predicate", "check_patterns", "is_async"]

Predicate = Callable[[Any], Any]


class HowToRun(TypedDict, total=False):
    """The keywords that say how a handler is run; see ``EventBus.register``."""

    retry: RetryPolicy | None
    timeout: float | None
    concurrency: int | None
    durable: str | None
    breaker: CircuitBreaker | None
    name: str | None


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    if inspect.iscoroutinefunction(function):
        return True
    return not inspect.isroutine(function) and inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def check_patterns(patterns: Iterable[Any]) -> tuple[str, ...]:
    """Return patterns of event types.

    Raises:
        InvalidDefinition: when there is none, or one is no text.
    """
    checked = tuple(patterns)
    for pattern in checked:
        if not isinstance(pattern, str) or not pattern:
            raise InvalidDefinition(f"a pattern must be text such as 'order.*', got {pattern!r}")
    if not checked:
        raise InvalidDefinition("a handler needs at least one pattern; '*' is every event")
    return checked


class Handler:
    """One registration of a function.

    Args:
        function: takes a context, or the event.
        patterns: which events it wants.
        predicates: what must hold besides.
        takes_event: whether it gets the event instead of a context.
        how: how it is run.

    Raises:
        InvalidDefinition: when a setting is wrong.
    """

    __slots__ = (
        "breaker",
        "concurrency",
        "durable",
        "function",
        "identity",
        "is_async",
        "is_plain",
        "name",
        "patterns",
        "predicates",
        "retry",
        "takes_event",
        "timeout",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        patterns: tuple[str, ...],
        predicates: tuple[Predicate, ...],
        takes_event: bool,
        how: HowToRun,
    ) -> None:
        if not callable(function):
            raise InvalidDefinition(f"a handler must be callable, got {function!r}")
        for predicate in predicates:
            if not callable(predicate):
                raise InvalidDefinition(f"a predicate must be callable, got {predicate!r}")
        self.function = function
        self.patterns = patterns
        self.predicates = predicates
        self.takes_event = takes_event
        self.is_async = is_async(function)
        named = how.get("name")
        qualified = getattr(function, "__qualname__", type(function).__qualname__)
        self.name = named or getattr(function, "__name__", type(function).__name__)
        self.identity = named or f"{getattr(function, '__module__', type(function).__module__)}.{qualified}"
        """What it is known by in every process: derived ids and failed deliveries name it."""
        self.retry = _checked("retry", how.get("retry"), RetryPolicy)
        self.breaker = _checked("breaker", how.get("breaker"), CircuitBreaker)
        self.timeout = how.get("timeout")
        if self.timeout is not None and (
            isinstance(self.timeout, bool) or not isinstance(self.timeout, int | float) or not self.timeout > 0
        ):
            raise InvalidDefinition(f"timeout must be a number of seconds greater than 0, got {self.timeout!r}")
        self.concurrency = how.get("concurrency")
        if self.concurrency is not None and (
            isinstance(self.concurrency, bool) or not isinstance(self.concurrency, int) or self.concurrency < 1
        ):
            raise InvalidDefinition(f"concurrency must be a whole number of at least 1, got {self.concurrency!r}")
        self.is_plain = self.is_async and not takes_event and self.timeout is None
        """Whether it is run by calling it with a context, and nothing else."""
        self.durable = how.get("durable")
        if self.durable is not None and (not isinstance(self.durable, str) or not self.durable):
            raise InvalidDefinition(f"durable must be the name of a consumer, got {self.durable!r}")

    def __repr__(self) -> str:
        return f"<handler {self.identity} on {', '.join(self.patterns)}>"


def _checked(name: str, value: Any, wanted: type[Any]) -> Any:
    if value is not None and not isinstance(value, wanted):
        raise InvalidDefinition(f"{name} must be a {wanted.__name__}, got {value!r}")
    return value


class HandlerTable:
    """All handlers of a bus: one index for those of this process alone, one for each durable consumer."""

    def __init__(self) -> None:
        self._handlers: list[Handler] = []
        self.local: PatternIndex[Handler] = PatternIndex()
        """Those of this process alone."""
        self._indexes: dict[str | None, PatternIndex[Handler]] = {None: self.local}
        self._by_identity: dict[str, Handler] = {}
        self._open: dict[Hashable, _Decorated] = {}

    def __len__(self) -> int:
        return len(self._handlers)

    def add(self, handler: Handler) -> None:
        """Add a handler; one whose identity is taken gets a number."""
        identity, n = handler.identity, 1
        while handler.identity in self._by_identity:
            n += 1
            handler.identity = f"{identity}#{n}"
        self._by_identity[handler.identity] = handler
        self._handlers.append(handler)
        index = self._indexes.setdefault(handler.durable, PatternIndex())
        index.add(handler.patterns, handler)

    def remove(self, wanted: Callable[[Handler], bool]) -> int:
        """Remove handlers; return how many."""
        left = [handler for handler in self._handlers if not wanted(handler)]
        removed = len(self._handlers) - len(left)
        if removed:
            self._handlers = left
            kept = {_recognised_by(handler.function) for handler in left}
            self._open = {function: said for function, said in self._open.items() if function in kept}
            self._by_identity = {handler.identity: handler for handler in left}
            for index in self._indexes.values():
                index.clear()
            for handler in left:
                self._indexes[handler.durable].add(handler.patterns, handler)
        return removed

    def make_durable(self, consumer: str) -> None:
        """Have the handlers of this process alone belong to a durable consumer."""
        self.local.clear()
        self._indexes = {None: self.local}
        for handler in self._handlers:
            if handler.durable is None:
                handler.durable = consumer
            self._indexes.setdefault(handler.durable, PatternIndex()).add(handler.patterns, handler)

    def matching(self, consumer: str | None, type: str) -> tuple[Handler, ...]:
        """Return the handlers of a consumer, or of this process alone, for a type of event."""
        index = self._indexes.get(consumer)
        return () if index is None else index.found[type]

    def handlers(self) -> list[Handler]:
        """Return all handlers, in the order of registering."""
        return self._handlers

    def consumers(self) -> list[str | None]:
        """Return the durable consumers that have handlers; None among them for this process alone."""
        return list(self._indexes)

    def known(self, identity: str) -> Handler | None:
        """Return a handler by its identity."""
        return self._by_identity.get(identity)

    def decorate(self, function: Callable[..., Any], handler: Handler) -> None:
        """Register what ``@on`` made of a function, with the predicates of the ``@when`` below it."""
        decorated = self._open.setdefault(_recognised_by(function), _Decorated())
        handler.predicates = decorated.predicates_for(handler)
        self.add(handler)

    def filter(self, function: Callable[..., Any], predicates: tuple[Predicate, ...]) -> None:
        """Note what a ``@when`` says about a function."""
        for predicate in predicates:
            if not callable(predicate):
                raise InvalidDefinition(f"a predicate must be callable, got {predicate!r}")
        self._open.setdefault(_recognised_by(function), _Decorated()).filter(predicates)


def _recognised_by(function: Callable[..., Any]) -> Hashable:
    """Return what one function is told from another by: a method is a new object each time it is asked for."""
    return function if isinstance(function, Hashable) else id(function)


class _Decorated:
    """What the decorators of one function have said so far, read from the bottom up.

    A ``@when`` belongs to the next ``@on`` above it, and to those directly above that one; where no
    ``@on`` comes above, to the one below.
    """

    def __init__(self) -> None:
        self._below: tuple[Predicate, ...] = ()
        """The predicates since the last run of ``@on``, the topmost first."""
        self._run: list[tuple[Handler, tuple[Predicate, ...]]] = []
        """The last run of ``@on``, each with the predicates from below it."""
        self._above = False
        """Whether a ``@when`` was seen above that run."""

    def predicates_for(self, handler: Handler) -> tuple[Predicate, ...]:
        if self._above:  # those belong to this one, not to the run below
            for earlier, own in self._run:
                earlier.predicates = own
            self._run = []
            self._above = False
        self._run.append((handler, self._below))
        return self._below

    def filter(self, predicates: tuple[Predicate, ...]) -> None:
        if self._run and not self._above:
            self._above = True
            self._below = ()
        self._below = (*predicates, *self._below)
        for handler, own in self._run:
            handler.predicates = (*self._below, *own)
