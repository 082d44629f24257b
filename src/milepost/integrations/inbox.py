"""What becomes of a message that arrives: done and acknowledged, given back, or set aside for good."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from milepost.errors import (
    BackendUnavailable,
    CommitConflict,
    ManagerClosed,
    OutboxFull,
    QueueOverflow,
    StoreLeased,
)
from milepost.events.types import Event
from milepost.integrations.messages import Origin, event_of, origin_of, unreadable

if TYPE_CHECKING:
    from faststream import StreamMessage

    from milepost.integrations.faststream import BrokerLink

__all__ = ["UNREADABLE", "Inbox", "Work", "changed"]

_log = logging.getLogger("milepost")

UNREADABLE: Final = "message.unreadable"
"""The type of the events that stand for messages in which there is none."""

Work = Callable[[Event], Awaitable[object]]

_PASSING: Final = (
    BackendUnavailable,
    CommitConflict,
    ManagerClosed,
    OutboxFull,
    QueueOverflow,
    StoreLeased,
)
"""What is not the message's fault: the same message may be delivered again, later or to somebody else."""


class Inbox:
    """What one subscription does with its messages.

    Args:
        link: what joins broker and manager.
        name: what failed deliveries are known by.
        place: what is subscribed to.
        work: what is done with the event in a message.
        event_id: says what the event is known by; None for the message's id.
    """

    def __init__(
        self, link: BrokerLink, name: str, place: str, work: Work, event_id: Callable[[Event], str] | None
    ) -> None:
        self._link = link
        self._place = place
        self._work = work
        self._event_id = event_id
        self._handler = link.keeper(name, work)
        self._has_warned = False

    async def receive(self, message: StreamMessage[Any], body: Any) -> None:
        """Do what a message says.

        Raises:
            Exception: one of FastStream's, when it is to be delivered again, or when that would not help.
        """
        origin = origin_of(message, self._place)
        event: Event | None = None
        try:
            try:
                event = self._event_of(message, body, origin)
                await self._work(event)
            except _PASSING:
                raise
            except Exception as error:
                kept = unreadable(message, origin, UNREADABLE, error) if event is None else event
                await self._link.keep(self._handler, kept, error)
                raise self._link.refusal() from error
        except _PASSING as error:
            raise await self._link.given_back(origin.place, error) from error

    def _event_of(self, message: StreamMessage[Any], body: Any, origin: Origin) -> Event:
        event, is_known_again = event_of(message, body, origin)
        if self._event_id is not None:
            return changed(event, {"id": self._event_id(event)})
        if not is_known_again and origin.comes_again and not self._has_warned:
            self._has_warned = True
            _log.warning("messages from %s have no id: one that is delivered again counts again; "
                         "give event_id=..., or have their publisher set a message id", origin.place)  # fmt: skip
        return event


def changed(event: Event, changes: Mapping[str, Any]) -> Event:
    """Return an event with some fields changed, which are checked.

    Raises:
        ValueError: when one is not what it should be.
    """
    if not changes:
        return event
    fields = {name: getattr(event, name) for name in Event.model_fields}
    return Event(**{**fields, **changes})
