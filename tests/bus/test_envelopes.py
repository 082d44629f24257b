"""Events as the bus carries them: what is written is read, and what is none is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from milepost.bus.envelope import Envelope
from milepost.events.types import decode_event

GOOD: dict[str, Any] = json.loads(Envelope("i", "t", "s", {"n": 1}, 1_700_000_000.25).encoded())
CAUSED: dict[str, Any] = {"cause": "c", "root": "r", "depth": 2}


@pytest.mark.parametrize(
    "more",
    [
        {},
        CAUSED,
        {"subject": None},
        {"time": "2023-11-14T22:13:20+00:00"},
        {"time": "2023-11-14T23:13:20+01:00"},
        {"metadata": '{"tenant":"t"}'},
        {**CAUSED, "change": '{"name":"p","old":1,"new":2}'},
        {"extension": "of somebody else's"},
    ],
)
def test_what_is_read_is_what_the_model_reads(more: dict[str, Any]) -> None:
    """An event is the same whether or not there is more to it than a bus mostly writes."""
    text = json.dumps({**GOOD, **more})
    envelope, event = Envelope.decode(text), decode_event(text)
    assert envelope.encoded() == Envelope.of(event).encoded()
    assert envelope.time == event.time.timestamp()


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": 3},
        {"type": ""},
        {"type": 3},
        {"source": 3},
        {"subject": 3},
        {"time": "yesterday"},
        {"time": "2023-99-14T22:13:20+00:00"},
        {"data": []},
        {**CAUSED, "depth": "deep"},
        {**CAUSED, "root": 3},
    ],
)
def test_what_is_no_event_is_refused(wrong: dict[str, Any]) -> None:
    """A field that is not what it should be is no event's, and is not let through."""
    with pytest.raises(ValueError, match=r"."):
        Envelope.decode(json.dumps({**GOOD, **wrong}))
