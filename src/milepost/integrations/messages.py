"""What a broker's message says: where it was published, what it is known by, and the event in it.

Messages arrive as FastStream parsed them; nothing here talks to a broker.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from milepost.codec import loads
from milepost.events.types import Event, event_from

if TYPE_CHECKING:
    from faststream.message import StreamMessage

__all__ = ["STRUCTURED", "Origin", "event_of", "origin_of", "unreadable"]

STRUCTURED: Final = "application/cloudevents+json"
"""The content type of a CloudEvent whose attributes are in the body (CloudEvents 1.0.2, JSON format 1.0.2)."""

OURS: Final = "milepost"
"""The source of events whose ids are hashes or random, and so are unique by themselves."""

_PREFIXES: Final = ("ce-", "ce_", "cloudevents:", "cloudevents_")
"""What precedes attributes in headers: NATS and HTTP, Kafka, and the two of AMQP."""

_IDS: Final = ("nats-msg-id", "message_id", "message-id")
"""Headers in which publishers say what a message is known by, however often they send it."""

_SHOWN: Final = 10_000


class Origin(NamedTuple):
    """Where a message comes from."""

    place: str
    """The subject, topic, routing key or stream that it was published to."""
    position: str | None
    """What the broker itself knows it by, the same on each delivery; None where it has nothing of the sort."""
    comes_again: bool = True
    """Whether the broker delivers it again where it is not acknowledged."""


def _of_nats(message: StreamMessage[Any]) -> Origin:
    raw = message.raw_message
    if not (raw.reply or "").startswith("$JS.ACK."):
        return Origin(raw.subject, None, comes_again=False)
    stored = raw.metadata
    # A stream that was deleted and made again counts from 1 again: the time tells them apart.
    return Origin(raw.subject, f"{stored.stream}:{stored.sequence.stream}:{stored.timestamp.timestamp()!r}")


def _of_rabbit(message: StreamMessage[Any]) -> Origin:
    raw = message.raw_message
    return Origin(raw.routing_key or "", raw.message_id)  # FastStream makes one up where there is none


def _of_kafka(message: StreamMessage[Any]) -> Origin:
    raw = message.raw_message
    return Origin(raw.topic, f"{raw.topic}:{raw.partition}:{raw.offset}:{raw.timestamp}")


def _of_confluent(message: StreamMessage[Any]) -> Origin:
    raw = message.raw_message
    _, timestamp = raw.timestamp()
    return Origin(raw.topic(), f"{raw.topic()}:{raw.partition()}:{raw.offset()}:{timestamp}")


def _of_redis(message: StreamMessage[Any]) -> Origin:
    raw = message.raw_message
    ids = raw.get("message_ids")
    if not ids:
        return Origin(raw["channel"], None, comes_again=False)
    return Origin(raw["channel"], f"{raw['channel']}:{ids[0].decode()}")


_ORIGINS: Final[dict[str, Callable[[StreamMessage[Any]], Origin]]] = {
    "faststream.nats.message": _of_nats,
    "faststream.rabbit.message": _of_rabbit,
    "faststream.kafka.message": _of_kafka,
    "faststream.confluent.message": _of_confluent,
    "faststream.redis.message": _of_redis,
}
"""By the module of the message's class, as importing it would take the broker's driver."""


def origin_of(message: StreamMessage[Any], otherwise: str) -> Origin:
    """Return where a message comes from.

    Args:
        message: as FastStream parsed it.
        otherwise: the place, for brokers whose messages do not say it.
    """
    for cls in type(message).__mro__:
        if cls.__module__ in _ORIGINS:
            place, position, comes_again = _ORIGINS[cls.__module__](message)
            return Origin(place or otherwise, position, comes_again)
    return Origin(otherwise, None)


def event_of(message: StreamMessage[Any], body: Any, origin: Origin) -> tuple[Event, bool]:
    """Return the event that a message tells of, and whether it has the same id on each delivery.

    A CloudEvent is taken as it is, in structured or in binary mode; its id is preceded by its source, unless
    milepost made it, because two sources may count alike. Anything else has to be a JSON object: it is the event's
    data, its type is where it was published, and its headers are the event's metadata.

    Args:
        message: as FastStream parsed it.
        body: as FastStream decoded it.
        origin: where it comes from.

    Raises:
        ValueError: when it is no event, with a word on what is allowed.
    """
    headers = {str(name).lower(): value for name, value in message.headers.items()}
    attributes = _attributes(message.content_type or "", headers, body)
    if attributes is not None:
        return _from_cloud_event(attributes), True
    if not isinstance(body, Mapping):
        raise ValueError(f"the body of a message must be a JSON object or a CloudEvent, got {type(body).__name__}")
    id = next((str(headers[name]) for name in _IDS if headers.get(name)), origin.position)
    metadata = {str(name): value for name, value in message.headers.items() if isinstance(value, str | int | float)}
    event = Event(origin.place, dict(body), id=id or uuid.uuid4().hex, metadata=metadata)
    return event, id is not None


def _attributes(content_type: str, headers: Mapping[str, Any], body: Any) -> dict[str, Any] | None:
    """Return a CloudEvent's attributes, its data among them; None for what is no CloudEvent."""
    if content_type.lower().startswith(STRUCTURED) and isinstance(body, str | bytes):
        body = loads(body)
        if not isinstance(body, dict):
            raise ValueError(f"a CloudEvent is a JSON object, got {type(body).__name__}")
        return body
    for prefix in _PREFIXES:
        if f"{prefix}specversion" in headers:
            told = {name[len(prefix) :]: value for name, value in headers.items() if name.startswith(prefix)}
            return {**told, "data": body}
    if isinstance(body, Mapping) and {"specversion", "id", "type", "source"} <= body.keys():
        return dict(body)
    return None


def _from_cloud_event(attributes: Mapping[str, Any]) -> Event:
    for name in ("id", "type", "source"):
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise ValueError(f"a CloudEvent's {name} must be text, got {attributes.get(name)!r}")
    data = attributes.get("data")
    if "data_base64" in attributes or not isinstance(data, Mapping | None):
        raise ValueError(f"the data of a CloudEvent must be a JSON object, got {type(data).__name__}")
    if attributes["source"] == OURS:
        return event_from(attributes)
    # Extensions of others may have the names of ours and mean something else.
    standard = {name: attributes.get(name) for name in ("type", "source", "subject", "time", "data")}
    return event_from({**standard, "id": f"{attributes['source']}/{attributes['id']}"})


def unreadable(message: StreamMessage[Any], origin: Origin, kind: str, error: Exception) -> Event:
    """Return an event that shows a message in which there is none.

    Args:
        message: as FastStream parsed it.
        origin: where it comes from.
        kind: the event's type.
        error: why it could not be read.
    """
    body = message.body.decode("utf-8", "replace") if isinstance(message.body, bytes) else str(message.body)
    data = {"place": origin.place, "position": origin.position, "body": body[:_SHOWN], "reason": str(error)}
    return Event(kind, data, subject=origin.place)
