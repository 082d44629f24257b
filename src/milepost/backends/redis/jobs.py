"""Jobs that failed, in Redis: kept, asked for again, taken, removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from milepost.backends.failed import FailedRow
from milepost.backends.redis.keys import to_bytes, to_text
from milepost.backends.redis.onlooking import Onlooker
from milepost.backends.redis.scripts import Call
from milepost.backends.redis.streams import bus_script
from milepost.codec import dumps, loads

__all__ = ["FailedRows"]

_FAILED: Final = bus_script("failed.lua", after=("layout.lua",))
_PAGE: Final = 200


class FailedRows:
    """The jobs that failed, all in one place: there are few.

    Args:
        places: where Redis is.
        now: what time it is, epoch seconds; None for the server's own clock.
    """

    def __init__(self, places: Onlooker, now: Callable[[], float] | None) -> None:
        self._places = places
        self._now = now
        shared = places.keys.shared
        self._lists = (shared("F"), shared("R"))

    async def _ask(self, what: str, ids: Sequence[str], *arguments: Any, changes: bool = True) -> Any:
        now = "-" if self._now is None else repr(float(self._now()))
        given = (what, now, *arguments)
        names = (*self._lists, *(self._places.keys.shared(f"J:{id}") for id in ids))
        call = Call(_FAILED, -1, names, given, (lambda: given) if changes else None)
        return await self._places.client.ask(call)

    async def put(self, row: FailedRow) -> None:
        """Keep a job that failed; one of the same id is replaced."""
        rest = dumps([row.consumer, row.attempts, row.reason, row.traceback, row.at, row.body])
        await self._ask("put", [row.id], to_bytes(row.id), repr(float(row.at)), to_bytes(row.handler), rest)

    async def all(self) -> list[FailedRow]:
        """Return the jobs that failed, the oldest first."""
        rows: list[FailedRow] = []
        start = 0
        while page := _rows(await self._ask("list", (), start, start + _PAGE - 1, changes=False)):
            rows += page
            start += _PAGE
        return rows

    async def one(self, id: str) -> list[FailedRow]:
        """Return a job that failed, if it is there."""
        name, encoded = self._places.keys.shared(f"J:{id}"), to_bytes(id)
        calls = [
            Call(None, -1, (), (b"HMGET", name, b"handler", b"job")),
            Call(None, -1, (), (b"ZSCORE", self._lists[1], encoded)),
        ]
        (handler, job), again = await self._places.client.ask_all(calls)
        return [] if job is None else _rows([encoded, handler, job, int(again is not None)])

    async def ask_retry(self, ids: Sequence[str]) -> int:
        """Mark jobs to be run again; return how many there were."""
        return int(await self._ask("ask", ids, *map(to_bytes, ids)))

    async def take_retries(self, handlers: Sequence[str], ttl: float) -> list[FailedRow]:
        """Take marked jobs of these handlers, and those that were taken and not concluded in time."""
        if not await self._places.client.ask(Call(None, -1, (), (b"EXISTS", self._lists[1]))):
            return []
        return _rows(await self._ask("take", (), ttl, *map(to_bytes, handlers)))

    async def keep_retries(self, ids: Sequence[str], ttl: float) -> None:
        """Go on holding jobs that were taken."""
        await self._ask("keep", ids, ttl, *map(to_bytes, ids))

    async def remove(self, ids: Sequence[str]) -> int:
        """Remove jobs; return how many there were."""
        return int(await self._ask("remove", ids, *map(to_bytes, ids))) if ids else 0

    async def clear(self) -> None:
        """Remove all jobs."""
        while rows := await self.all():
            await self.remove([row.id for row in rows])


def _rows(reply: Sequence[Any]) -> list[FailedRow]:
    items = iter(reply)
    rows: list[FailedRow] = []
    for id, handler, job, retrying in zip(items, items, items, items, strict=True):
        consumer, attempts, reason, traceback, at, body = loads(job)
        rows.append(
            FailedRow(to_text(id), to_text(handler), consumer, attempts, reason, traceback, at, body, bool(retrying))
        )
    return rows
