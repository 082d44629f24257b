"""Entries as messages in a Kafka topic."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any

from milepost.changes.entries import ChangeLogEntry
from milepost.changes.exporters.base import Exporter
from milepost.errors import InvalidDefinition

__all__ = ["KafkaExporter"]


class KafkaExporter(Exporter):
    """Sends each entry as a message, JSON, keyed by its container's id, so that a container's changes stay in order.

    Args:
        producer: one like aiokafka's, started by the caller and the caller's to stop: ``await
            producer.send(topic, value=..., key=...)`` returns what to await for the acknowledgement.
        topic: the topic.
        settings: those of :class:`~milepost.changes.exporters.base.Exporter`.

    Raises:
        InvalidDefinition: when a setting is none.
    """

    def __init__(self, producer: Any, topic: str, **settings: Any) -> None:
        super().__init__(**settings)
        if not callable(getattr(producer, "send", None)):
            raise InvalidDefinition(f"producer must have send(topic, value=..., key=...), got {producer!r}")
        if not isinstance(topic, str) or not topic:
            raise InvalidDefinition(f"topic must be a name, got {topic!r}")
        self.topic = topic
        self._producer = producer

    async def send(self, entries: Sequence[ChangeLogEntry]) -> None:
        acknowledgements = []
        for entry in entries:
            sent = self._producer.send(self.topic, value=entry.to_json().encode(), key=entry.container_id.encode())
            acknowledgement = await sent if inspect.isawaitable(sent) else sent
            if inspect.isawaitable(acknowledgement):
                acknowledgements.append(acknowledgement)
        await asyncio.gather(*acknowledgements)
