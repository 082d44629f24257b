"""The last lines of a file, and those that are still to come."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["follow", "last_lines"]

_PAUSE: Final = 0.2


def last_lines(file: BinaryIO, number: int) -> list[bytes]:
    """Return the last whole lines of a file, and leave off after them."""
    lines: deque[bytes] = deque(maxlen=number)
    while (line := file.readline()).endswith(b"\n"):
        lines.append(line)
    file.seek(-len(line), os.SEEK_CUR)
    return list(lines)


def follow(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Iterate without end over the lines that are added to a file.

    When the file is moved away, what it still has is read to its end, then the new one under the
    same path from its beginning.
    """
    rest = b""
    while True:
        if line := file.readline():
            rest += line
            if rest.endswith(b"\n"):
                yield rest
                rest = b""
            continue
        newer = _newer(path, file)
        if newer is None:
            time.sleep(_PAUSE)
        elif not (late := file.readline()):  # what came between the last look and the move
            file.close()
            file, rest = newer, b""
        else:
            newer.close()
            rest += late


def _newer(path: Path, file: BinaryIO) -> BinaryIO | None:
    """Return the file under the path, opened, where it is another one or begins again."""
    try:
        there, ours = path.stat(), os.fstat(file.fileno())
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino) or there.st_size < file.tell():
            return path.open("rb")
    except FileNotFoundError:
        pass
    return None
