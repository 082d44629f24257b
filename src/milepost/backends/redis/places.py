"""Where the partitions stand: their epoch and generation, which all of them share but for moments."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.dividing import check_number, moved_away
from milepost.backends.redis.errors import driver
from milepost.backends.redis.keys import Keys
from milepost.backends.redis.scripts import Call, script
from milepost.backends.redis.servers import Facts, Server, exchange
from milepost.errors import CacheUnavailable, InvalidDefinition
from milepost.records import CacheMark, Loss

__all__ = ["Places", "client_name"]

_log = logging.getLogger("milepost")

_HEALING_MS: Final = 1500
"""For how long commits wait after a loss, until live processes have brought back what they hold."""

_ENTER: Final = script("enter.lua")
_ADVANCE: Final = script("advance.lua")


class Places:
    """Knows the epoch and the generation, and keeps the partitions together.

    Epochs are microseconds of the clock where that is above the last one: they go on
    growing where Redis has lost everything.

    Args:
        prefix: what all keys begin with.
        partitions: how many partitions there are.
        allow_eviction: whether the server may throw data away.
    """

    def __init__(self, prefix: str, partitions: int, *, allow_eviction: bool) -> None:
        self.keys = Keys(prefix, partitions)
        self.epoch = 0
        self.follows = False
        """Whether this process has a store that follows."""
        self._allow_eviction = allow_eviction
        self._client: RedisClient | None = None
        self._agreed = False
        self._moved: CacheUnavailable | None = None
        self.on_epoch: Callable[[int], None] = lambda epoch: None
        """Told when a later epoch is learned of."""
        self._generations: dict[int, int] = {}
        self._entered: set[int] = set()
        self.mark: CacheMark | None = None
        """What the store that follows knew of the cache before this was opened."""
        self.doubts: dict[int, bytes] = {}
        """The number of the doubt of each partition whose records may be older than the store's."""
        self._loss: Loss | None = None

    @property
    def client(self) -> RedisClient:
        """What carries calls."""
        assert self._client is not None
        return self._client

    async def open(self, client: RedisClient) -> None:
        """Connect, and learn where the partitions stand.

        Raises:
            CacheUnavailable: when a server does not answer.
            InvalidDefinition: when there is another number of partitions, or the server throws data away.
        """
        self._client = client
        self.epoch = 0
        self._agreed = False
        self._moved = None
        self._entered.clear()
        self.doubts.clear()
        self._loss = None
        if self.mark is not None:
            self._at_least(*self.mark)
        await client.open(self.keys.partitions)
        await self._agree()
        self._agreed = True
        await self._enter(range(self.keys.partitions))
        await self.refresh()

    async def _agree(self) -> None:
        """Agree with everybody about the number of partitions: it decides where records are."""
        number = self.keys.partitions
        setting = Call(None, -1, (), (b"SET", self.keys.number, number, b"NX"))
        _, known = await self.client.ask_all([setting, Call(None, -1, (), (b"GET", self.keys.number))])
        check_number(known, number, self.client.address, self.keys.prefix)

    async def on_connected(self, server: Server, connection: Any, facts: Facts) -> None:
        """Look at a server that a connection was made to, before the connection is used for anything else."""
        if facts.role == "slave":
            raise driver.ReadOnlyError(f"{server.name} is a replica")
        self._check_eviction(server, facts)
        _ = await exchange(connection, [(b"CLIENT", b"SETNAME", client_name(self.keys.prefix))])
        if not self._agreed:
            return
        if self._moved is not None:
            raise self._moved
        topology = self.client.topology
        here = [number for number in range(self.keys.partitions) if topology.server_of(number) is server]
        groups = [[number] for number in here] if topology.spread else [here]
        candidate = max(time.time_ns() // 1000, self.epoch + 1)
        while groups:
            known = int(self.mark is not None or self._entered.issuperset(here))
            arguments = (
                facts.identity,
                candidate,
                self.keys.generation,
                int(self.follows),
                known,
                _HEALING_MS,
                self.keys.partitions,
            )
            calls = [Call(_ENTER, group[0], self._states(group), arguments) for group in groups if group]
            states = [state for reply in await exchange(connection, _commands(calls)) for state in _checked(reply)]
            self._check_not_moved(states)
            late = [int(epoch) for what, epoch, *_ in states if what == b"late"]
            self._learn(dict(zip(here, states, strict=True)))
            if not late:
                self._entered.update(here)
                return
            candidate = max(late) + 1

    def _states(self, numbers: Sequence[int]) -> list[bytes]:
        return [self.keys.state(number) for number in numbers]

    def _check_eviction(self, server: Server, facts: Facts) -> None:
        if facts.eviction == "noeviction":
            return
        problem = (
            f"Redis at {server.name} has maxmemory-policy {facts.eviction}: when its memory is full it throws "
            f"away progress without a word"
        )
        if not self._allow_eviction:
            raise InvalidDefinition(f"{problem}; set it to noeviction, or pass allow_eviction=True to live with that")
        _log.warning("%s", problem)

    def _check_not_moved(self, states: Sequence[Any]) -> None:
        """Raise where records have gone to other partitions; and from then on, whatever Redis may forget."""
        for what, *more in states:
            if what == b"moved":
                self._moved = moved_away(more[0], self.keys.partitions, self.client.address, self.keys.prefix)
                raise self._moved

    def _learn(self, states: Mapping[int, Any]) -> None:
        changes: set[str] = set()
        for number, (what, epoch, _, followed, doubt, before) in states.items():
            if followed == b"1" and not self.follows:
                raise InvalidDefinition(
                    "a store follows this Redis: idle groups are in the store alone, so every manager needs it; "
                    "pass data_store"
                )
            if doubt != b"-":
                self.doubts[number] = doubt
            if what in (b"lost", b"changed"):
                changes.add(what.decode())
                self._note_loss(number, self.epoch if before == b"-" else int(before), int(epoch), what == b"lost")
            elif doubt != b"-" and 0 < self.epoch < int(doubt):  # others noticed it first
                self._note_loss(number, self.epoch, int(epoch), False)
        for _, epoch, generation, *_ in states.values():
            self._at_least(int(epoch), int(generation))
        if changes:
            _log.warning(
                "Redis at %s %s; what it may have lost is brought back from the store and from live processes",
                self.client.name,
                "has lost its data" if "lost" in changes else "was restarted or replaced",
            )

    def _note_loss(self, partition: int, before: int, epoch: int, empty: bool) -> None:
        noted = self._loss or Loss(before, epoch, (), False)
        self._loss = Loss(
            min(noted.epoch_before, before),
            max(noted.epoch, epoch),
            tuple(sorted({*noted.partitions, partition})),
            noted.empty or empty,
        )

    def take_loss(self) -> Loss | None:
        """Return what was noticed since this was asked last."""
        loss, self._loss = self._loss, None
        return loss

    def _at_least(self, epoch: int, generation: int) -> None:
        if generation > self.keys.generation:
            self.keys = self.keys.in_generation(generation)
        if epoch > self.epoch:
            self.epoch = epoch
            self._generations[epoch] = self.keys.generation
            self.on_epoch(epoch)

    def was_flushed_since(self, epoch: int) -> bool:
        """Whether everything was deleted on purpose after that epoch, as far as is known."""
        return self._generations.get(epoch) != self.keys.generation

    async def refresh(self) -> None:
        """Bring all partitions to the same epoch and generation, the highest of all.

        Raises:
            CacheUnavailable: when a server does not answer.
        """
        while True:
            epoch, generation = self.epoch, self.keys.generation
            lost = await self._advance(epoch, generation)
            if lost:
                await self._enter(lost)
            elif (self.epoch, self.keys.generation) == (epoch, generation):
                return

    async def follow(self) -> bool:
        """Have commits marked for a store; return whether they were already."""
        numbers = range(self.keys.partitions)
        calls = [Call(None, n, (), (b"HSET", self.keys.state(n), b"followed", b"1")) for n in numbers]
        known = [Call(None, n, (), (b"HGET", self.keys.state(n), b"followed")) for n in numbers]
        before = await self.client.ask_all(known)
        await self.client.ask_all(calls)
        return all(value == b"1" for value in before)

    async def begin_epoch(self, *, flushed: bool) -> int:
        """Begin a new epoch everywhere, and with a flush a new generation, in which there is nothing.

        Raises:
            CacheUnavailable: when a server does not answer; some partitions may have been advanced.
        """
        self._at_least(max(time.time_ns() // 1000, self.epoch + 1), self.keys.generation + int(flushed))
        await self.refresh()
        return self.epoch

    async def _advance(self, epoch: int, generation: int) -> list[int]:
        """Advance all partitions; return those whose state is lost."""
        lost: list[int] = []
        replies = await self.ask_everywhere(_ADVANCE, (epoch, generation, self.keys.partitions))
        self._check_not_moved([reply for _, reply in replies if reply])
        for number, reply in replies:
            if len(reply) < 2 or reply[0] is None:
                lost.append(number)
            else:
                self._at_least(int(reply[0]), int(reply[1]))
        return lost

    async def ask_everywhere(self, what: Any, arguments: Sequence[Any]) -> list[tuple[int, Any]]:
        """Call a script that takes the states of partitions, once for each server that may have them.

        Raises:
            CacheUnavailable: when a server does not answer.
        """
        numbers = range(self.keys.partitions)
        groups = [[number] for number in numbers] if self.client.topology.spread else [list(numbers)]
        calls = [Call(what, group[0], self._states(group), arguments) for group in groups]
        replies = await self.client.ask_all(calls)
        return [
            (number, reply)
            for group, answer in zip(groups, replies, strict=True)
            for number, reply in zip(group, answer, strict=True)
        ]

    async def _enter(self, lost: Sequence[int]) -> None:
        """Enter partitions of which nothing is known, or whose state is lost."""
        for server in {self.client.topology.server_of(number) for number in lost}:
            await server.forget()  # the next connection looks at all of its partitions
        await self.client.open(self.keys.partitions)
        await self._agree()


def client_name(prefix: str) -> bytes:
    """Return what the connections of managers are called in Redis' list of clients."""
    return b"milepost:" + quote(prefix, safe="").encode()


def _commands(calls: Sequence[Call]) -> list[tuple[Any, ...]]:
    return [call.command(by_text=True) for call in calls]


def _checked(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply
