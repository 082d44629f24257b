"""Where partitions are, for a bus: it goes by how many there are and by their generation, and sets no epoch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from milepost.backends.redis.client import RedisClient
from milepost.backends.redis.dividing import Division, check_number
from milepost.backends.redis.errors import driver
from milepost.backends.redis.opening import Source, open_client
from milepost.backends.redis.places import Places, client_name
from milepost.backends.redis.scripts import Call, Script
from milepost.backends.redis.servers import Facts, Server, exchange
from milepost.errors import BackendUnavailable, CacheUnavailable

__all__ = ["Onlooker", "open_onlooker"]

_DEFAULT: Final = 16
_TOUCHED: Final = "oixy"
_TRIES: Final = 10


class Onlooker(Places):
    """Knows where partitions are, and calls scripts that work on them.

    A cache says where they stand; a bus alone leaves that open, so that a cache that comes later finds its own
    epochs untouched.
    """

    async def open(self, client: RedisClient) -> None:
        self._client = client
        await client.open(self.keys.partitions)

    async def on_connected(self, server: Server, connection: Any, facts: Facts) -> None:
        if facts.role == "slave":
            raise driver.ReadOnlyError(f"{server.name} is a replica")
        self._check_eviction(server, facts)
        _ = await exchange(connection, [(b"CLIENT", b"SETNAME", client_name(self.keys.prefix))])

    @property
    def spread(self) -> bool:
        """Whether partitions may be on several servers."""
        return self.client.topology.spread

    def learn(self, generation: bytes | str) -> bool:
        """Note a generation; return whether it is news.

        Raises:
            CacheUnavailable: when there is none any more, because the data were divided into other partitions.
        """
        if generation in (b"-", "-"):
            raise CacheUnavailable(
                f"the data under the prefix {self.keys.prefix!r} are divided into other partitions than "
                f"{self.keys.partitions}; start this process anew when `milepost repartition` has ended"
            )
        number = int(generation)
        if number <= self.keys.generation:
            return False
        self.keys = self.keys.in_generation(number)
        return True

    def groups(self, numbers: Sequence[int]) -> list[Sequence[int]]:
        """Return which partitions share a call: all on one server, each its own on a cluster."""
        if not self.spread:
            return [numbers] if numbers else []
        return [[number] for number in numbers]

    def names(self, numbers: Sequence[int]) -> list[bytes]:
        """Return the keys that a script is told of these partitions: first their keepers."""
        keys = self.keys
        names = [keys.keeper(number) for number in numbers]
        if self.spread:
            for number in numbers:
                names += [keys.state(number), keys.consumers(number)]
                names += [keys.of(number, kind) for kind in _TOUCHED]
        return names

    def call(self, what: Script, numbers: Sequence[int], arguments: Sequence[Any], *, changes: bool = True) -> Call:
        """Return a call of a script that may be sent again, whatever became of it.

        Args:
            what: the script.
            numbers: the partitions.
            arguments: other arguments.
            changes: whether it matters if it was carried out when the reply stayed away.
        """
        return Call(what, numbers[0], self.names(numbers), arguments, (lambda: arguments) if changes else None)

    async def each(
        self,
        what: Script,
        numbers: Sequence[int],
        before: Callable[[int], Sequence[Any]],
        of_each: Mapping[int, Sequence[Any]] | None = None,
        *,
        changes: bool = True,
    ) -> dict[int, Any]:
        """Call a script on partitions; return the reply for each of them.

        Args:
            what: the script.
            numbers: the partitions.
            before: makes the first arguments, for a number of partitions.
            of_each: further arguments for each.
            changes: whether it matters if it was carried out when the reply stayed away.

        Raises:
            BackendUnavailable: when a server does not answer.
        """
        groups = self.groups(numbers)
        calls: list[Call] = []
        for group in groups:
            own = () if of_each is None else [item for number in group for item in of_each[number]]
            calls.append(self.call(what, group, (*before(len(group)), *own), changes=changes))
        found: dict[int, Any] = {}
        for group, reply in zip(groups, await self.client.ask_all(calls), strict=True):
            found.update(zip(group, reply, strict=True))
        return found

    async def in_generation(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask until the generation that was asked for is the present one: the reply is not ``{ g, generation }``."""
        for _ in range(_TRIES):
            reply = await ask()
            if not isinstance(reply, list) or reply[0] != b"g":
                return reply
            await self._agree()  # everything was flushed; or divided anew, and then it is elsewhere
            _ = self.learn(reply[1])
        raise BackendUnavailable(f"Redis at {self.client.name} is being flushed again and again")


async def open_onlooker(
    source: Source, prefix: str, partitions: int | None, *, allow_eviction: bool, timeout: float, patience: float
) -> Onlooker:
    """Connect, and agree with everybody about the number of partitions.

    Args:
        source: where Redis is.
        prefix: what all keys begin with.
        partitions: how many there are; None for as many as there are known to be.
        allow_eviction: take a server that may throw data away.
        timeout: for how many seconds to wait for replies.
        patience: for how many seconds to try again.

    Raises:
        BackendUnavailable: when a server does not answer, or everything is being moved to other partitions.
        InvalidDefinition: when there is another number of partitions.
    """
    number = _DEFAULT if partitions is None else partitions
    while True:
        onlooker = Onlooker(prefix, number, allow_eviction=allow_eviction)
        client = await open_client(source, onlooker, timeout, patience)
        try:
            await onlooker.open(client)
            name = onlooker.keys.number
            setting = Call(None, -1, (), (b"SET", name, number, b"NX"))
            _, known = await client.ask_all([setting, Call(None, -1, (), (b"GET", name))])
            there = Division.parse(known).number
            check_number(known, there if partitions is None else partitions, client.address, prefix)
        except BaseException:
            await client.aclose()
            raise
        if there == number:
            return onlooker
        await client.aclose()
        number = there
