"""The event that tells of lost data: read back as it was told, and subscribed to like any other."""

from __future__ import annotations

import pytest

from milepost import EVENT_ALL, EVENT_DATA_LOST, DataLost, TrackingManager, UnknownEventError
from milepost._clock import utc
from milepost.events.types import decode_event
from milepost.records import Loss


def test_it_is_read_back_as_it_was_told() -> None:
    """What another process told through a stream has the same class, and everything that was known."""
    told = DataLost.of(Loss(3, 2**51, (0, 7), True), utc(1.5), 4, 5, 6, complete=False)
    read = decode_event(told.encoded())
    assert isinstance(read, DataLost)
    assert read == told
    assert (read.code, read.event_ts, read.epoch_before, read.epoch) == (EVENT_DATA_LOST, 1.5, 3, 2**51)
    assert (read.partitions, read.empty, read.complete) == ((0, 7), True, False)
    assert (read.from_processes, read.from_store, read.behind) == (4, 5, 6)


async def test_who_wants_trackers_events_gets_no_other() -> None:
    """A subscription to nothing in particular is to what happens to trackers; a pattern that matches it is needed."""
    manager = TrackingManager()
    assert EVENT_DATA_LOST not in EVENT_ALL
    assert not manager.subscribe().wants(EVENT_DATA_LOST, "")
    assert not manager.subscribe("tracker.*").wants(EVENT_DATA_LOST, "")
    for wanted in ("data.*", "*", EVENT_DATA_LOST):
        assert manager.subscribe(wanted).wants(EVENT_DATA_LOST, "")
    assert manager.subscribe(DataLost).wants(EVENT_DATA_LOST, "")
    with pytest.raises(UnknownEventError, match=r"data\.lost"):
        manager.add_listener("data.gone", print)
