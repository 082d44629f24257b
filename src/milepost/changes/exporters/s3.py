"""Entries as objects in S3, or what speaks its protocol."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from milepost.changes.entries import ChangeLogEntry
from milepost.changes.exporters.base import Exporter
from milepost.errors import InvalidDefinition

__all__ = ["S3Exporter"]


class S3Exporter(Exporter):
    """Puts each batch into an object of its own, lines of JSON: ``changes/2026/11/21/<id of the first entry>.jsonl``.

    A batch that is sent again replaces its own object.

    Args:
        client: a boto3 client, called in a thread, or one with an async ``put_object``.
        bucket: the bucket's name.
        prefix: what keys begin with.
        settings: those of :class:`~milepost.changes.exporters.base.Exporter`.

    Raises:
        InvalidDefinition: when a setting is none.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "changes/", **settings: Any) -> None:
        super().__init__(**settings)
        if not callable(getattr(client, "put_object", None)):
            raise InvalidDefinition(f"client must have put_object(Bucket=..., Key=..., Body=...), got {client!r}")
        if not isinstance(bucket, str) or not bucket:
            raise InvalidDefinition(f"bucket must be a name, got {bucket!r}")
        self.bucket = bucket
        self.prefix = prefix
        self._put = client.put_object

    async def send(self, entries: Sequence[ChangeLogEntry]) -> None:
        first = entries[0]
        wanted = {
            "Bucket": self.bucket,
            "Key": f"{self.prefix}{first.time:%Y/%m/%d}/{first.id}.jsonl",
            "Body": "".join(entry.to_json() + "\n" for entry in entries).encode(),
            "ContentType": "application/x-ndjson",
        }
        if inspect.iscoroutinefunction(self._put):
            await self._put(**wanted)
        else:
            await self.blocking(self._put, **wanted)
