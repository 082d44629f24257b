"""PyDataTracker 0.1.0, as it is; it needs Python 3.12 or newer."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

__all__ = ["PEER", "PEER_MISSING_NOTE", "peer_actor", "peer_dict", "pydatatracker_is_installed"]

PEER: Final = "PyDataTracker 0.1.0"
PEER_MISSING_NOTE: Final = "PyDataTracker is not installed: pip install pydatatracker==0.1.0 (Python 3.12 or newer)"


def pydatatracker_is_installed() -> bool:
    """Whether the peer is there."""
    return find_spec("pydatatracker") is not None


def peer_dict(*, snapshots: bool = False, stacks: bool = False) -> Any:
    """Return an empty tracked dict of the peer's."""
    from pydatatracker import TrackedDict  # type: ignore[import-not-found,unused-ignore]

    return TrackedDict(tracking_capture_snapshots=snapshots, tracking_capture_stack=stacks)


def peer_actor(name: str) -> Any:
    """Return the peer's context manager that names an actor."""
    from pydatatracker import tracking_actor

    return tracking_actor(name)
