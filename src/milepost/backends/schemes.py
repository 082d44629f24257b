"""What URLs of a backend begin with; known without its driver."""

from __future__ import annotations

from typing import Final

__all__ = ["REDIS_SCHEMES"]

REDIS_SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
)
"""One server, a socket, a cluster, or what Sentinel says is the master; with a second s by TLS."""
