"""PyDataTracker's own benchmark: 5,000 new keys in a tracked dict, in four modes, as mean and deviation."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import nullcontext
from statistics import mean, stdev
from time import perf_counter
from typing import Any, Final

from benchmarks.figures import Figure, Row
from benchmarks.measuring import Effort
from benchmarks.pydatatracker_peer import PEER, PEER_MISSING_NOTE, peer_actor, peer_dict, pydatatracker_is_installed
from milepost.changes import TrackedDict, tracking_actor

__all__ = ["ROW"]

_MUTATIONS: Final = 5_000
_RUNS: Final = 5
_MODES: Final = {
    # name: actor, snapshots, stacks
    "base": (False, False, False),
    "actor": (True, False, False),
    "snapshot": (False, True, False),
    "full": (True, True, True),
}

Make = Callable[[bool, bool], Any]


def _milepost(snapshots: bool, stacks: bool) -> Any:
    return TrackedDict(tracking_capture_snapshots=snapshots, tracking_capture_stack=stacks)


def _theirs(snapshots: bool, stacks: bool) -> Any:
    return peer_dict(snapshots=snapshots, stacks=stacks)


def _times(make: Make, actor: Any, snapshots: bool, stacks: bool, mutations: int, runs: int) -> list[float]:
    """Return how many milliseconds each run took.

    Args:
        make: returns an empty tracked dict.
        actor: returns the context manager that names an actor; None to name none.
        snapshots: whether to capture snapshots.
        stacks: whether to capture stacks.
        mutations: how many keys to set.
        runs: how often.
    """
    times: list[float] = []
    for _ in range(runs):
        tracked = make(snapshots, stacks)
        gc.collect()  # what earlier runs left is not this one's to clear
        with nullcontext() if actor is None else actor("benchmark"):
            began = perf_counter()
            for n in range(mutations):
                tracked[str(n)] = n
            times.append((perf_counter() - began) * 1000)
        assert len(tracked) == mutations
        entry = tracked.last_change()
        assert bool(entry.stack) is stacks
        assert bool(entry.extra.get("data_post_change")) is snapshots
        assert actor is None or entry.actor == "benchmark"
    return times


def _said(times: list[float]) -> str:
    return f"{mean(times):,.2f} ± {stdev(times):,.2f} ms"


def _measure(effort: Effort) -> list[Figure]:
    mutations, runs = effort.size(_MUTATIONS), max(2, min(_RUNS, effort.repeats))
    figures: list[Figure] = []
    for mode, (actor, snapshots, stacks) in _MODES.items():
        ours = _times(_milepost, tracking_actor if actor else None, snapshots, stacks, mutations, runs)
        note = f"{mode}: {mutations:,} mutations, {runs} runs: milepost {_said(ours)}"
        theirs = None
        if pydatatracker_is_installed():
            named = actor and not stacks  # with an actor it leaves the stack out, and would do less
            theirs = _times(_theirs, peer_actor if named else None, snapshots, stacks, mutations, runs)
            note += f", PyDataTracker {_said(theirs)}"
        else:
            note += f" ({PEER_MISSING_NOTE})"
        figures.append(
            Figure(f"{PEER}, {mode}", "ms", mean(ours), None if theirs is None else mean(theirs), None, note)
        )
    return figures


ROW: Final = Row("tracked-modes", "tracked dict, 5,000 new keys, four modes", _measure)
