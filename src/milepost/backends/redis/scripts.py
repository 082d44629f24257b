"""Lua scripts: read from beside their adapter, called by their hash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

__all__ = ["Call", "Script", "script"]

_SHARED: Final = "milepost.data_caches"
"""Where the scripts of the cache are, and what is put before others."""


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


def script(name: str, after: Sequence[str] = ("layout.lua", "record.lua"), package: str = _SHARED) -> Script:
    """Read a script.

    Args:
        name: its file's name.
        after: the files that are put before it.
        package: what it lies in.
    """
    before = "".join(files(_SHARED).joinpath(file).read_text("utf-8") for file in after)
    text = (before + files(package).joinpath(name).read_text("utf-8")).encode()
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
