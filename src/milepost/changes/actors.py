"""Who makes the changes: a context variable, so that every task and every thread has its own."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["current_actor", "tracking_actor"]

_ACTOR: Final[ContextVar[str]] = ContextVar("milepost_changes_actor", default="")

current_actor = _ACTOR.get
"""Return the actor of this task or thread; empty where there is none."""


@contextmanager
def tracking_actor(name: str) -> Generator[None]:
    """Name who makes the changes within this ``with`` block.

    Tasks started in the block inherit it; other tasks and threads are not touched. Blocks nest.

    Args:
        name: the actor's name.

    Raises:
        TypeError: when the name is not text.
    """
    if not isinstance(name, str):
        raise TypeError(f"tracking_actor's name must be text, got {name!r}")
    token = _ACTOR.set(name)
    try:
        yield
    finally:
        _ACTOR.reset(token)
