"""The ids of emitted events and of the work on them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import count

from milepost.codec import canonical, content_hash

__all__ = ["derived_id", "fresh_ids", "job_id", "work_id"]


def fresh_ids() -> Iterator[str]:
    """Yield ids for events that nothing caused: random for the process, counted within it."""
    process = os.urandom(12).hex()
    return map(process.__add__, map(str, count()))


def derived_id(cause: str, handler: str, ordinal: str, type: str) -> str:
    """Return the id of an event that a handler emits: a 128-bit hash of where it comes from.

    A handler that is run again for the same event emits the same events again, not new ones.

    Args:
        cause: the id of the event that is handled.
        handler: the handler's identity.
        ordinal: which of its emits this is.
        type: the type of the emitted event.
    """
    return content_hash(canonical([cause, handler, ordinal, type]))


def work_id(event_id: str, handler: str) -> bytes:
    """Return the 16 bytes that a handler's work on one event is remembered by."""
    return hashlib.blake2b(canonical(["work", event_id, handler]), digest_size=16).digest()


def job_id(event_id: str, handler: str, consumer: str) -> str:
    """Return the id of one handler's work on one event: hexadecimal, to be typed on a command line."""
    return hashlib.blake2b(canonical(["job", event_id, handler, consumer]), digest_size=16).hexdigest()
