"""Entries posted to a web server, by httpx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from milepost.changes.entries import ChangeLogEntry
from milepost.changes.exporters.base import Exporter, RefusedExport
from milepost.codec import dumps
from milepost.errors import InvalidDefinition, MissingExtra

__all__ = ["HttpExporter"]

_WORTH_A_RETRY: Final = frozenset({408, 425, 429})


class HttpExporter(Exporter):
    """Posts batches as JSON arrays.

    Each request has an ``Idempotency-Key``, the same when the batch is sent again. A server's 5xx, 408, 425
    and 429, and what goes wrong on the way, are tried again; any other answer that is no success
    is final.

    Args:
        url: where to post.
        client: an ``httpx.AsyncClient``, which stays the caller's; by default one of its own.
        headers: sent with each request.
        timeout: how many seconds a request may take.
        settings: those of :class:`~milepost.changes.exporters.base.Exporter`.

    Raises:
        InvalidDefinition: when a setting is none.
        MissingExtra: without a client, when httpx is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        client: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise InvalidDefinition(f"url must begin with http:// or https://, got {url!r}")
        self.url = url
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._client = client
        self._owned = client is None
        if client is None:
            _httpx()

    async def open(self) -> None:
        if self._owned:  # certificates are read from disk
            self._client = await self.blocking(_httpx().AsyncClient, timeout=self._timeout)

    async def release(self) -> None:
        if self._owned:
            await self._client.aclose()

    async def send(self, entries: Sequence[ChangeLogEntry]) -> None:
        answer = await self._client.post(
            self.url,
            content=dumps([entry.to_dict() for entry in entries]).encode(),
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": f"{entries[0].id}-{len(entries)}",
                **self._headers,
            },
        )
        status: int = answer.status_code
        if 200 <= status < 300:
            return
        message = f"{self.url} answered {status}"
        if status in _WORTH_A_RETRY or status >= 500:
            raise OSError(message)
        raise RefusedExport(message)


def _httpx() -> Any:
    try:
        import httpx
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "httpx":
            raise
        raise MissingExtra("http", "httpx") from None
    return httpx
