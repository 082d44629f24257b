"""Memory, one tracker, every datum matches: milepost, dictrack and the hand-written floor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Final

from benchmarks.dictrack_peer import MISSING_NOTE, dictrack_is_installed, dictrack_manager, dictrack_tracker
from benchmarks.figures import Figure, Row, Target
from benchmarks.hand_written import HandSnapshot, hand_written_counter
from benchmarks.measuring import Effort, rates
from milepost import CountTracker, KeyValueEQ, TrackingManager

__all__ = ["ROW"]

_GROUP: Final = "user_001"
_NEVER: Final = 10**12
_EVENTS: Final = 20_000
_PEERS_SHARE: Final = 10
"""dictrack gets this much less to do in a turn, so that turns are about as long."""


async def _measure(effort: Effort) -> list[Figure]:
    events = [{"event_type": "login", "user_id": n} for n in range(effort.size(_EVENTS))]
    fewer = events[:: min(_PEERS_SHARE, len(events))]
    made = {"milepost": 0, "floor": 0, "dictrack": 0}
    states = {_GROUP: HandSnapshot("logins", _NEVER, 0, 0, 0.0, None, ())}
    count_by_hand = hand_written_counter(states, "event_type", "login")

    with ExitStack() as stack:
        manager = TrackingManager()
        tracker = CountTracker(name="logins", target=_NEVER, conditions=[KeyValueEQ(key="event_type", value="login")])
        await manager.add_tracker(_GROUP, tracker)

        async def milepost() -> int:
            track = manager.track
            for event in events:
                await track(_GROUP, event)
            made["milepost"] += len(events)
            return len(events)

        async def floor() -> int:
            for event in events:
                await count_by_hand(_GROUP, event)
            made["floor"] += len(events)
            return len(events)

        contenders: dict[str, Callable[[], Awaitable[int]]] = {"milepost": milepost, "floor": floor}
        peer = None
        if dictrack_is_installed():
            peer = stack.enter_context(dictrack_manager())
            peer.add_tracker(_GROUP, dictrack_tracker()("logins", _NEVER, "event_type", "login"))

            async def dictrack() -> int:
                track = peer.track
                for event in fewer:
                    track(_GROUP, event)
                made["dictrack"] += len(fewer)
                return len(fewer)

            contenders["dictrack"] = dictrack

        measured = await rates(contenders, effort.repeats)

        assert tracker.progress == made["milepost"]
        assert states[_GROUP].progress == made["floor"]
        if peer is not None:
            assert peer.get_trackers(_GROUP)[0].progress == made["dictrack"]
        await manager.aclose()

    return [
        Figure(
            "dictrack 2.1.5, repaired",
            "calls/s",
            measured["milepost"],
            measured.get("dictrack"),
            Target("at least", 12),
            "" if peer is not None else MISSING_NOTE,
        ),
        Figure("written by hand", "calls/s", measured["milepost"], measured["floor"], Target("at least", 0.6)),
    ]


ROW: Final = Row("one-tracker", "memory, 1 tracker, await track", lambda effort: asyncio.run(_measure(effort)))
