"""Events about models beyond those of their operations, and handlers of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar

from milepost.events.types import Event
from milepost.subjects.draft import change_id
from milepost.subjects.environment import HandlerTaking, on_default_bus
from milepost.subjects.models import TrackedModel
from milepost.subjects.stored_model import event_name_of

__all__ = ["dispatch_model_batch_event", "dispatch_model_event", "model_event_handler"]

_OPERATIONS: Final = ("created", "updated", "deleted")

F = TypeVar("F", bound=Callable[..., Any])


class _PublishingBus(Protocol):
    async def publish_many(self, events: Iterable[Event], *, delay: float | timedelta | None = None) -> list[str]: ...


def model_event_handler(
    model: type[TrackedModel] | str, event: str, bus: HandlerTaking | None = None, **how: Any
) -> Callable[[F], F]:
    """Decorate a handler of a model's events, which gets the event itself.

    ::

        @model_event_handler("User", "created")
        async def welcome(event):
            print(event.data["username"])

    Args:
        model: the model's class, or its name.
        event: what happened: ``"created"``, or a pattern.
        bus: where to register it; by default on the default bus, before or after ``milepost.init``.
        **how: how it is run; see ``EventBus.register``.
    """
    pattern = f"{event_name_of(model)}.{event}"

    def decorate(function: F) -> F:
        if bus is None:
            on_default_bus(lambda default: default.event_handler(pattern, **how)(function))
        else:
            bus.event_handler(pattern, **how)(function)
        return function

    return decorate


async def dispatch_model_event(
    bus: _PublishingBus,
    model: type[TrackedModel],
    event: str,
    id: Any = None,
    data: TrackedModel | Mapping[str, Any] | None = None,
    delay: float | timedelta | None = None,
) -> str:
    """Publish an event about a model: its fields, flat, with its ``id``.

    An event that the model's operation has published itself, such as ``created``, is the same event while the model
    is at the same revision: it is delivered once.

    Args:
        bus: the bus.
        model: the model's class.
        event: what happened: ``"welcome_email"`` becomes ``user.welcome_email``.
        id: the model's id; by default that of ``data``.
        data: the model, or a payload.
        delay: seconds, or a timedelta, before it is delivered.

    Returns:
        The event's id.

    Raises:
        TypeError: when the payload is not made of JSON values.
        BackendUnavailable: when the transport does not answer.
    """
    (published,) = await bus.publish_many([_event(model, event, id, data)], delay=delay)
    return published


async def dispatch_model_batch_event(
    bus: _PublishingBus,
    model: type[TrackedModel],
    event: str,
    items: Iterable[TrackedModel | Mapping[str, Any]],
    batch_size: int = 100,
    delay: float | timedelta | None = None,
) -> list[str]:
    """Publish an event about each of many models, a batch in one round trip; otherwise like the one about one.

    Args:
        bus: the bus.
        model: the models' class.
        event: what happened.
        items: the models, or payloads.
        batch_size: how many events go together.
        delay: seconds, or a timedelta, before they are delivered.

    Returns:
        The events' ids, in order.

    Raises:
        ValueError: when ``batch_size`` is less than 1.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
    events = [_event(model, event, None, item) for item in items]
    published: list[str] = []
    for start in range(0, len(events), batch_size):
        published += await bus.publish_many(events[start : start + batch_size], delay=delay)
    return published


def _event(model: type[TrackedModel], event: str, id: Any, data: TrackedModel | Mapping[str, Any] | None) -> Event:
    type = f"{event_name_of(model)}.{event}"
    if isinstance(data, TrackedModel):
        told = data._state.told.get(type)
        if told is not None:
            return Event(type, told[1], subject=data._subject_name, id=told[0])
        revision = data._state.revision
        if event in _OPERATIONS and revision is not None:  # it was loaded: by whom it was stored, told of it like this
            id = change_id(data._key_of(data.id), type, revision)
            return Event(type, data._payload(), subject=data._subject_name, id=id)
        return Event(type, data._payload(), subject=data._subject_name)
    payload = dict(data or {})
    if id is not None:
        payload["id"] = id
    if "id" not in payload:
        return Event(type, payload)
    return Event(type, payload, subject=f"{model._collection}:{payload['id']}")
