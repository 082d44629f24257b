"""Asking Redis: who is asked, what is tried again and for how long, and what is raised in the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from milepost.backends.redis.errors import DRIVER_ERRORS, REFUSED_FOR_NOW, driver, is_final, unavailable
from milepost.backends.redis.scripts import Call
from milepost.backends.redis.servers import NotSent, Server
from milepost.backends.redis.topology import Topology
from milepost.errors import CacheUnavailable, CommitUncertain, InvalidDefinition

__all__ = ["RedisClient"]

_LONGEST_PAUSE: Final = 0.25
_ELSEWHERE: Final = (driver.MovedError, driver.ClusterDownError, driver.ReadOnlyError, driver.SlotNotCoveredError)


class RedisClient:
    """Carries calls to where their partitions are.

    Args:
        name: which Redis, for messages.
        topology: finds the servers.
        patience: for how many seconds to try again when a server does not answer.
        close: closes the driver's client, where that is ours.
        address: a URL of it, for messages that say what can be done.
    """

    def __init__(
        self,
        name: str,
        topology: Topology,
        patience: float,
        close: Callable[[], Awaitable[None]],
        address: str = "",
    ) -> None:
        self.name = name
        self.address = address
        self.topology = topology
        self._patience = patience
        self._close = close

    async def open(self, partitions: int) -> None:
        """Connect to every server that has a partition.

        Raises:
            CacheUnavailable: when one does not answer.
        """
        until = asyncio.get_running_loop().time() + self._patience
        attempt = 0
        while True:
            try:
                await self.topology.open()
                for server in {self.topology.server_of(partition) for partition in range(partitions)}:
                    await server.connected()
                return
            except (NotSent, *DRIVER_ERRORS, TimeoutError) as error:
                cause = error.error if isinstance(error, NotSent) else error
                if is_final(cause) or asyncio.get_running_loop().time() > until:
                    raise unavailable(self.name, cause) from cause
            attempt += 1
            await _pause(attempt)

    async def aclose(self) -> None:
        """Disconnect."""
        await self.topology.aclose()
        await self._close()

    async def ask(self, call: Call) -> Any:
        """Return the reply to one call.

        Raises:
            CacheUnavailable: when there is none.
        """
        (reply,) = await self.run([call])
        if isinstance(reply, CacheUnavailable):
            raise reply
        return reply

    async def ask_all(self, calls: Sequence[Call]) -> list[Any]:
        """Return the replies to several calls.

        Raises:
            CacheUnavailable: when one stayed away.
        """
        replies = await self.run(calls)
        for reply in replies:
            if isinstance(reply, CacheUnavailable):
                raise reply
        return replies

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """Return the replies to calls; where one stayed away, ``CacheUnavailable`` or ``CommitUncertain`` instead."""
        replies: list[Any] = [None] * len(calls)
        waiting: Sequence[int] = range(len(calls))
        attempt, until = 0, 0.0
        while waiting := await self._try(calls, waiting, replies):
            now = asyncio.get_running_loop().time()
            until = until or now + self._patience
            if now > until:
                break
            attempt += 1
            await _pause(attempt)
        for index, call in enumerate(calls):
            failure = replies[index]
            if call.sent and call.in_doubt is not None and isinstance(failure, CacheUnavailable):
                replies[index] = CommitUncertain(f"{failure}; whether the commit was applied is not known")
                replies[index].__cause__ = failure
        return replies

    async def _try(self, calls: Sequence[Call], waiting: Sequence[int], replies: list[Any]) -> list[int]:
        """Ask once; return which calls have to be tried again."""
        groups: dict[Server, list[int]] = {}
        again: list[int] = []
        for index in waiting:
            try:
                groups.setdefault(self.topology.server_of(calls[index].partition), []).append(index)
            except driver.SlotNotCoveredError as error:
                replies[index] = unavailable(self.name, error)
                again.append(index)
        if len(groups) == 1:
            ((server, group),) = groups.items()
            again += await self._ask_one(server, calls, group, replies)
        elif groups:
            asked = (self._ask_one(server, calls, group, replies) for server, group in groups.items())
            for group in await asyncio.gather(*asked):
                again += group
        if again:
            causes = [replies[index].__cause__ for index in again]
            if any(not isinstance(cause, REFUSED_FOR_NOW) or isinstance(cause, _ELSEWHERE) for cause in causes):
                await self.look_again()
        return again

    async def look_again(self) -> None:
        """Find out where things are now: that may be why something failed."""
        try:
            await self.topology.refresh()
        except (*DRIVER_ERRORS, TimeoutError):
            return  # the next attempt goes where the last one went

    async def _ask_one(
        self, server: Server, calls: Sequence[Call], group: Sequence[int], replies: list[Any]
    ) -> list[int]:
        try:
            answers = await server.ask([calls[index].command() for index in group])
            await self._answer_unknown_scripts(server, calls, group, answers)
        except NotSent as error:
            return self._failed(calls, group, error.error, replies, sent=False)
        except (CacheUnavailable, InvalidDefinition) as error:  # found out with a new connection: it cannot be used
            failure = error if isinstance(error, CacheUnavailable) else CacheUnavailable(str(error))
            for index in group:
                replies[index] = failure
            return []
        except (*DRIVER_ERRORS, TimeoutError) as error:
            return self._failed(calls, group, error, replies, sent=not isinstance(error, driver.BusyLoadingError))
        again: list[int] = []
        for index, answer in zip(group, answers, strict=True):
            if isinstance(answer, driver.AskError) and not isinstance(answer, driver.MovedError):
                answer = await self._ask_elsewhere(calls[index], answer)
            if not isinstance(answer, Exception):
                replies[index] = answer
            else:
                again += self._failed(calls, [index], answer, replies, sent=False)
        return again

    @staticmethod
    async def _answer_unknown_scripts(
        server: Server, calls: Sequence[Call], group: Sequence[int], answers: list[Any]
    ) -> None:
        """Send scripts whose hash the server did not know, which were not run, as text."""
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, driver.NoScriptError)]
        if unknown:
            commands = [calls[group[n]].command(by_text=True) for n in unknown]
            for n, answer in zip(unknown, await server.ask(commands), strict=True):
                answers[n] = answer

    async def _ask_elsewhere(self, call: Call, redirection: Any) -> Any:
        """Ask the node to which the slot is being moved."""
        try:
            server = self.topology.server_at(redirection.host, redirection.port)
            _, answer = await server.ask([(b"ASKING",), call.command(by_text=True)])
        except NotSent as error:
            return error.error
        except (*DRIVER_ERRORS, TimeoutError) as error:
            _note_sent(call)
            return error
        return answer

    def _failed(
        self, calls: Sequence[Call], group: Sequence[int], error: BaseException, replies: list[Any], *, sent: bool
    ) -> list[int]:
        """Note why calls failed; return those that can be tried again."""
        for index in group:
            failure = unavailable(self.name, error)
            failure.__cause__ = error
            replies[index] = failure
            if sent:
                _note_sent(calls[index])
        return [] if is_final(error) else list(group)


def _note_sent(call: Call) -> None:
    call.sent = True
    if call.in_doubt is not None:
        call.arguments = call.in_doubt()


async def _pause(attempt: int) -> None:
    await asyncio.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.005 * 2 ** min(attempt, 10))))
