"""Durable delivery: jobs that are published, handled and acknowledged in one process; beside queues and buses.

A turn ends when the last job has been handled and its server or file has been told. Each contender has the settings
with which it was fastest here; what they are is in ``benchmarks/durable``.
"""

from __future__ import annotations

import asyncio
from typing import Final

from benchmarks.durable.contest import Entry, Measured, measure
from benchmarks.figures import Figure, Row, Target
from benchmarks.measuring import Effort
from benchmarks.redis_server import redis_server, server_binary

__all__ = ["REDIS", "SQLITE"]

_MANY: Final = 50
"""Publishers at a time: about as many as make each contender fastest."""

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
_AWAITED: Final = ("arq", "saq", "faststream")
"""Those whose publishers wait for Redis, and so differ in how many there are."""

_SHOWN: Final = {"faststream": "faststream {} streams", "bubus": "bubus {} (memory)"}
_HOW_TO_GET: Final = {
    "celery": 'pip install "celery[redis]>=5.5"',
    "arq": "nox -s benchmarks makes an environment for it, as it needs redis-py below 6",
    "saq": "nox -s benchmarks makes an environment for it, as it needs redis-py below 8",
    "faststream": 'pip install "faststream[redis]==0.7.*"',
    "bubus": "pip install bubus==1.5.*",
}


def _measure(ours: str, peers: list[str], port: int, effort: Effort) -> list[Figure]:
    many, few = effort.size(_JOBS), effort.size(_JOBS_OF_PEERS)
    entries = [Entry(ours, _MANY, many), Entry(ours, 1, few), Entry(ours, 0, many)]
    entries += [Entry(name, _MANY, few) for name in peers]
    entries += [Entry(name, 1, few) for name in peers if name in _AWAITED]
    measured = asyncio.run(measure(entries, port, min(effort.repeats, _REPEATS)))
    rates = measured.rates
    figures = [_beside(name, rates[ours, _MANY], rates.get((name, _MANY)), measured) for name in peers]
    for name in peers:
        if name in _AWAITED:
            figures.append(_beside(name, rates[ours, 1], rates.get((name, 1)), measured, ", one publisher"))
    return [
        *figures,
        Figure("itself, one publisher", "jobs/s", rates[ours, _MANY], rates[ours, 1]),
        Figure("itself, published by one call", "jobs/s", rates[ours, _MANY], rates[ours, 0]),
    ]


def _beside(peer: str, ours: float, theirs: float | None, measured: Measured, how: str = "") -> Figure:
    version = measured.versions.get(peer, "")
    shown = _SHOWN.get(peer, f"{peer} {{}}").format(version).replace("  ", " ").strip()
    note = f"{peer} is not installed: {_HOW_TO_GET[peer]}" if peer in measured.missing else ""
    return Figure(f"{shown}{how}", "jobs/s", ours, theirs, None if how else _PEERS[peer], note)


def _measure_redis(effort: Effort) -> list[Figure]:
    binary = server_binary()
    if binary is None:
        return []
    with redis_server(binary) as port:
        return _measure("milepost-redis", list(_PEERS), port, effort)


REDIS: Final = Row("durable-redis", f"durable delivery through Redis, one process, {_MANY} publishers", _measure_redis)
SQLITE: Final = Row(
    "durable-sqlite",
    f"durable delivery through a SQLite file, one process, {_MANY} publishers",
    lambda effort: _measure("milepost-sqlite", ["bubus"], 0, effort),
)
