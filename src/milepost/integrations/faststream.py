"""Brokers beyond Redis, through FastStream: NATS, RabbitMQ, Kafka and what else it speaks.

Messages drive trackers or become events of the bus; milestones and other events are published as CloudEvents.

::

    broker = NatsBroker("nats://localhost:4222")
    link = BrokerLink(broker, manager)
    link.track("orders.paid", stream="ORDERS", durable="goals", pull_sub=True, group=lambda event: event.data["user"])
    link.publish("tracker.*_completed", to="milestones", stream="MILESTONES", durable="to nats")

    app = FastStream(broker, on_startup=[manager.start], on_shutdown=[manager.aclose])
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Final, Unpack

from milepost.bus.envelope import Envelope
from milepost.bus.handlers import Handler, HowToRun
from milepost.errors import InvalidDefinition, MissingExtra
from milepost.events.types import Event
from milepost.integrations.inbox import UNREADABLE, Inbox, Work, changed
from milepost.integrations.publications import Publication, kind_of
from milepost.manager import TrackingManager
from milepost.retries import RetryPolicy

try:
    from faststream import AckPolicy
    from faststream._internal.broker import BrokerUsecase
    from faststream.exceptions import AckMessage, NackMessage, RejectMessage
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "faststream":
        raise
    raise MissingExtra("faststream", "faststream") from None

__all__ = ["BrokerLink"]

_log = logging.getLogger("milepost")

_WITHOUT_END: Final = RetryPolicy.exponential(None, start=0.1, most=10.0)
_A_WHILE: Final = RetryPolicy.exponential(7, start=0.1, most=10.0)


class BrokerLink:
    """Joins a FastStream broker with a manager and its bus.

    The broker stays the caller's, who starts and stops it. Start the manager before it and close the manager
    before it stops: ``async with broker, manager: await broker.start()``, or the hooks of a ``FastStream`` app.

    Messages are acknowledged when what they say has been committed. Where the cache, the store or the transport
    does not answer, a message is given back (nack) after a pause, to be delivered again. One that can never
    be applied is kept as a failed delivery, which ``bus.retry_job`` runs again, and rejected: what becomes of it is the
    broker's affair (NATS delivers it no more, RabbitMQ moves it to its dead-letter exchange, Kafka goes on
    behind it). FastStream itself rejects and logs a body that cannot be decoded.

    Args:
        broker: a ``NatsBroker``, ``RabbitBroker``, ``KafkaBroker`` or any other of FastStream's.
        manager: what tracks, and whose bus has the events.
        pause: for how many seconds a message is held before it is given back.

    Raises:
        TypeError: when the broker or the manager is none.
        InvalidDefinition: when the pause is no number of seconds.
    """

    def __init__(self, broker: BrokerUsecase[Any, Any, Any], manager: TrackingManager, *, pause: float = 1.0) -> None:
        if not isinstance(broker, BrokerUsecase):
            raise TypeError(f"broker must be a broker of FastStream's, such as a NatsBroker, got {broker!r}")
        if not isinstance(manager, TrackingManager):
            raise TypeError(f"manager must be a TrackingManager, got {manager!r}")
        if isinstance(pause, bool) or not isinstance(pause, int | float) or not pause >= 0:
            raise InvalidDefinition(f"pause must be a number of seconds of at least 0, got {pause!r}")
        self._broker = broker
        self._manager = manager
        self._bus = manager.bus
        self._pause = pause
        self._kind = kind_of(broker)

    # --- from the broker ------------------------------------------------------------------

    def track(
        self,
        *address: Any,
        group: Callable[[Event], str | None] | None = None,
        data: Callable[[Event], Mapping[str, Any]] | None = None,
        event_id: Callable[[Event], str] | None = None,
        **subscription: Any,
    ) -> None:
        """Let messages drive trackers; one that is delivered again counts once.

        A message is seen as an event: a CloudEvent as what it is, a JSON object as its ``data``. Its id serves as
        ``event_id``: the CloudEvent's, the one in a ``Nats-Msg-Id`` or ``message_id`` header or in the AMQP property,
        or else its position in the JetStream stream, Kafka partition or Redis stream.

        Args:
            *address: as for the broker's ``subscriber``: a subject, queue or topic.
            group: says which group an event belongs to; None for none. By default the event's subject.
            data: says what is tracked; by default the event's data.
            event_id: says what the event is known by, where it is not the message's id.
            **subscription: further options of the broker's ``subscriber``.

        Raises:
            InvalidDefinition: for an option that is not the caller's to set.
        """

        async def work(event: Event) -> None:
            group_id = event.subject if group is None else group(event)
            if group_id is not None:
                await self._manager.track(group_id, event.data if data is None else data(event), event_id=event.id)

        self._subscribe("track", address, work, event_id, subscription)

    def emit(
        self,
        *address: Any,
        type: str | Callable[[Event], str] | None = None,
        subject: str | Callable[[Event], str | None] | None = None,
        event_id: Callable[[Event], str] | None = None,
        **subscription: Any,
    ) -> None:
        """Let messages become events of the bus; one that is delivered again is the same event.

        A message is acknowledged when the bus has accepted its event: from then on its handlers are the bus's to run,
        at least once where they are durable and its transport lasts.

        Args:
            *address: as for the broker's ``subscriber``.
            type: the event's type, or what says it; by default the CloudEvent's, or where it was published.
            subject: what it happened to, or what says it; by default the CloudEvent's.
            event_id: says what the event is known by, where it is not the message's id; see :meth:`track`.
            **subscription: further options of the broker's ``subscriber``.

        Raises:
            InvalidDefinition: for an option that is not the caller's to set.
        """

        async def work(event: Event) -> None:
            changes: dict[str, Any] = {}
            if type is not None:
                changes["type"] = type if isinstance(type, str) else type(event)
            if subject is not None:
                changes["subject"] = subject if isinstance(subject, str) else subject(event)
            await self._bus.publish(changed(event, changes))

        self._subscribe("emit", address, work, event_id, subscription)

    def _subscribe(
        self,
        what: str,
        address: tuple[Any, ...],
        work: Work,
        event_id: Callable[[Event], str] | None,
        subscription: dict[str, Any],
    ) -> None:
        for option in ("ack_policy", "no_ack", "no_reply", "batch"):
            if option in subscription:
                raise InvalidDefinition(f"{option} is not to be given: messages come one by one, acknowledged here")
        place = " ".join(str(getattr(part, "name", part)) for part in address) or self._kind
        inbox = Inbox(self, f"{what} {place}", place, work, event_id)
        subscriber: Any = self._broker.subscriber
        policy = self._policy(subscription)
        # No reply: one to a JetStream publisher would look like the server's confirmation.
        receives = subscriber(*address, ack_policy=policy, no_reply=True, **subscription)

        async def receive(body: Any) -> None:
            await inbox.receive(self._broker.context.get_local("message"), body)

        receive.__name__ = what
        receives(receive)

    def _policy(self, subscription: Mapping[str, Any]) -> AckPolicy:
        """Return how FastStream acknowledges: after the work, and as the exceptions say that an inbox raises."""
        if self._kind == "nats" and not subscription.get("stream"):
            return AckPolicy.MANUAL  # core NATS knows no acknowledging
        if self._kind in ("kafka", "confluent"):
            return AckPolicy.ACK  # Kafka knows no rejecting
        return AckPolicy.REJECT_ON_ERROR

    # --- to the broker --------------------------------------------------------------------

    def publish(
        self,
        *patterns: str,
        to: str | Callable[[Event], str | None],
        options: Mapping[str, Any] | None = None,
        stream: str | None = None,
        **how: Unpack[HowToRun],
    ) -> Handler:
        """Publish events of the bus, those of trackers among them, as CloudEvents in structured mode.

        The body is the event as JSON, the content type ``application/cloudevents+json``. The event's id is in the
        headers ``message_id`` and ``Nats-Msg-Id``, by which JetStream drops what it has already, and in the AMQP
        property; a Kafka key is the event's subject.

        With ``durable="name"`` each event is published at least once, in order for each subject, also when the
        process dies: an event is done when the broker has confirmed it, and is tried again until it does. Otherwise
        it is tried for a while, and is a failed delivery then.

        Args:
            *patterns: of event types.
            to: the subject, topic or routing key, or what says it for an event; None for not at all.
            options: further options of the broker's ``publish``.
            stream: the JetStream stream that has to confirm.
            **how: ``durable="name"``, ``retry=...`` and what else ``bus.register`` takes.

        Returns:
            The handler that does it, for ``bus.unregister``.

        Raises:
            InvalidDefinition: when a pattern or a setting is wrong, or ``durable`` is given for NATS without a stream:
                nobody would confirm.
        """
        settings = dict(options or {})
        if stream is not None:
            settings["stream"] = stream
        if how.get("durable") is not None and self._kind == "nats" and not settings.get("stream"):
            raise InvalidDefinition('durable needs stream="...", the JetStream stream: nobody confirms otherwise')
        publish = Publication(self._broker, to, settings)
        if how.get("retry") is None:
            how["retry"] = _A_WHILE if how.get("durable") is None else _WITHOUT_END
        how.setdefault("name", f"publish {' '.join(map(str, patterns))}")
        return self._bus.register(publish, patterns, takes_event=True, **how)

    # --- what an inbox asks for -----------------------------------------------------------

    def refusal(self) -> Exception:
        """Return what to raise for a message that is not to be delivered again."""
        return AckMessage() if self._kind == "redis" else RejectMessage()  # Redis keeps what is rejected as pending

    async def given_back(self, place: str, error: Exception) -> Exception:
        """Hold a message that cannot be applied now, so that a broker that delivers it at once is not kept busy.

        Returns:
            What to raise then.
        """
        _log.warning("a message from %s is given back, to be delivered again: %s", place, error)
        await self._manager._clock.sleep(self._pause)
        return NackMessage()

    def keeper(self, name: str, work: Work) -> Handler:
        """Register what runs messages again that were kept as failed deliveries."""

        async def again(event: Event) -> None:
            if event.type == UNREADABLE:
                raise ValueError(event.data["reason"])
            # Outside of this run: what is published is the message itself, and nothing that it caused.
            await asyncio.get_running_loop().create_task(_run(work, event), context=Context())

        # No event has this type: the handler is there for `retry_job` alone.
        return self._bus.register(again, f"kept from {name}", takes_event=True, name=f"faststream {name}")

    async def keep(self, handler: Handler, event: Event, error: Exception) -> None:
        """Keep a message as a failed delivery; return when it is kept."""
        await self._bus.start()
        await self._bus.failing.give_up(self._bus._deliverer, handler, Envelope.of(event), 1, error)


async def _run(work: Work, event: Event) -> None:
    await work(event)
