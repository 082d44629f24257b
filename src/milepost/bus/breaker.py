"""Circuit breakers: after some failures in a row, what comes next waits or fails at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Literal

from milepost.errors import CircuitOpen, InvalidDefinition

if TYPE_CHECKING:
    from milepost.bus.context import EventContext
    from milepost.bus.middleware import Next

__all__ = ["CircuitBreaker"]

_WHEN_OPEN: Final = ("wait", "fail")
_PER: Final = ("subject", "handler")


class CircuitBreaker:
    """Spares what fails: for one handler (``@on(..., breaker=...)``) or, as a middleware, for all.

    After ``failures`` in a row the circuit is open. What comes then waits, or goes to the failed
    deliveries; nothing is dropped. After ``reset_after`` seconds one event is tried: if it succeeds, the
    circuit is closed, and if not, it stays open as long again.

    Args:
        failures: how many in a row open it.
        reset_after: for how many seconds it stays open.
        when_open: ``"wait"`` until it may be tried again, or ``"fail"`` at once with ``CircuitOpen``.
        per: one circuit for each handler and ``"subject"``, or one for each ``"handler"``.

    Raises:
        InvalidDefinition: when a setting is wrong.
    """

    def __init__(
        self,
        failures: int = 5,
        reset_after: float = 30.0,
        *,
        when_open: Literal["wait", "fail"] = "wait",
        per: Literal["subject", "handler"] = "subject",
    ) -> None:
        if isinstance(failures, bool) or not isinstance(failures, int) or failures < 1:
            raise InvalidDefinition(f"failures must be a whole number of at least 1, got {failures!r}")
        if isinstance(reset_after, bool) or not isinstance(reset_after, int | float) or not reset_after > 0:
            raise InvalidDefinition(f"reset_after must be a number of seconds greater than 0, got {reset_after!r}")
        if when_open not in _WHEN_OPEN:
            raise InvalidDefinition(f'when_open must be "wait" or "fail", got {when_open!r}')
        if per not in _PER:
            raise InvalidDefinition(f'per must be "subject" or "handler", got {per!r}')
        self.failures = failures
        self.reset_after = float(reset_after)
        self.when_open = when_open
        self.per = per
        self._circuits: dict[tuple[str, str], _Circuit] = {}

    def is_open(self, handler: str, subject: str = "") -> bool:
        """Whether a circuit is open.

        Args:
            handler: the handler's name.
            subject: the subject's; not needed with ``per="handler"``.
        """
        circuit = self._circuits.get((handler, "" if self.per == "handler" else subject))
        return circuit is not None and circuit.until is not None

    async def __call__(self, ctx: EventContext, next: Next) -> Any:
        """Run the handler, unless the circuit is open."""
        key = (ctx.handler_name or "", "" if self.per == "handler" else ctx.subject.name)
        circuit = self._circuits.get(key)
        if circuit is not None and circuit.until is not None:
            await self._pass(ctx, circuit, key)
        try:
            answer = await next()
        except Exception:
            self._count(ctx, key)
            raise
        if self._circuits:
            closed = self._circuits.pop(key, None)
            if closed is not None:
                closed.close()
        return answer

    async def _pass(self, ctx: EventContext, circuit: _Circuit, key: tuple[str, str]) -> None:
        """Return when the handler may be tried.

        Raises:
            CircuitOpen: where that is not now and nothing waits.
        """
        run = ctx._run
        while circuit.until is not None:
            left = circuit.until - run.now()
            if left <= 0 and not circuit.trying:
                circuit.trying = True
                return
            if self.when_open == "fail":
                raise CircuitOpen(key[0], ctx.subject.name)
            if left > 0:
                await run.parked(run.sleep(left))
            else:
                await run.parked(circuit.tried())

    def _count(self, ctx: EventContext, key: tuple[str, str]) -> None:
        circuit = self._circuits.setdefault(key, _Circuit())
        circuit.failures += 1
        if circuit.failures >= self.failures:
            circuit.open(ctx._run.now() + self.reset_after)


class _Circuit:
    """One circuit: how often it failed in a row, until when it is open, whether it is being tried."""

    def __init__(self) -> None:
        self.failures = 0
        self.until: float | None = None
        self.trying = False
        self._waiting: list[asyncio.Future[None]] = []

    async def tried(self) -> None:
        """Return when the attempt that is under way has ended."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def open(self, until: float) -> None:
        self.until = until
        self._wake()

    def close(self) -> None:
        self.until = None
        self._wake()

    def _wake(self) -> None:
        self.trying = False
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()
