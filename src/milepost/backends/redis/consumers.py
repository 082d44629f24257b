"""Durable consumers in Redis: their shares of the partitions, and who works for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from milepost.backends.redis.keys import to_bytes
from milepost.backends.redis.onlooking import Onlooker
from milepost.backends.redis.scripts import Call
from milepost.backends.redis.streams import bus_script, number_of

__all__ = ["Shares"]

_SHARE: Final = bus_script("share.lua")
_MEMBERS: Final = bus_script("members.lua", after=())


class Shares:
    """What durable consumers have in the partitions.

    Args:
        places: where partitions are.
        now: what time it is, epoch seconds; None for the servers' own clocks.
    """

    def __init__(self, places: Onlooker, now: Callable[[], float] | None) -> None:
        self._places = places
        self._now = now

    def _moment(self) -> str:
        return "-" if self._now is None else repr(float(self._now()))

    async def _each(
        self,
        what: str,
        name: str,
        numbers: Sequence[int],
        arguments: Sequence[Any] = (),
        of_each: Mapping[int, Sequence[Any]] | None = None,
        *,
        changes: bool = True,
    ) -> dict[int, Any]:
        now, encoded = self._moment(), to_bytes(name)
        return await self._places.each(
            _SHARE,
            numbers,
            lambda many: (what, now, self._places.keys.generation, encoded, many, *arguments),
            of_each,
            changes=changes,
        )

    @property
    def _all(self) -> Sequence[int]:
        return range(self._places.keys.partitions)

    async def declare(self, name: str, max_lag: int | None, on_lag: str, *, at_end: bool) -> None:
        """Make a consumer known; one that is known keeps its positions."""
        arguments = ("-" if max_lag is None else max_lag, on_lag[0], int(at_end))
        await self._each("declare", name, self._all, arguments)

    async def forget(self, name: str) -> bool:
        """Let a consumer go; return whether it was known."""
        known = await self._each("forget", name, self._all)
        await self._places.client.ask(Call(None, -1, (), (b"DEL", self._members(name))))
        return any(known.values())

    async def is_known(self, name: str) -> bool:
        """Return whether a consumer is known in every partition."""
        return -1 not in (await self._each("look", name, self._all, changes=False)).values()

    # --- who works ------------------------------------------------------------------------

    def _members(self, name: str) -> bytes:
        return self._places.keys.shared(f"M:{name}")

    async def beat(self, name: str, owner: str, ttl: float, held: Mapping[int, int]) -> tuple[int, set[int]]:
        """Renew leases; return how many processes there are, and which partitions were lost."""
        call = Call(_MEMBERS, -1, (self._members(name),), (self._moment(), owner, ttl))
        members = int(await self._places.client.ask(call))
        tokens = {number: (token,) for number, token in held.items()}
        kept = await self._each("renew", name, list(held), (ttl,), tokens)
        return members, {number for number, is_ours in kept.items() if not is_ours}

    async def leave(self, name: str, owner: str) -> None:
        """Say that a process works for a consumer no more."""
        await self._places.client.ask(Call(None, -1, (), (b"ZREM", self._members(name), owner)))

    async def claim(self, name: str, owner: str, ttl: float, most: int) -> list[tuple[int, int, str]]:
        """Take partitions that nobody has: (partition, token, position)."""
        looked = await self._each("look", name, self._all, changes=False)
        free = [number for number, is_free in looked.items() if is_free == 1]
        taken: list[tuple[int, int, str]] = []
        while free and len(taken) < most:
            wanted, free = free[: most - len(taken)], free[most - len(taken) :]
            replies = await self._each("claim", name, wanted, (owner, ttl))
            taken += [(number, int(reply[0]), reply[1].decode()) for number, reply in replies.items() if reply]
        return taken

    async def acknowledge(self, name: str, done: Mapping[int, tuple[int, str]]) -> set[int]:
        """Move positions on; return the partitions that have another owner."""
        of_each = {number: (token, number_of(position)) for number, (token, position) in done.items()}
        noted = await self._each("acknowledge", name, list(done), (), of_each)
        return {number for number, is_noted in noted.items() if not is_noted}

    async def release(self, name: str, held: Mapping[int, int]) -> None:
        """Give partitions up that are still held."""
        await self._each("release", name, list(held), (), {number: (token,) for number, token in held.items()})
