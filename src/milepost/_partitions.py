"""Which partition a key belongs to: the same in every process and in every release."""

from __future__ import annotations

from typing import Final
from zlib import crc32

from milepost._naming import SUBJECTS

__all__ = ["partition_of", "partition_of_bytes"]

_SUBJECTS: Final = SUBJECTS.encode()


def partition_of(key: str, partitions: int) -> int:
    """Return the partition that a group or subject belongs to: the CRC-32 of its name, modulo their number.

    A subject's record belongs where events about the subject do.

    Args:
        key: the group's id, or the subject's name; for an event without one, the event's id.
        partitions: how many there are.

    Raises:
        ValueError: when there are none.
    """
    if partitions < 1:
        raise ValueError(f"partitions must be at least 1, got {partitions!r}")
    return partition_of_bytes(key.encode(), partitions)


def partition_of_bytes(encoded: bytes, partitions: int) -> int:
    """Return the same for a name that is encoded already, and a number that was checked."""
    return crc32(encoded[len(_SUBJECTS) :] if encoded.startswith(_SUBJECTS) else encoded) % partitions
