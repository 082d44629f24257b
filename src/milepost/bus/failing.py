"""What becomes of work that failed for good: it is kept, announced, looked at, run again or removed."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from milepost._clock import Clock
from milepost._patterns import pattern_to_regex
from milepost.bus.envelope import Envelope
from milepost.bus.failed import FailedDelivery
from milepost.bus.handlers import Handler
from milepost.bus.ids import derived_id, job_id
from milepost.bus.transports.base import FailedJob, Transport
from milepost.errors import BackendUnavailable, JobNotFound

if TYPE_CHECKING:
    from milepost.bus.bus import EventBus
    from milepost.bus.delivering import Deliverer

__all__ = ["EVENT_FAILED", "Failing"]

_log = logging.getLogger("milepost")

EVENT_FAILED: Final = "event.failed"

_TAKEN_FOR: Final = 60.0
"""For how many seconds a job belongs to the process that runs it again, unless it says that it goes on."""
_PAUSE_AFTER_TROUBLE: Final = 1.0


class Failing:
    """The failed deliveries of a bus.

    Args:
        bus: the bus.
        transport: where they are kept.
        clock: dates them.
    """

    def __init__(self, bus: EventBus, transport: Transport, clock: Clock) -> None:
        self._bus = bus
        self._transport = transport
        self._clock = clock
        self._again: set[str] = set()
        """Jobs that are being run again here."""
        self.count = 0
        """How many deliveries failed for good."""

    async def give_up(
        self, deliverer: Deliverer, handler: Handler, envelope: Envelope, attempts: int, error: Exception
    ) -> None:
        """Keep what failed for good, and announce it."""
        self.count += 1
        consumer = deliverer.consumer or ""
        shown = "".join(traceback.format_exception(error))
        _log.error("the handler %s failed on %s of %s after %d attempts", handler.identity, envelope.type,
                   envelope.subject, attempts, exc_info=error)  # fmt: skip
        job = FailedJob(
            id=job_id(envelope.id, handler.identity, consumer),
            envelope=envelope,
            handler=handler.identity,
            consumer=consumer,
            attempts=attempts,
            reason=f"{type(error).__name__}: {error}",
            traceback=shown,
            failed_at=self._clock.time(),
            error=error.with_traceback(None),  # frames would keep everything alive that the handler saw
        )
        self._again.discard(job.id)
        await self._until_kept(job)
        if envelope.type != EVENT_FAILED and envelope.depth < self._bus.max_depth:
            await self._announce(job)

    async def _until_kept(self, job: FailedJob) -> None:
        while True:
            try:
                await self._transport.put_failed(job)
                return
            except BackendUnavailable as trouble:
                _log.warning("a failed delivery cannot be kept and waits: %s", trouble)
                await self._clock.sleep(_PAUSE_AFTER_TROUBLE)

    async def _announce(self, job: FailedJob) -> None:
        failed = job.envelope
        payload = {
            "job_id": job.id,
            "event": {"id": failed.id, "type": failed.type, "subject": failed.subject, "data": failed.data},
            "handler": job.handler,
            "consumer": job.consumer,
            "attempts": job.attempts,
            "error": job.reason,
        }
        envelope = self._bus.envelope(EVENT_FAILED, failed.subject, payload, {})
        envelope.id = derived_id(failed.id, job.handler, f"failed after {job.attempts}", EVENT_FAILED)
        envelope.caused_by(failed)
        try:
            await self._bus.send([(envelope, None)], inside=True)
        except Exception:
            _log.exception("the failure of %s could not be announced", job.handler)

    # --- looking, running again, removing -----------------------------------------------

    async def jobs(self, pattern: str = "*") -> list[FailedDelivery]:
        """Return failed deliveries whose event's type matches, the oldest first."""
        return [_delivery(job) for job in await self._matching(pattern)]

    async def _matching(self, pattern: str) -> list[FailedJob]:
        matches = pattern_to_regex(pattern).fullmatch
        return [job for job in await self._transport.failed() if matches(job.envelope.type)]

    async def ask(self, ids: Iterable[str]) -> int:
        """Have failed jobs run again, here or wherever their handler is."""
        asked = await self._transport.ask_retry(list(ids))
        await self.take_up()
        return asked

    async def ask_one(self, id: str) -> None:
        """Have one failed job run again.

        Raises:
            JobNotFound: when there is none of that id.
        """
        if not await self.ask([id]):
            raise JobNotFound(id)

    async def ask_matching(self, pattern: str) -> int:
        """Have all failed jobs of a pattern run again; return how many."""
        return await self.ask([job.id for job in await self._matching(pattern)])

    async def take_up(self) -> None:
        """Run jobs again that somebody asked for and whose handler is here."""
        identities = self._bus.handler_identities()
        if not identities:
            return
        for job in await self._transport.take_retries(identities, _TAKEN_FOR):
            handler = self._bus.handler_of(job.handler)
            if handler is not None and job.id not in self._again:
                self._again.add(job.id)
                self._bus.run_again(job, handler)

    async def hold(self) -> None:
        """Say that jobs are still being run again here."""
        if self._again:
            await self._transport.keep_retries(list(self._again), _TAKEN_FOR)

    async def concluded(self, job: FailedJob) -> None:
        """Forget a job that was run again, unless it failed again."""
        if job.id in self._again:
            self._again.discard(job.id)
            await self._transport.remove_failed([job.id])

    async def remove(self, ids: Iterable[str]) -> int:
        """Remove failed jobs; return how many there were."""
        wanted = list(ids)
        self._again.difference_update(wanted)
        return await self._transport.remove_failed(wanted)

    async def remove_matching(self, pattern: str) -> int:
        """Remove all failed jobs of a pattern; return how many."""
        return await self.remove([job.id for job in await self._matching(pattern)])

    def drop(self, id: str) -> None:
        """Let a job go that is being run again, because it was removed."""
        self._again.discard(id)


def _delivery(job: FailedJob) -> FailedDelivery:
    return FailedDelivery(
        event=job.envelope.event(),
        listener=job.handler,
        attempts=job.attempts,
        error=job.error,
        traceback=job.traceback,
        id=job.id,
        reason=job.reason,
        failed_at=job.failed_at,
        consumer=job.consumer,
        retrying=job.retrying,
    )
