"""Failed jobs as rows of a backend, and back."""

from __future__ import annotations

from milepost.backends.failed import FailedRow
from milepost.bus.envelope import Envelope
from milepost.bus.transports.base import FailedJob

__all__ = ["job_of", "row_of"]


def row_of(job: FailedJob) -> FailedRow:
    """Return a job as a backend keeps it."""
    return FailedRow(
        job.id,
        job.handler,
        job.consumer,
        job.attempts,
        job.reason,
        job.traceback,
        job.failed_at,
        job.envelope.encoded(),
    )


def job_of(row: FailedRow) -> FailedJob:
    """Return the job that a row is."""
    return FailedJob(
        id=row.id,
        envelope=Envelope.decode(row.body),
        handler=row.handler,
        consumer=row.consumer,
        attempts=row.attempts,
        reason=row.reason,
        traceback=row.traceback,
        failed_at=row.at,
        retrying=row.retrying,
    )
