"""Lines from a file or from stdin, as soon as they are there."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from milepost.cli.failing import BadInput

__all__ = ["LineSource", "opened"]

_BLOCK: Final = 65_536
_AHEAD: Final = 4
_LONGEST_LINE: Final = 16 * 1024 * 1024


class LineSource:
    """Whole lines, as many at a time as can be had without waiting.

    A thread reads, because a pipe may keep silent for hours. It is a daemon, so that Ctrl-C
    need not wait for the next line.

    Args:
        read: returns the next bytes, at least one; none at the end.
        size: how many bytes there are, where that is known.
    """

    def __init__(self, read: Callable[[], bytes], size: int | None) -> None:
        self._read = read
        self.size = size
        self._room = threading.Semaphore(_AHEAD)
        self._stopped = False

    async def chunks(self) -> AsyncGenerator[list[bytes], None]:
        """Iterate over lists of lines, without their ends.

        Raises:
            BadInput: for a line beyond 16 MiB.
            OSError: when reading fails.
        """
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[list[bytes] | Exception | None] = asyncio.Queue()

        def hand_over(item: list[bytes] | Exception | None) -> None:
            with suppress(RuntimeError):  # the loop was closed: nobody wants it any more
                loop.call_soon_threadsafe(arrived.put_nowait, item)

        threading.Thread(target=self._pump, args=(hand_over,), name="milepost: lines", daemon=True).start()
        try:
            while (item := await arrived.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
                self._room.release()
        finally:
            self._stopped = True
            self._room.release()

    def _pump(self, hand_over: Callable[[list[bytes] | Exception | None], None]) -> None:
        rest = b""
        try:
            while not self._stopped and (block := self._read()):
                *lines, rest = (rest + block).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    raise BadInput(f"a line is longer than {_LONGEST_LINE // 1024 // 1024} MiB")
                if lines:
                    self._room.acquire()
                    hand_over(lines)
            if rest:
                hand_over([rest])
        except Exception as error:
            hand_over(error)
        else:
            hand_over(None)


@contextmanager
def opened(path: Path | None) -> Generator[LineSource, None, None]:
    """Open a file, or stdin for None.

    Raises:
        BadInput: when it cannot be opened.
    """
    if path is None:
        yield _stdin()
        return
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from None
    with file:
        yield LineSource(lambda: file.read(_BLOCK) or b"", _size(file.fileno()))


def _stdin() -> LineSource:
    if sys.stdin is None:
        raise BadInput("stdin is closed, and no file was named")
    try:
        descriptor = sys.stdin.fileno()
    except OSError:  # no file of the system's: a test's or an embedding program's
        buffer = sys.stdin.buffer
        return LineSource(lambda: buffer.read(_BLOCK), None)
    return LineSource(lambda: os.read(descriptor, _BLOCK), _size(descriptor))


def _size(descriptor: int) -> int | None:
    about = os.fstat(descriptor)
    return about.st_size if stat.S_ISREG(about.st_mode) else None
