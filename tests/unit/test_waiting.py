"""Commands in line for their group."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from milepost.waiting import Lines, Waiting


async def test_commands_are_counted_until_they_are_back() -> None:
    """Three commands of a group and one of another are four, in line and on their way, until they are back."""
    loop = asyncio.get_running_loop()

    def waiting() -> Waiting:
        return Waiting(cast(Any, None), loop.create_future())

    lines = Lines()
    lines.add("g", [waiting(), waiting(), waiting()])
    lines.add("h", [waiting()])
    assert len(lines) == 4
    batch = lines.take(1)
    assert len(lines) == 4
    lines.back(batch)
    assert len(lines) == 0
