"""Reading lines: whole, in order, however they arrive."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing

import pytest

from milepost.cli import line_source
from milepost.cli.failing import BadInput
from milepost.cli.line_source import LineSource


def arriving(content: bytes, sizes: Callable[[], int]) -> Callable[[], bytes]:
    """Return a ``read`` that returns ``content`` in blocks of changing size."""
    position = 0

    def read() -> bytes:
        nonlocal position
        block = content[position : position + sizes()]
        position += len(block)
        return block

    return read


async def read_all(source: LineSource) -> list[bytes]:
    return [line async for chunk in source.chunks() for line in chunk]


@pytest.mark.parametrize("seed", range(20))
async def test_lines_stay_whole_however_they_arrive(seed: int) -> None:
    """Blocks may end anywhere, within a line and within a character: the lines are those of the input."""
    generator = random.Random(seed)
    expected = ["ä" * generator.randrange(40) for _ in range(200)]
    content = "\n".join([*expected, "last"]).encode()
    source = LineSource(arriving(content, lambda: generator.randrange(1, 50)), None)
    assert await read_all(source) == [line.encode() for line in [*expected, "last"]]


async def test_an_endless_line_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a limit a line is refused, not gathered."""
    monkeypatch.setattr(line_source, "_LONGEST_LINE", 1000)
    source = LineSource(lambda: b"x" * 100, None)
    with pytest.raises(BadInput, match="a line is longer than"):
        await read_all(source)


async def test_an_error_while_reading_reaches_the_reader() -> None:
    """What the system says about a file is raised where its lines are read, after those that came before it."""
    blocks = iter([b"one\ntwo\n"])

    def read() -> bytes:
        for block in blocks:
            return block
        raise OSError(5, "Input/output error")

    seen: list[bytes] = []
    with pytest.raises(OSError, match="Input/output"):
        async for chunk in LineSource(read, None).chunks():
            seen += chunk
    assert seen == [b"one", b"two"]


async def test_reading_does_not_run_ahead_without_bound() -> None:
    """While nobody takes lines, only a few blocks are read."""
    reads = 0
    three_blocks_read = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> bytes:
        nonlocal reads
        reads += 1
        if reads == 3:
            loop.call_soon_threadsafe(three_blocks_read.set)
        return b"line\n"

    async with aclosing(LineSource(read, None).chunks()) as chunks:
        await anext(chunks)
        await three_blocks_read.wait()
        assert reads < 20
