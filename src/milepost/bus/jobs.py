"""The part of a bus that deals with work: what failed, waits, is delayed or runs."""

from __future__ import annotations

from typing import NamedTuple

from milepost.bus.delivering import Deliverer
from milepost.bus.envelope import Envelope
from milepost.bus.failed import FailedDelivery
from milepost.bus.handlers import Handler
from milepost.bus.ids import job_id
from milepost.bus.parts import Again, BusParts
from milepost.bus.transports.base import FailedJob
from milepost.events.types import Event

__all__ = ["Jobs", "PendingJob"]


class PendingJob(NamedTuple):
    """Work that has not come to its end: delayed, waiting for its turn, or running."""

    id: str
    """What ``remove_job`` knows it by."""
    state: str
    """``"delayed"``, ``"waiting"`` or ``"running"``."""
    event: Event
    handler: str | None
    """The handler's identity, of a running one."""
    due: float | None
    """Of a delayed one: when it is delivered, epoch seconds."""


class Jobs(BusParts):
    """Shows work that has not come to its end, and ends it."""

    async def get_failed_jobs(self, pattern: str = "*") -> list[FailedDelivery]:
        """Return the deliveries that failed for good, the oldest first.

        Args:
            pattern: of their events' types.
        """
        await self.start()
        return await self.failing.jobs(pattern)

    async def retry_job(self, id: str) -> None:
        """Have a failed delivery run again, with all its retries; it leaves the list when it succeeds.

        Args:
            id: the failed delivery's id.

        Raises:
            JobNotFound: when there is none.
        """
        await self.start()
        await self.failing.ask_one(id)

    async def retry_jobs(self, pattern: str = "*") -> int:
        """Have all failed deliveries of a pattern run again; return how many."""
        await self.start()
        return await self.failing.ask_matching(pattern)

    def run_again(self, job: FailedJob, handler: Handler) -> None:
        """Put a failed job in line."""
        consumer = self._consumers.get(job.consumer)
        if consumer is None:
            self._lines.accept(Again(job, handler))
        else:
            consumer.run_again(job, handler)

    async def get_jobs(self) -> list[PendingJob]:
        """Return the work that has not come to its end: delayed events, and what waits or runs in this process."""
        await self.start()
        delayed = await self.transport.delayed()
        jobs = [PendingJob(envelope.id, "delayed", envelope.event(), None, due) for due, envelope in delayed]
        waiting = [one if isinstance(one, Envelope) else one.envelope for one in self._lines.waiting()]
        jobs += [PendingJob(envelope.id, "waiting", envelope.event(), None, None) for envelope in waiting]
        for deliverer in self._deliverers():
            for run in deliverer.runs:
                if run.handler is not None:
                    id = job_id(run.envelope.id, run.handler.identity, deliverer.consumer or "")
                    jobs.append(PendingJob(id, "running", run.envelope.event(), run.handler.identity, None))
        return jobs

    def _deliverers(self) -> list[Deliverer]:
        return [self._deliverer, *(consumer.deliverer for consumer in self._consumers.values())]

    async def remove_job(self, id: str) -> bool:
        """Remove work: a failed delivery, a delayed or waiting event, or a running handler, which is cancelled.

        Args:
            id: of a failed delivery, of one of ``get_jobs``, or of an event: then all its work.

        Returns:
            Whether there was any.
        """
        await self.start()
        ended = self._end_runs(id)
        dropped = self._lines.drop(
            lambda one: id in ((one.job.id, one.envelope.id) if isinstance(one, Again) else (one.id,))
        )
        for consumer in self._consumers.values():
            ended += consumer.drop(id)
        cancelled = await self.transport.cancel(id)
        removed = await self.failing.remove([id])
        return bool(ended or dropped or cancelled or removed)

    def _end_runs(self, id: str) -> int:
        ended = 0
        for deliverer in self._deliverers():
            for run in list(deliverer.runs):
                if run.handler is None or run.task is None or run.removed:
                    continue
                job = job_id(run.envelope.id, run.handler.identity, deliverer.consumer or "")
                if id in (run.envelope.id, job):
                    run.removed = True
                    run.task.cancel()
                    ended += 1
        return ended

    async def remove_jobs(self, pattern: str = "*") -> int:
        """Remove all failed deliveries of a pattern; return how many."""
        await self.start()
        return await self.failing.remove_matching(pattern)
