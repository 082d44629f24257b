"""What the tests of subjects and models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from milepost import Event, TrackingManager

Heard = Callable[..., list[Event]]


@pytest.fixture
def heard(manager: TrackingManager) -> Heard:
    """Return what a bus has told so far: ``heard("subject.*")`` from the beginning of the test."""
    return heard_from(manager)


def heard_from(manager: TrackingManager) -> Heard:
    """Return what a manager's bus tells from now on."""
    events: list[Event] = []

    @manager.bus.event_handler("*")
    async def hear(event: Event) -> None:
        events.append(event)

    def told(prefix: str = "") -> list[Event]:
        return [event for event in events if event.type.startswith(prefix)]

    return told


def changes(events: list[Event]) -> list[tuple[Any, ...]]:
    """Return property changes as (name, old, new)."""
    return [(event.data["property_name"], event.data["old_value"], event.data.get("new_value")) for event in events]
