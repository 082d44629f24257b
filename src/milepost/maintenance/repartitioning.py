"""Dividing what is in Redis into another number of partitions, while no manager uses it.

Whoever has the old number open is turned away from the first step on, whatever it was about to write: the old
partitions lose their generation, without which no script works in them, and the new ones are opened by the last step.
Killed anywhere in between, the same call goes on where it was.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from milepost._naming import SUBJECTS
from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.dividing import Division, command_for
from milepost.backends.redis.errors import driver
from milepost.backends.redis.keys import Keys
from milepost.backends.redis.moving import OF_A_RECORD, Moved, Mover
from milepost.backends.redis.opening import Source, client_source, open_client, url_source
from milepost.backends.redis.places import Places, client_name
from milepost.backends.redis.scripts import Call, script
from milepost.backends.redis.servers import Facts, Server
from milepost.errors import CacheUnavailable, InvalidDefinition, StoreLeased

__all__ = ["Repartitioned", "repartition"]

_FENCE: Final = script("fence.lua", after=())
_SETTLE: Final = script("settle.lua", after=())
_SWAP: Final = script("swap.lua", after=())

_MOST: Final = 4096
_PAGE: Final = 1000
_LOOKS: Final = 4
_PAUSE: Final = 0.2
_LEFT_BEHIND: Final = frozenset("dout" + "ikK" + OF_A_RECORD)
"""Kinds of keys that are read, or worth nothing when the events have moved, and deleted at the end."""
_OF_CONSUMERS: Final = frozenset("Wxy")


@dataclass(slots=True)
class Repartitioned:
    """What became of dividing anew.

    Args:
        before: how many partitions there were.
        after: how many there are, or would be.
        resumed: whether an earlier call had begun it.
        found: how many records there were to move when this call began.
        live: addresses of connections of managers that had the data open.
        moved: what this call moved.
        done: whether everything is where it belongs; not so for a dry run.
    """

    before: int
    after: int
    resumed: bool = False
    found: int = 0
    live: Sequence[str] = ()
    moved: Moved = field(default_factory=Moved)
    done: bool = False


async def repartition(
    redis: Any,
    partitions: int,
    *,
    key_prefix: str = "milepost",
    force: bool = False,
    dry_run: bool = False,
    timeout: float = 30.0,
    patience: float = 5.0,
    told: Callable[[Repartitioned], None] = lambda so_far: None,
) -> Repartitioned:
    """Divide what is in Redis into another number of partitions.

    Everything is moved: groups and what belongs to them, events, deadlines, what a store has not seen. Definitions
    go where groups need them. Managers cannot open the data until that is done. It may be killed at any moment;
    the same call goes on then.

    Args:
        redis: a URL, as for ``RedisDataCache.from_url``, or a client, which stays its owner's.
        partitions: how many there shall be.
        key_prefix: what the keys begin with.
        force: turn managers away that have the data open, instead of refusing to begin.
        dry_run: only look; nothing is changed.
        timeout: for how many seconds to wait for a reply.
        patience: for how many seconds to try again when Redis does not answer.
        told: called with what was moved so far.

    Returns:
        What was moved, or with ``dry_run`` found.

    Raises:
        InvalidDefinition: when a setting is wrong, there is no data under the prefix, it is being divided into
            another number, or something is kept there that cannot be moved.
        StoreLeased: when managers have the data open, and ``force`` is not given.
        CacheUnavailable: when Redis does not answer, was replaced meanwhile, or another call has taken over.
    """
    if isinstance(partitions, bool) or not isinstance(partitions, int) or not 1 <= partitions <= _MOST:
        raise InvalidDefinition(f"partitions must be a whole number from 1 to {_MOST}, got {partitions!r}")
    source = url_source(redis) if isinstance(redis, str) else client_source(redis)
    division = await _division(source, key_prefix, timeout, patience)
    if division.target not in (None, partitions):
        command = command_for(source.address, key_prefix, division.target or 0)
        raise InvalidDefinition(
            f"the data are being divided into {division.target} partitions; `{command}` has to go on with that first"
        )
    outcome = Repartitioned(division.number, partitions, resumed=division.target is not None)
    if division.target is None and division.number == partitions:
        outcome.done = True
        return outcome
    both = _Both(key_prefix, division.number, partitions)
    client = await open_client(source, both, timeout, patience)
    try:
        await both.open(client)
        await _Repartitioning(client, both, division, outcome, told).run(force=force, dry_run=dry_run)
    finally:
        await client.aclose()
    return outcome


async def _division(source: Source, prefix: str, timeout: float, patience: float) -> Division:
    """Return how many partitions there are, and what is being made of that."""
    places = _Both(prefix, 1, 1)
    client = await open_client(source, places, timeout, patience)
    try:
        await places.open(client)
        known = await client.ask(Call(None, -1, (), (b"GET", places.keys.number)))
    finally:
        await client.aclose()
    if known is None:
        raise InvalidDefinition(f"Redis at {source.name} has no data under the prefix {prefix!r}")
    return Division.parse(known)


class _BothKeys(Keys):
    """Knows the old partitions, and where the new ones are, which are numbered behind them."""

    def __init__(self, prefix: str, old: int, new: int) -> None:
        super().__init__(prefix, old)
        self.new = Keys(prefix, new)

    @property
    def all_tags(self) -> tuple[bytes, ...]:
        return (*self.tags, *self.new.all_tags)


class _Both(Places):
    """Where the old and the new partitions are; it enters none of them."""

    def __init__(self, prefix: str, old: int, new: int) -> None:
        super().__init__(prefix, old, allow_eviction=True)
        self.keys: _BothKeys = _BothKeys(prefix, old, new)
        self.identities: dict[Server, str] = {}

    async def open(self, client: RedisClient) -> None:
        self._client = client
        await client.open(self.keys.partitions + self.keys.new.partitions)

    async def on_connected(self, server: Server, connection: Any, facts: Facts) -> None:
        if facts.role == "slave":
            raise driver.ReadOnlyError(f"{server.name} is a replica")
        if self.identities.setdefault(server, facts.identity) != facts.identity:
            raise CacheUnavailable(
                f"Redis at {server.name} was restarted or replaced while its data were moved, and may have lost some; "
                f"the same command goes on with what it has"
            )


class _Repartitioning:
    """Takes the steps.

    Args:
        client: carries calls.
        both: where the partitions are.
        division: what Redis says of their number.
        outcome: what is told.
        told: called when something was moved.
    """

    def __init__(
        self,
        client: RedisClient,
        both: _Both,
        division: Division,
        outcome: Repartitioned,
        told: Callable[[Repartitioned], None],
    ) -> None:
        self._client = client
        self._both = both
        self._division = division
        self._outcome = outcome
        self._told = told
        self._prefix = both.keys.prefix
        self._followed = b"0"
        self._unharmed = True

    @property
    def _old(self) -> range:
        return range(self._outcome.before)

    @property
    def _new(self) -> range:
        return range(self._outcome.after)

    async def run(self, *, force: bool, dry_run: bool) -> None:
        """Do it, or only look."""
        generation = await self._generation()
        await self._survey(generation)
        self._outcome.live = await self._live()
        for _ in range(_LOOKS):
            if not self._outcome.live:
                break
            await asyncio.sleep(_PAUSE)  # a server may list a connection for a moment that was closed just now
            self._outcome.live = await self._live()
        if dry_run:
            return
        if self._outcome.live and not force and not self._outcome.resumed:
            raise StoreLeased(
                f"managers have the data under the prefix {self._prefix!r} open, from {', '.join(self._outcome.live)}; "
                f"stop them, or use --force (force=True), which turns them away"
            )
        await self._begin()
        old = self._both.keys.in_generation(self._division.generation)
        new = self._both.keys.new.in_generation(self._division.generation + 1)
        mover = Mover(self._client, old, new, self._division.mover, self._outcome.moved, self._tell, _records_of)
        async for names in self._names(old):
            await mover.move_records(names)
        await mover.move_indexes()
        await mover.move_events()
        await self._leave(old, mover)
        await self._settle(new)

    def _tell(self) -> None:
        self._told(self._outcome)

    # --- looking -----------------------------------------------------------------------

    async def _generation(self) -> int:
        """Return the generation that is to be moved."""
        if self._division.generation >= 0:
            return self._division.generation
        names = self._both.keys
        calls = [Call(None, n, (), (b"HMGET", names.state(n), b"was", b"generation")) for n in self._old]
        found = [value for values in await self._client.ask_all(calls) for value in values if value]
        return max((int(value) for value in found if value != b"-"), default=0)

    async def _survey(self, generation: int) -> None:
        """Count records, and see to it that there is nothing that cannot be moved.

        Raises:
            InvalidDefinition: when there is.
        """
        keys = self._both.keys.in_generation(generation)
        strange: list[bytes] = []
        async for names in self._names(keys):
            for name in filter(keys.has, names):
                kind = name[name.index(b"}") + 1 :][:1].decode("latin-1")
                self._outcome.found += kind == "r" and Keys.parse(name)[1] == generation
                if kind != "e" and kind not in _LEFT_BEHIND:
                    strange.append(name)
        if strange:
            what = "durable consumers and delayed events of the bus" if _kinds_of(strange) <= _OF_CONSUMERS else "keys"
            raise InvalidDefinition(
                f"{what} cannot be moved to other partitions: {_listed(sorted(strange))}; nothing was changed"
            )

    async def _names(self, keys: Keys) -> AsyncIterator[list[bytes]]:
        """Iterate over the names of keys of all partitions, page by page."""
        servers = {self._client.topology.server_of(number): number for number in range(keys.partitions)}
        for number in servers.values():
            cursor: bytes = b"0"
            while True:
                command = (b"SCAN", cursor, b"MATCH", keys.pattern("?"), b"COUNT", _PAGE)
                cursor, found = await self._client.ask(Call(None, number, (), command))
                yield found
                if cursor == b"0":
                    break

    async def _live(self) -> list[str]:
        """Return the addresses of connections of managers that have the data open."""
        wanted = b"name=" + client_name(self._prefix)
        found: list[list[str]] = []
        servers = {self._client.topology.server_of(number): number for number in self._old}
        for number in servers.values():
            try:
                text = await self._client.ask(Call(None, number, (), (b"CLIENT", b"LIST")))
            except CacheUnavailable as error:
                if not isinstance(error.__cause__, driver.ResponseError):
                    raise
                continue  # who may not ask is turned away from nothing else: the fence holds without it
            lines = [line.split() for line in bytes(text).splitlines()]
            found.append([_address(line) for line in lines if wanted in line])
        return max(found, key=len, default=[])  # a manager has a connection to each node

    # --- changing ----------------------------------------------------------------------

    async def _begin(self) -> None:
        """Take over, and close the old partitions; from here on nobody else opens the data, or commits to them."""
        number = self._outcome.before
        await self._become(replace(self._division, target=self._outcome.after, mover=os.urandom(8).hex()))
        states = [self._both.keys.state(n) for n in self._old]
        calls = [Call(_FENCE, n, (states[n],), (self._division.mark,)) for n in range(number)]
        replies = [reply for (reply,) in await self._client.ask_all(calls)]
        if self._division.generation < 0:
            generation = max((int(found) for _, found, *_ in replies if found is not None), default=0)
            epoch = max((int(found) for found, *_ in replies if found is not None), default=0)
            epoch = max(epoch + 1, time.time_ns() // 1000)
            await self._become(replace(self._division, generation=generation, epoch=epoch))
        self._followed = b"1" if any(followed == b"1" for _, _, followed, *_ in replies) else b"0"
        self._unharmed = all(
            healing is None and (server is None or server.decode() == self._identity(n))
            for n, (*_, server, healing) in enumerate(replies)
        )
        names, token = self._both.keys.new, self._division.mover
        await self._client.ask_all(
            [Call(None, number + n, (), (b"HSET", names.state(n), b"moving", token)) for n in self._new]
        )

    async def _become(self, division: Division) -> None:
        name = self._both.keys.number
        values = (self._division.encoded(), division.encoded())
        if not await self._client.ask(Call(_SWAP, -1, (name,), values)):
            raise CacheUnavailable("another `milepost repartition` has taken over, and this one ends")
        self._division = division

    def _identity(self, number: int) -> str:
        """Return who the server of a partition is."""
        return self._both.identities.get(self._client.topology.server_of(number), "")

    async def _leave(self, old: Keys, mover: Mover) -> None:
        """Delete what is left in the old partitions."""
        async for names in self._names(old):
            await mover.move_records(names)
            gone = [
                Call(None, old.partition_by_tag(name), (), (b"UNLINK", name))
                for name in names
                if old.has(name) and _is_left_behind(name, old.generation)
            ]
            await self._client.ask_all(gone) if gone else None

    async def _settle(self, new: Keys) -> None:
        """Open the new partitions, tell those that have the old ones open for good, and then everybody."""
        division, tags = self._division, {*new.tags}
        number = b"%d" % self._outcome.after
        await self._client.ask_all(
            [
                Call(None, n, (), (b"HSET", self._both.keys.state(n), b"of", number))
                for n in self._old
                if self._both.keys.tags[n] not in tags
            ]
        )
        calls: list[Call] = []
        for n in self._new:
            where = self._outcome.before + n
            identity = self._identity(where) if self._unharmed else ""
            arguments = (division.mover, division.epoch, new.generation, self._followed, number, identity)
            calls.append(Call(_SETTLE, where, (new.state(n),), arguments))
        if not all(await self._client.ask_all(calls)):
            raise CacheUnavailable("another `milepost repartition` has taken over, and this one ends")
        await self._become(Division(self._outcome.after))
        self._outcome.done = True
        self._tell()


def _records_of(event: Mapping[str, Any]) -> Sequence[str]:
    """Return the records whose commit an event may come from: a group's, or a subject's."""
    subject = event.get("subject") or event.get("id") or ""
    if str(event.get("type", "")).startswith("subject."):
        return SUBJECTS + subject, subject
    return subject, SUBJECTS + subject


def _is_left_behind(name: bytes, generation: int) -> bool:
    rest = name[name.index(b"}") + 1 :]
    kind = rest[:1].decode("latin-1")
    return kind == "K" or (kind in _LEFT_BEHIND and Keys.parse(name)[1] <= generation)


def _kinds_of(names: Sequence[bytes]) -> set[str]:
    return {name[name.index(b"}") + 1 :][:1].decode("latin-1") for name in names}


def _listed(names: Sequence[bytes]) -> str:
    shown = ", ".join(name.decode("utf-8", "backslashreplace") for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _address(line: Sequence[bytes]) -> str:
    return next((word[5:].decode() for word in line if word.startswith(b"addr=")), "?")
