"""A tracked dict, one write: with 5,000 writes in the log, beside PyDataTracker; and with a million, beside ten."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from time import time
from typing import Any, Final

from benchmarks.figures import Figure, Row, Target
from benchmarks.measuring import Effort, rates
from benchmarks.pydatatracker_peer import PEER, PEER_MISSING_NOTE, peer_dict, pydatatracker_is_installed
from milepost.changes import TrackedDict

__all__ = ["ROW"]

_LOG: Final = 5_000
_SMALL: Final = 10
_LARGE: Final = 1_000_000
_WRITES: Final = 20_000
_PEERS_WRITES: Final = 100

Turn = Callable[[], Awaitable[int]]


def _writing(tracked: Any, writes: int) -> Turn:
    async def take() -> int:
        for n in range(writes):
            tracked["status"] = n
        return writes

    return take


def _filled(entries: int, history: int) -> TrackedDict[str, int]:
    tracked: TrackedDict[str, int] = TrackedDict(history=history)
    for n in range(entries):
        tracked["status"] = n
    return tracked


def _by_hand(writes: int) -> Turn:
    """What a write must do at least: look, set, append a tuple with number, time, old and new."""
    contents: dict[str, int] = {}
    log: deque[Any] = deque(maxlen=10_000)
    number = count().__next__

    async def take() -> int:
        for n in range(writes):
            log.append((number(), time(), "status", contents.get("status"), n))
            contents["status"] = n
        return writes

    return take


def _peer(entries: int, writes: int) -> Turn:
    tracked = peer_dict()
    for n in range(entries):
        tracked["status"] = n

    async def take() -> int:
        for n in range(writes):
            tracked["status"] = n
        del tracked._tracking_changes[entries:]  # its log grows, and its writes with it
        return writes

    return take


async def _measure(effort: Effort) -> list[Figure]:
    writes, large = effort.size(_WRITES), effort.size(_LARGE)
    ten, many = _filled(0, _SMALL), _filled(large, large)
    tracked = _filled(effort.size(_LOG), 10_000)
    contenders: dict[str, Turn] = {
        "milepost": _writing(tracked, writes),
        "by hand": _by_hand(writes),
        "ten": _writing(ten, writes),
        "many": _writing(many, writes),
    }
    if pydatatracker_is_installed():
        contenders["peer"] = _peer(effort.size(_LOG), effort.size(_PEERS_WRITES))
    made = {name: 1e6 / rate for name, rate in (await rates(contenders, effort.repeats)).items()}

    assert len(many.tracking_changes()) == large
    assert len(ten.tracking_changes()) == min(_SMALL, writes * (effort.repeats + 1))
    assert ten.tracking_dropped + len(ten.tracking_changes()) == writes * (effort.repeats + 1)

    return [
        Figure("one write", "µs", made["milepost"], None, Target("at most", 3, of="value")),
        Figure(PEER, "µs", made["milepost"], made.get("peer"), None, "" if "peer" in made else PEER_MISSING_NOTE),
        Figure("written by hand", "µs", made["milepost"], made["by hand"]),
        Figure(f"{large:,} in the log beside {_SMALL}", "µs", made["many"], made["ten"], Target("at most", 1.5)),
    ]


ROW: Final = Row(
    "tracked-dict", "tracked dict, one write, 5,000 writes in the log", lambda effort: asyncio.run(_measure(effort))
)
