"""How much is tried: little by default, more with ``MILEPOST_DOSE=full``; the same every time in CI."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hypothesis import HealthCheck, settings

__all__ = ["Dose", "dose"]

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@dataclass(frozen=True)
class Dose:
    """What hypothesis is told."""

    full: bool
    histories: settings
    remote_histories: settings
    sequences: settings


def _dose() -> Dose:
    full = os.environ.get("MILEPOST_DOSE") == "full"
    settings.register_profile(
        "milepost", deadline=None, print_blob=True, report_multiple_bugs=False, suppress_health_check=_SLOW_IS_FINE
    )
    settings.register_profile("milepost-ci", settings.get_profile("milepost"), derandomize=True)
    same = bool(os.environ.get("CI")) and not full
    common = settings.get_profile("milepost-ci" if same else "milepost")
    return Dose(
        full,
        histories=settings(
            common,
            max_examples=1500 if full else 45,
            stateful_step_count=60 if full else 30,
        ),
        remote_histories=settings(  # each operation is several round trips to a server
            common,
            max_examples=500 if full else 5,
            stateful_step_count=50 if full else 25,
        ),
        sequences=settings(common, max_examples=5000 if full else 100),
    )


dose = _dose()
