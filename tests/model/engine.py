"""The model's operations carried out with milepost, and what it says in the model's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from milepost import (
    AccumulationTracker,
    ConflictingNameError,
    CountLimiter,
    CountTracker,
    KeyExists,
    KeyNotExists,
    KeyValueEQ,
    KeyValueGE,
    ResetPolicy,
    TimeLimiter,
    TrackerNotFound,
    TrackingManager,
)
from milepost.testing import ManualClock
from milepost.trackers.snapshot import TrackerSnapshot
from milepost.tracking.result import TrackResult
from tests.model.model import Spec

CONDITIONS: dict[str, Callable[..., Any]] = {
    "exists": KeyExists,
    "absent": KeyNotExists,
    "eq": KeyValueEQ,
    "ge": KeyValueGE,
}


def built(spec: Spec) -> CountTracker | AccumulationTracker:
    """Return the tracker that a spec describes."""
    common: dict[str, Any] = {
        "name": spec["name"],
        "target": spec["targets"],
        "loop_forever": spec["loop"],
        "init_progress": spec["init"],
        "reset_policy": ResetPolicy(spec["policy"]),
        "on_completed": "remove" if spec["removes"] else "keep",
        "conditions": [
            CONDITIONS[kind](key=key, **({"value": value[0]} if value else {}))
            for kind, key, *value in spec["conditions"]
        ],
        "limiters": [
            CountLimiter(count=amount) if kind == "count" else TimeLimiter(seconds=amount, start_ts=start[0])
            for kind, amount, *start in spec["limiters"]
        ],
    }
    if spec["kind"] == "count":
        return CountTracker(**common)
    return AccumulationTracker(**common, exact=spec["exact"])


def read(row: TrackerSnapshot) -> tuple[Any, ...]:
    """Return what the model's ``reading`` returns."""
    moments = [None if moment is None else moment.timestamp() for moment in (row.completed_at, row.expires_at)]
    limits = tuple(
        (("remaining", limiter.remaining),)
        if isinstance(limiter, CountLimiter)
        else (("end", limiter.end), ("start", limiter.start))  # type: ignore[attr-defined]
        for limiter in row.limiters
    )
    return (
        *(row.name, row.progress, row.target, tuple(row.targets), row.current_stage, row.cycle),
        *(row.completed, row.limited, row.dirtied, *moments, limits, isinstance(row.progress, float)),
    )


def heard(event: Any) -> tuple[Any, ...]:
    """Return what the model's ``announced`` returns."""
    row = event.tracker
    return (
        *(event.code.removeprefix("tracker."), event.name, row.progress, row.target, row.current_stage, row.cycle),
        *(row.completed, event.event_ts, event.data.get("limiter"), event.times),
    )


def shown(result: TrackResult) -> dict[str, Any]:
    """Return what the model's ``track`` returns, but for what only ``explain`` tells."""
    lists = {name: [read(row) for row in getattr(result, name)] for name in ("dirtied", "completed", "limited")}
    if result.error is not None:
        raise result.error
    return {
        "ok": result.ok,
        "duplicate": result.duplicate,
        **lists,
        "rejected": [item.name for item in result.rejected],
        "events": [heard(event) for event in result.events],
    }


async def perform(manager: TrackingManager, clock: ManualClock, operation: tuple[Any, ...]) -> Any:
    """Carry out an operation of the model's; return what the model returns."""
    match operation:
        case "track", group, datum, now, event_id:
            return shown(await manager.track(group, datum, now=now, event_id=event_id))
        case "track_many", items:
            many = [(group, datum, event_id, now) for group, datum, now, event_id in items]
            return [shown(result) for result in await manager.track_many(many)]  # type: ignore[arg-type]
        case "explain", group, datum, now:
            explained = (await manager.explain(group, datum, now=now)).trackers
            return [
                (it.name, str(it.outcome), it.before, it.after, [code.removeprefix("tracker.") for code in it.events])
                for it in explained
            ]
        case "add", group, given, expires, if_exists:
            trackers = [built(spec) for spec in given]
            try:
                added = await manager.add_trackers(group, trackers, expire_at=expires, if_exists=if_exists)
            except ConflictingNameError:
                return "ConflictingNameError"
            return [read(row) for row in added]
        case "update", group, spec:
            try:
                return read(await manager.update_tracker(group, built(spec)))
            except TrackerNotFound:
                return "TrackerNotFound"
        case "reset", group, name, policy, count, seconds:
            context = {"reset_count": count} if count is not None else {}
            context |= {"reset_seconds": seconds} if seconds is not None else {}
            return await manager.reset_tracker(group, name, None if policy is None else ResetPolicy(policy), **context)
        case "remove", group, wanted:
            return await manager.remove_tracker(group, wanted)
        case "flush", *_:
            return await manager.flush(confirm=True)
        case "advance", seconds:
            return await clock.advance(seconds)
    raise AssertionError(operation)
