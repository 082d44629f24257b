"""How records are named: a group's by its id, a subject's by its name behind a prefix. A leaf: it imports nothing."""

from __future__ import annotations

from typing import Final

__all__ = ["SUBJECTS", "spoken"]

SUBJECTS: Final = "$subject:"
"""What the keys of subjects begin with, and group ids must not."""


def spoken(key: str) -> str:
    """Return what errors call the record of a key: ``group 'user_001'``, or ``subject 'user-123'``."""
    return f"subject {key[len(SUBJECTS) :]!r}" if key.startswith(SUBJECTS) else f"group {key!r}"
