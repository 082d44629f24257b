"""Which partition a key belongs to: the same in every process and in every release."""

from __future__ import annotations

from zlib import crc32

__all__ = ["partition_of"]


def partition_of(key: str, partitions: int) -> int:
    """Return the partition that a group or subject belongs to: the CRC-32 of its name, modulo their number.

    Args:
        key: the group's id, or the subject's name; for an event without one, the event's id.
        partitions: how many there are.

    Raises:
        ValueError: when there are none.
    """
    if partitions < 1:
        raise ValueError(f"partitions must be at least 1, got {partitions!r}")
    return crc32(key.encode()) % partitions
