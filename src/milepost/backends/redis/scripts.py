"""Lua scripts: read from beside the cache and the bus's transport, called by their hash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

__all__ = ["Call", "Script", "script"]

_TEXTS: Final = {
    file.name: file.read_text("utf-8")
    for folder in ("data_caches", "bus/transports")
    for file in files("milepost").joinpath(folder).iterdir()
    if file.name.endswith(".lua")
}
"""All of them at once: whoever is imported later, while a loop runs, reads no files."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script.

    Args:
        name: its file's name.
        text: what Redis is given.
        sha: what Redis calls it by.
    """

    name: str
    text: bytes
    sha: bytes


def script(name: str, after: Sequence[str] = ("layout.lua", "record.lua")) -> Script:
    """Return a script.

    Args:
        name: its file's name.
        after: the files that are put before it.
    """
    text = "".join(_TEXTS[file] for file in (*after, name)).encode()
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest().encode())


@dataclass(slots=True, eq=False)
class Call:
    """A call of a script, or a command.

    Args:
        script: the script; None where ``arguments`` are a command of their own.
        partition: says which server it goes to.
        keys: the keys that it names.
        arguments: the other arguments.
        in_doubt: makes the arguments for sending it again when it is unknown whether it was carried out;
            None where that makes no difference.
        sent: whether it was sent and the reply was lost.
    """

    script: Script | None
    partition: int
    keys: Sequence[bytes]
    arguments: Sequence[Any]
    in_doubt: Callable[[], Sequence[Any]] | None = None
    sent: bool = False

    def command(self, *, by_text: bool = False) -> tuple[Any, ...]:
        """Return what is sent.

        Args:
            by_text: send the script itself, which the server does not know.
        """
        if self.script is None:
            return (*self.arguments,)
        if by_text:
            return (b"EVAL", self.script.text, len(self.keys), *self.keys, *self.arguments)
        return (b"EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)
