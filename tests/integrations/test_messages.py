"""What is read out of messages: CloudEvents in either mode, plain JSON, and ids that stay the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from faststream.message import StreamMessage

from milepost import Event
from milepost.integrations.messages import STRUCTURED, Origin, event_of, origin_of

SOMEWHERE = Origin("orders", "orders:17")


def message(body: Any = b"", content_type: str | None = None, **headers: Any) -> StreamMessage[Any]:
    """Return a message as FastStream parses it."""
    return StreamMessage(raw_message=None, body=body, headers=headers, content_type=content_type)


def test_plain_json_is_the_data_of_an_event() -> None:
    """A JSON object is an event's data; its type is where it was published, its id its position there."""
    event, is_known_again = event_of(message(tenant="north"), {"total": 12}, SOMEWHERE)
    assert (event.type, event.id, event.subject) == ("orders", "orders:17", None)
    assert event.data == {"total": 12}
    assert event.metadata == {"tenant": "north"}
    assert is_known_again


@pytest.mark.parametrize("header", ["Nats-Msg-Id", "message_id", "Message-Id"])
def test_the_publishers_id_comes_before_the_position(header: str) -> None:
    """A publisher that sends again says so by its id, at whatever position the message is stored then."""
    event, is_known_again = event_of(message(**{header: "order 1"}), {}, SOMEWHERE)
    assert (event.id, is_known_again) == ("order 1", True)


def test_without_any_id_it_says_so() -> None:
    """A message that nothing is known of by has a random id, and the caller is told."""
    (first, known), (second, _) = (event_of(message(), {}, Origin("orders", None)) for _ in range(2))
    assert not known
    assert first.id != second.id


@pytest.mark.parametrize("parameters", ["", "; charset=utf-8"])
def test_our_own_events_come_back_whole(parameters: str) -> None:
    """An event of milepost's that went through a broker is equal to what was published."""
    sent = Event("order.paid", {"total": 12}, subject="order:1", cause="a", root="a", depth=1, metadata={"n": [1]},
                 time=datetime(2026, 1, 2, 3, 4, 5, 600, UTC))  # fmt: skip
    event, _ = event_of(message(content_type=STRUCTURED + parameters), sent.encoded().encode(), SOMEWHERE)
    assert event == sent


CLOUD = {"specversion": "1.0", "id": "7", "type": "shop.paid", "source": "/shop", "subject": "order:1",
         "time": "2026-01-02T03:04:05Z", "root": "not ours", "depth": "deep"}  # fmt: skip


def test_a_structured_cloudevent_of_others() -> None:
    """Its id is preceded by its source, as another source may count alike; its extensions mean what they mean there."""
    body = {**CLOUD, "data": {"total": 12}}
    for told in (json.dumps(body).encode(), body):
        content_type = STRUCTURED if isinstance(told, bytes) else None
        event, is_known_again = event_of(message(content_type=content_type), told, SOMEWHERE)
        assert (event.id, event.type, event.source, event.subject) == ("/shop/7", "shop.paid", "/shop", "order:1")
        assert event.time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert (event.data, event.root, event.depth) == ({"total": 12}, None, 0)
        assert is_known_again


@pytest.mark.parametrize("prefix", ["ce-", "Ce-", "ce_", "cloudEvents:", "cloudEvents_"])
def test_a_cloudevent_in_binary_mode(prefix: str) -> None:
    """Attributes in headers, with the prefix of any of the brokers' bindings, are those of the event."""
    headers = {f"{prefix}{name}": value for name, value in CLOUD.items()}
    event, _ = event_of(message(**headers), {"total": 12}, SOMEWHERE)
    assert (event.id, event.type, event.subject, event.data) == ("/shop/7", "shop.paid", "order:1", {"total": 12})


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        ([1], None, "must be a JSON object or a CloudEvent, got list"),
        (None, None, "must be a JSON object or a CloudEvent, got NoneType"),
        ({**CLOUD, "id": 7}, None, "a CloudEvent's id must be text, got 7"),
        ({**CLOUD, "source": ""}, None, "a CloudEvent's source must be text, got ''"),
        ({**CLOUD, "data": [1]}, None, "data of a CloudEvent must be a JSON object, got list"),
        ({**CLOUD, "data_base64": "AAAA"}, None, "data of a CloudEvent must be a JSON object"),
        ({**CLOUD, "time": "yesterday"}, None, "time"),
        (b"[1]", STRUCTURED, "a CloudEvent is a JSON object, got list"),
        (b"{", STRUCTURED, "EOF while parsing an object"),
    ],
)
def test_what_is_no_event_says_why(body: Any, content_type: str | None, reason: str) -> None:
    """What cannot be an event is a ValueError that names what was wrong and what is allowed."""
    with pytest.raises(ValueError, match=reason):
        event_of(message(content_type=content_type), body, SOMEWHERE)


def test_of_a_broker_nobody_knows() -> None:
    """A message of some other broker comes from where it was subscribed to, and has no position."""
    assert origin_of(message(), "orders") == Origin("orders", None)
