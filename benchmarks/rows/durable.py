"""Durable delivery: jobs that are published, handled and acknowledged in one process; beside queues and buses.

A turn ends when the last job has been handled and its server or file has been told. Each contender has the settings
with which it was fastest here; what they are is in ``benchmarks/durable``.
"""

from __future__ import annotations

import asyncio
from typing import Final

from benchmarks.durable.contest import Measured, measure
from benchmarks.durable.publishers import PUBLISHERS
from benchmarks.figures import Figure, Row, Target
from benchmarks.measuring import Effort
from benchmarks.redis_server import redis_server, server_binary

__all__ = ["REDIS", "SQLITE"]

_JOBS: Final = 20_000
_JOBS_OF_PEERS: Final = 3_000
_REPEATS: Final = 5

_PEERS: Final[dict[str, Target | None]] = {
    "celery": None,
    "arq": None,
    "saq": Target("at least", 10),
    "faststream": Target("at least", 4),
    "bubus": None,
}
_SHOWN: Final = {"faststream": "faststream {} streams", "bubus": "bubus {} (memory)"}
_HOW_TO_GET: Final = {
    "celery": 'pip install "celery[redis]>=5.5"',
    "arq": "nox -s benchmarks makes an environment for it, as it needs redis-py below 6",
    "saq": "nox -s benchmarks makes an environment for it, as it needs redis-py below 8",
    "faststream": 'pip install "faststream[redis]==0.7.*"',
    "bubus": "pip install bubus==1.5.*",
}


def _measure(ours: str, peers: list[str], port: int, effort: Effort) -> list[Figure]:
    jobs = {name: effort.size(_JOBS) for name in (ours, f"{ours}-at-once")}
    jobs |= {name: effort.size(_JOBS_OF_PEERS) for name in peers}
    measured = asyncio.run(measure(jobs, port, min(effort.repeats, _REPEATS)))
    rate = measured.rates[ours]
    figures = [_beside(name, rate, measured) for name in peers]
    at_once = Figure("itself, published by one call", "jobs/s", rate, measured.rates[f"{ours}-at-once"])
    return [*figures, at_once]


def _beside(peer: str, rate: float, measured: Measured) -> Figure:
    shown = _SHOWN.get(peer, f"{peer} {{}}").format(measured.versions.get(peer, "")).replace("  ", " ")
    note = f"{peer} is not installed: {_HOW_TO_GET[peer]}" if peer in measured.missing else ""
    return Figure(shown.strip(), "jobs/s", rate, measured.rates.get(peer), _PEERS[peer], note)


def _measure_redis(effort: Effort) -> list[Figure]:
    binary = server_binary()
    if binary is None:
        return []
    with redis_server(binary) as port:
        return _measure("milepost-redis", list(_PEERS), port, effort)


REDIS: Final = Row(
    "durable-redis", f"durable delivery through Redis, one process, {PUBLISHERS} publishers", _measure_redis
)
SQLITE: Final = Row(
    "durable-sqlite",
    f"durable delivery through a SQLite file, one process, {PUBLISHERS} publishers",
    lambda effort: _measure("milepost-sqlite", ["bubus"], 0, effort),
)
