"""Events on their way to a broker: as CloudEvents in structured mode, with what each kind of broker needs besides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from milepost.errors import BrokerUnavailable
from milepost.events.types import Event
from milepost.integrations.messages import STRUCTURED

if TYPE_CHECKING:
    from faststream._internal.broker import BrokerUsecase

__all__ = ["Publication", "kind_of"]

_log = logging.getLogger("milepost")

_CONFIRMATION_WITHIN: Final = 5.0
"""Seconds; FastStream's half a second is short for a stream that is written to disk."""


def kind_of(broker: BrokerUsecase[Any, Any, Any]) -> str:
    """Return which of FastStream's packages a broker is from: ``nats``, ``rabbit``, ``kafka``, …"""
    for cls in type(broker).__mro__:
        package, _, rest = cls.__module__.partition(".")
        if package == "faststream":
            return rest.partition(".")[0]
    return ""


class Publication:
    """Publishes events to a place at a broker; a handler of the bus.

    Args:
        broker: the broker.
        to: the subject, topic or routing key, or what says it for an event; None for not at all.
        settings: further options of the broker's ``publish``; they come before those that are chosen here.
    """

    def __init__(
        self,
        broker: BrokerUsecase[Any, Any, Any],
        to: str | Callable[[Event], str | None],
        settings: Mapping[str, Any],
    ) -> None:
        self._broker = broker
        self._kind = kind_of(broker)
        self._to = to
        self._settings = settings

    async def __call__(self, event: Event) -> None:
        """Publish an event.

        Raises:
            BrokerUnavailable: when the broker does not take it.
        """
        place = self._to if isinstance(self._to, str) else self._to(event)
        if place is None:
            return
        options = self._options(event)
        publish: Callable[..., Any] = self._broker.publish
        try:
            await publish(event.encoded().encode(), place, **options)
        except (TypeError, ValueError):  # an option that is none: trying again cannot help
            raise
        except Exception as error:  # each broker's driver has a tree of its own
            _log.warning("%s could not be published to %s: %r", event.type, place, error)
            raise BrokerUnavailable(f"{place} does not take {event.type}: {error!r}") from error

    def _options(self, event: Event) -> dict[str, Any]:
        headers = {"content-type": STRUCTURED, "message_id": event.id}
        options: dict[str, Any] = {"correlation_id": event.root or event.id}
        if self._kind == "nats":
            headers["Nats-Msg-Id"] = event.id
            if self._settings.get("stream"):
                options["timeout"] = _CONFIRMATION_WITHIN
        elif self._kind == "rabbit":
            options.update(message_id=event.id, content_type=STRUCTURED, persist=True)
        elif self._kind in ("kafka", "confluent") and event.subject is not None:
            options["key"] = event.subject.encode()
        options.update(self._settings)
        options["headers"] = {**headers, **self._settings.get("headers", {})}
        return options
